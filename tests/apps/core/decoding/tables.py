"""Steps over forced logits, and searches written the plain way, to hold the decoders against."""

import itertools

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1)[..., None]


def prefix_step(seed, vocabulary, attention=0, scale=2.0, dtype=np.float32):
    """A step whose logits are a fixed random function of the whole prefix (held in the states), and `logits_of`.

    The states are a nest (a dict of the padded prefix, a tuple with None), so that a wrong reordering shows.
    """

    def logits_of(item, prefix):
        rng = np.random.default_rng([seed, item, *prefix])
        logits = (rng.normal(size=vocabulary) * scale).astype(dtype)
        weights = rng.dirichlet(np.ones(attention)) if attention else None
        return logits, weights

    def step(tokens, states):
        memory, (count, nothing) = states["memory"], states["rest"]
        memory = memory.copy()
        memory[np.arange(len(tokens)), 1 + count[:, 0]] = tokens
        count = count + 1
        results = [logits_of(int(m[0]), m[2 : 1 + c].tolist()) for m, c in zip(memory, count[:, 0], strict=True)]
        states = {"memory": memory, "rest": (count, nothing)}
        logits = np.array([logits for logits, _ in results])
        return (logits, states, np.array([w for _, w in results])) if attention else (logits, states)

    def start(batch, room=32):
        memory = np.zeros((batch, room), np.int64)
        memory[:, 0] = np.arange(batch)
        return {"memory": memory, "rest": (np.zeros((batch, 1), np.int64), None)}

    return step, start, logits_of


def exhaustive(logits_of, item, vocabulary, end, max_length, allowed=None, normalizer=lambda length: 1.0, rule=None):
    """Every sequence with its score, best first: [(score, tokens, ended)]."""
    found = []
    tokens = [t for t in (range(vocabulary) if allowed is None else allowed) if t != end]
    for length in range(max_length + 1):
        for sequence in itertools.product(tokens, repeat=length):
            ended = length < max_length
            if ended and end is None:
                continue
            path = [*sequence, end] if ended else sequence
            total = sum(log_softmax(logits_of(item, path[:t])[0])[path[t]] for t in range(len(path)))
            if rule is None or rule(list(sequence), ended):
                found.append((total / normalizer(len(path)), list(sequence), ended))
    return sorted(found, key=lambda entry: -entry[0])


def plain_beam(logits_of, item, end, max_length, beam, normalizer, min_length=0, no_repeat=0):
    """The rules of transformers' beam search, sequence by sequence: 2 × beam candidates; an end counts if it ranks
    among the first `beam`; the pool keeps the best `beam`; at the last step the living join it."""
    living, pool = [(0.0, [])], []
    for length in range(1, max_length + 1):
        candidates = []
        for total, sequence in living:
            scores = log_softmax(logits_of(item, sequence)[0])
            if len(sequence) < min_length:
                scores[end] = -np.inf
            if no_repeat and len(sequence) >= no_repeat - 1:
                seen = [tuple(sequence[i : i + no_repeat]) for i in range(len(sequence) - no_repeat + 1)]
                tail = tuple(sequence[len(sequence) - no_repeat + 1 :])
                for token in range(len(scores)):
                    if (*tail, token) in seen:
                        scores[token] = -np.inf
            candidates += [(total + score, [*sequence, token]) for token, score in enumerate(scores)]
        candidates = sorted(candidates, key=lambda entry: -entry[0])[: 2 * beam]
        candidates = [entry for entry in candidates if entry[0] > -np.inf]
        for rank, (total, sequence) in enumerate(candidates):
            if sequence[-1] == end and rank < beam:
                pool.append((total / normalizer(length), sequence[:-1], True))
        living = [entry for entry in candidates if entry[1][-1] != end][:beam]
        pool = sorted(pool, key=lambda entry: -entry[0])[:beam]
    pool += [(total / normalizer(max_length), sequence, False) for total, sequence in living]
    return sorted(pool, key=lambda entry: -entry[0])
