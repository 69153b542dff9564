"""Decoding and sequence training inside the graph, on any backend."""

from .beam_search import beam_search
from .sampling import cut_logits, greedy, sample
from .training import sampling_rate, scheduled_sampling, sequence_loss, teacher_forcing

__all__ = [
    "beam_search",
    "cut_logits",
    "greedy",
    "sample",
    "sampling_rate",
    "scheduled_sampling",
    "sequence_loss",
    "teacher_forcing",
]
