"""Engines: `engine(signature, **arrays) -> dict of arrays`, the same for Keras and for every container."""

from .engine import ENGINES, Engine, open_bundle_engine

__all__ = ["ENGINES", "Engine", "open_bundle_engine"]
