"""Decoders in NumPy alone, over any step or engine: sampling, beam search, CTC."""

from .beam_search import beam_search, coverage_penalty, length_normalizer
from .ctc import PrefixBeamSearch, Transcript, best_path
from .language_model import LanguageModel
from .sampling import cut_logits, greedy, sample
from .steps import Hypothesis, engine_step, ensemble

__all__ = [
    "Hypothesis",
    "LanguageModel",
    "PrefixBeamSearch",
    "Transcript",
    "beam_search",
    "best_path",
    "coverage_penalty",
    "cut_logits",
    "engine_step",
    "ensemble",
    "greedy",
    "length_normalizer",
    "sample",
]
