"""Parity: the same real inputs through Keras and through a container, compared number by number."""

import numpy as np

from ..engines import Engine
from ..errors import ElmanError

# The largest difference allowed, times max(1, the largest reference value).
TOLERANCE = 1e-5


def compare(reference: Engine, engine: Engine, samples: dict[str, list[dict]]) -> dict:
    """The largest absolute and relative difference per signature, over all samples and outputs."""
    return {name: _compare_signature(reference, engine, name, inputs) for name, inputs in samples.items()}


def _compare_signature(reference: Engine, engine: Engine, name: str, inputs: list[dict]) -> dict:
    worst = {"max_absolute": 0.0, "max_relative": 0.0, **_covered(reference, name, inputs)}
    for arrays in inputs:
        expected, received = reference(name, **arrays), engine(name, **arrays)
        for output, truth in expected.items():
            difference = float(np.max(np.abs(received[output] - truth), initial=0.0))
            if not np.isfinite(difference):
                difference = float("inf")
            scale = max(1.0, float(np.max(np.abs(truth), initial=0.0)))
            worst["max_absolute"] = max(worst["max_absolute"], difference)
            worst["max_relative"] = max(worst["max_relative"], difference / scale)
    return worst


def _covered(reference: Engine, name: str, inputs: list[dict]) -> dict:
    """The batch sizes of the samples, and the lengths where one is free."""
    first = reference.signatures[name].inputs[0]
    shapes = [sample[first.name].shape for sample in inputs]
    covered = {"samples": len(inputs), "batches": sorted({shape[0] for shape in shapes})}
    if None in first.shape[1:]:
        axis = 1 + first.shape[1:].index(None)
        covered["lengths"] = sorted({shape[axis] for shape in shapes})
    return covered


def require_equal(name: str, result: dict) -> None:
    """Refuses a container of full precision that differs from Keras."""
    for signature, worst in result.items():
        if not worst["max_relative"] <= TOLERANCE:
            raise ElmanError(
                f"{name}, signature '{signature}': differs from Keras by {worst['max_relative']:.2e} "
                f"of the largest value (allowed: {TOLERANCE:.0e}); nothing was exported"
            )
