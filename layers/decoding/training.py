"""Training a step on whole sequences: teacher forcing, scheduled sampling, and the loss over what is not padding."""

import keras
from keras import ops

from .sampling import check_vocabulary, draw, flatten_states, leaves


def teacher_forcing(step, states, start, targets, mask=None):
    """Feeds the step the start tokens and then the targets; at every time it is to predict the target there.

    Args:
        step: `step(tokens (batch,), states) -> (logits (batch, vocabulary), states)`; more is left alone.
        states: any nest of tensors whose first axis is the batch.
        start: int tensor (batch,). targets: int tensor (batch, time). With time known it is a graph of `time` steps;
            unknown, a loop, whose gradient XLA on TensorFlow cannot compile.
        mask: bool tensor (batch, time), False where the target is padding: there the states stay as they are.

    Returns:
        Logits (batch, time, vocabulary) and the last states.

    Reference: Williams and Zipser 1989, "A learning algorithm for continually running fully recurrent networks".
    """
    return scheduled_sampling(step, states, start, targets, mask, rate=None)


def scheduled_sampling(step, states, start, targets, mask=None, *, rate, seed=None, uniforms=None):
    """Feeds the step the target before with probability 1 − rate, else a token drawn from its own last logits.

    Args:
        step, states, start, targets, mask: as of `teacher_forcing`.
        rate: number or scalar tensor in [0, 1], growing over training; see `sampling_rate`.
        seed: int or `keras.random.SeedGenerator`. uniforms: tensor (2, time − 1, batch) in [0, 1) instead: for each
            time but the first, whether to draw, and what.

    Returns:
        Logits (batch, time, vocabulary) and the last states. No gradient passes through a draw.

    Reference: Bengio et al. 2015, "Scheduled sampling for sequence prediction with recurrent neural networks".
    """
    targets, start = ops.cast(targets, "int32"), ops.cast(start, "int32")
    if len(targets.shape) != 2 or targets.shape[1] == 0:
        raise ValueError(f"expected targets of shape (batch, time), time of 1 or more, received {targets.shape}")
    if isinstance(rate, (int, float)) and not 0 <= rate <= 1:
        raise ValueError(f"expected a rate in [0, 1], received {rate}")
    batch, time = ops.shape(targets)
    mask = ops.ones((batch, time), "bool") if mask is None else ops.cast(mask, "bool")
    if uniforms is None:
        shape = (2, time - 1, batch)
        uniforms = ops.ones(shape) if rate is None else keras.random.uniform(shape, seed=seed)
    flat, pack = flatten_states(states)

    def advance(tokens, flat, keep):
        logits, states, *_ = step(tokens, pack(flat))
        check_vocabulary(logits, None)
        return [logits] + [
            ops.where(ops.reshape(keep, (-1,) + (1,) * (len(new.shape) - 1)), new, old)
            for new, old in zip(leaves(states), flat, strict=True)
        ]

    def follow(carry, inputs):
        tokens, keep, choice, uniform = inputs
        if rate is not None:
            tokens = ops.where(choice < rate, draw(ops.stop_gradient(carry[0]), uniform), tokens)
        carry = advance(tokens, carry[1:], keep)
        return carry, carry

    carry = advance(start, flat, mask[:, 0])
    sequences = [ops.transpose(targets)[:-1], ops.transpose(mask)[1:], uniforms[0], uniforms[1]]
    if targets.shape[1] is None:
        first = carry[0]
        # over places, since Keras's scan on TensorFlow takes but one sequence of unknown length
        take = lambda carry, place: follow(carry, [ops.take(sequence, place, axis=0) for sequence in sequences])  # noqa: E731
        carry, (rest, *_) = ops.scan(take, carry, ops.arange(time - 1))
        outputs = ops.concatenate([first[None], rest], axis=0)
    else:
        outputs = [carry[0]]
        for place in range(time - 1):
            carry, _ = follow(carry, [sequence[place] for sequence in sequences])
            outputs.append(carry[0])
        outputs = ops.stack(outputs)
    return ops.transpose(outputs, (1, 0, 2)), pack(carry[1:])


def sampling_rate(step, schedule, k, floor=0.0):
    """How often scheduled sampling draws at a training step i: 1 − ε_i, by Bengio et al. 2015.

    ε_i = max(floor, 1 − i / k) ("linear"), max(floor, k^i) ("exponential", k < 1), or
    max(floor, k / (k + exp(i / k))) ("sigmoid", k ≥ 1).
    """
    i = ops.cast(step, "float32")
    if schedule == "linear" and k > 0:
        epsilon = 1 - i / k
    elif schedule == "exponential" and 0 < k < 1:
        epsilon = ops.exp(i * ops.log(ops.cast(k, "float32")))
    elif schedule == "sigmoid" and k >= 1:
        epsilon = ops.sigmoid(ops.log(ops.cast(k, "float32")) - i / k)
    else:
        known = "'linear' (k > 0), 'exponential' (0 < k < 1) or 'sigmoid' (k >= 1)"
        raise ValueError(f"expected {known}, received {schedule!r}, {k}")
    return 1 - ops.maximum(epsilon, floor)


def sequence_loss(logits, targets, mask=None, *, reduction="tokens", label_smoothing=0.0):
    """Cross-entropy of sequences, −log p(target), over the tokens that the mask keeps.

    Args:
        logits: (batch, time, vocabulary). targets: int (batch, time). mask: (batch, time), bool or weights.
        reduction: "tokens", the mean over all tokens kept; "sequences", the sum over each sequence, mean over the
            batch; None, the loss of each token (batch, time), 0 where masked.
        label_smoothing: ε: the target is (1 − ε) on the token and ε / vocabulary on every token.
    """
    if reduction not in ("tokens", "sequences", None) or not 0 <= label_smoothing < 1:
        found = f"{reduction!r}, {label_smoothing}"
        raise ValueError(f"expected reduction 'tokens', 'sequences' or None, label_smoothing in [0, 1); got {found}")
    logs = ops.log_softmax(logits, axis=-1)
    taken = ops.take_along_axis(logs, ops.cast(targets, "int32")[..., None], axis=-1)
    loss = -ops.squeeze(taken, -1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * ops.mean(logs, axis=-1)
    weights = ops.ones_like(loss) if mask is None else ops.cast(mask, loss.dtype)
    # where, not times zero: what the padding holds may be infinite
    loss = ops.where(weights > 0, loss * weights, 0.0)
    if reduction == "tokens":
        return ops.sum(loss) / ops.maximum(ops.sum(weights), keras.config.epsilon())
    return loss if reduction is None else ops.mean(ops.sum(loss, axis=1))
