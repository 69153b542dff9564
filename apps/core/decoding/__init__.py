"""Decoders in NumPy alone, over any step or engine: sampling, beam search, CTC."""

from .beam_search import beam_search, coverage_penalty, length_normalizer
from .sampling import cut_logits, greedy, sample
from .steps import Hypothesis, engine_step, ensemble

__all__ = [
    "Hypothesis",
    "beam_search",
    "coverage_penalty",
    "cut_logits",
    "engine_step",
    "ensemble",
    "greedy",
    "length_normalizer",
    "sample",
]
