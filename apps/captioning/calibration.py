"""How sure a caption is: from its log-probability the chance that it is right. NumPy only."""

import numpy as np

RIDGE = 1e-3


def fit(log_probs: np.ndarray, lengths: np.ndarray, right: np.ndarray) -> tuple[float, ...]:
    """Weights of (1, log p / length, log p) in the logit of the chance of being right, by penalised likelihood.

    Args:
        log_probs, lengths: (captions,) of captions with their tokens, the end counted.
        right: (captions,) 0 to 1, how right each is.
    """
    x = _inputs(log_probs, lengths)
    centre, scale = x[:, 1:].mean(axis=0), np.maximum(x[:, 1:].std(axis=0), 1e-6)
    x[:, 1:] = (x[:, 1:] - centre) / scale
    weights = np.zeros(3)
    for _ in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (right - p) - RIDGE * len(x) * weights * [0, 1, 1]
        curve = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * len(x) * np.eye(3)
        move = np.linalg.solve(curve, slope)
        weights = weights + np.clip(move, -2, 2)
        if np.abs(move).max() < 1e-8:
            break
    inner = weights[1:] / scale
    return float(weights[0] - inner @ centre), float(inner[0]), float(inner[1])


def _inputs(log_probs, lengths) -> np.ndarray:
    log_probs = np.asarray(log_probs, float)
    return np.stack([np.ones_like(log_probs), log_probs / np.maximum(lengths, 1), log_probs], axis=1)


def error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of confidence and rightness over bins of as many captions each."""
    order = np.argsort(confidence, kind="stable")
    groups = [g for g in np.array_split(order, min(bins, len(order))) if len(g)]
    return float(sum(len(g) * abs(confidence[g].mean() - right[g].mean()) for g in groups) / len(order))
