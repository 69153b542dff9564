"""Drawing music step by step, and the likelihood of given music, over any engine. NumPy only."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..core.decoding import cut_logits
from ..core.errors import UsageError
from .codec import END, FIRST, HOLD, KEYS, LOUD, OFF, SHIFT, Codec
from .score import LOWEST

ROWS = 256  # rows in one call of `conditional` when given music is scored
PIECES = 64  # pieces that are scored side by side
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10, 11)  # the minor with both its sevenths
ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Rules:
    """How a step is drawn.

    Attributes:
        temperature, top_k, top_p: see `config.PredictOptions`.
        allowed: (128,) which MIDI numbers may sound. max_notes: how many at once; 0 for any.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    allowed: np.ndarray | None = None
    max_notes: int = 0

    def pitches(self) -> np.ndarray:
        return np.ones(128, bool) if self.allowed is None else self.allowed


def allowed_pitches(key: str, lowest: int, highest: int) -> np.ndarray:
    """(128,) which MIDI numbers lie in a key (`C`, `F#m`, '' for any) and a range."""
    pitches = np.arange(128)
    allowed = (pitches >= lowest) & (pitches <= highest)
    if key:
        minor, name = key.endswith("m"), key.removesuffix("m")
        if name[:1] not in ROOTS or name[1:] not in ("", "#", "b"):
            raise UsageError(f"--key: expected a key such as C, F#, Bb or Am; received {key!r}")
        root = ROOTS[name[0]] + {"": 0, "#": 1, "b": -1}[name[1:]]
        allowed &= np.isin((pitches - root) % 12, MINOR if minor else MAJOR)
    if not allowed.any():
        raise UsageError(f"--lowest {lowest} --highest {highest} --key {key!r}: no pitch is left")
    return allowed


class Drawer:
    """Draws the steps of a codec: `draw(outputs, past, rng) -> (symbols, log-probabilities under the bare model)`.

    Args:
        engine, codec: the model. rules: how to draw.
        given: (steps, …) symbols that are not drawn but told, where not negative (voices).
    """

    def __init__(self, engine, codec: Codec, rules: Rules, given: np.ndarray | None = None):
        self.engine, self.codec, self.rules, self.given = engine, codec, rules, given
        self.joint = "conditional" in engine.signatures

    def draw(self, outputs: dict, down: np.ndarray, rng: np.random.Generator, step: int):
        """The next step of every row; `down` says what sounds (see `press`), `step` how many steps came before."""
        if self.codec.kind == "frames":
            return self._frame(outputs, rng)
        if self.codec.kind == "voices":
            return self._voices(outputs, down, rng, step)
        return self._event(outputs["logits"], down, rng)

    def _frame(self, outputs, rng):
        rows = len(next(iter(outputs.values())))
        uniform = np.full((rows, KEYS), 0.5) if not self.rules.temperature else rng.random((rows, KEYS))
        if not self.joint:
            logits = outputs["logits"].astype(float)
            drawn = uniform < _sigmoid(self._cut_keys(logits))
            drawn &= self._most_probable(drawn, logits)
            return drawn.astype(np.uint8), _log_prob(drawn, logits)
        # between two keys nothing changes, so a chord of n keys takes n + 1 calls
        drawn, logits = np.zeros((rows, KEYS), np.float32), np.zeros((rows, KEYS))
        place, live, keys = np.zeros(rows, int), np.ones(rows, bool), np.arange(KEYS)
        while live.any():
            found = self.engine("conditional", drawn=drawn, **outputs)["logits"].astype(float)
            ahead = keys >= place[:, None]
            logits = np.where(ahead, found, logits)
            full = (self.rules.max_notes > 0) & (drawn.sum(axis=1) >= self.rules.max_notes)
            hit = (uniform < _sigmoid(self._cut_keys(found))) & ahead & (live & ~full)[:, None]
            live = hit.any(axis=1)
            first = hit.argmax(axis=1)
            drawn[live, first[live]] = 1.0
            place = np.where(live, first + 1, KEYS)
        return drawn.astype(np.uint8), _log_prob(drawn, logits)

    def _cut_keys(self, logits: np.ndarray) -> np.ndarray:
        """Logits after temperature, cuts and the rules: −inf for what may not sound."""
        rules = self.rules
        allowed = np.broadcast_to(rules.pitches()[LOWEST : LOWEST + KEYS], logits.shape).copy()
        if rules.top_k:
            last = np.partition(logits, -rules.top_k, axis=1)[:, -min(rules.top_k, KEYS), None]
            allowed &= logits >= last
        if rules.top_p < 1:
            allowed &= _sigmoid(logits) >= 1.0 - rules.top_p
        return np.where(allowed, logits / (rules.temperature or 1.0), -np.inf)

    def _most_probable(self, drawn: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Which keys stay where more were drawn than may sound at once."""
        if not self.rules.max_notes:
            return np.ones_like(drawn)
        rank = np.argsort(np.argsort(np.where(drawn, -logits, np.inf), axis=1), axis=1)
        return rank < self.rules.max_notes

    def _voices(self, outputs, down, rng, step):
        rows, codec = len(down), self.codec
        symbols, total = np.zeros((rows, codec.voices), np.int32), np.zeros(rows)
        one_hot = np.zeros((rows, codec.voices, codec.symbols), np.float32)
        pitches = np.arange(codec.low, codec.high + 1)
        allowed = np.ones(codec.symbols, bool)
        allowed[FIRST:] = self.rules.pitches()[np.clip(pitches, 0, 127)]
        allowed[HOLD] = step > 0
        for voice in range(codec.voices):
            answer = self.engine("conditional", drawn=one_hot, **outputs) if self.joint else outputs
            logits = answer["logits"][:, voice].astype(float)
            told = -1 if self.given is None else int(self.given[step, voice])
            may = np.repeat(allowed[None], rows, axis=0)
            if self.rules.max_notes:
                full = press(codec, down, symbols)[:, :voice].sum(axis=1) >= self.rules.max_notes
                may[full, FIRST:] = False
                may[full, HOLD] &= ~down[full, voice]
            drawn = _choose(np.where(may, logits, -np.inf), self.rules, rng)
            chosen = drawn if told < 0 else np.full(rows, told)
            total += logits[np.arange(rows), chosen] - _log_sum_exp(logits)
            symbols[:, voice] = chosen
            one_hot[np.arange(rows), voice, chosen] = 1.0
        return symbols, total

    def _event(self, logits, down, rng):
        logits = logits.astype(float)
        allowed = np.ones(logits.shape, bool)
        allowed[:, END] = False
        pitches = np.arange(128)
        allowed[:, :OFF] = self.rules.pitches() & (pitches >= self.codec.low) & (pitches <= self.codec.high)
        allowed[:, OFF:SHIFT] = down
        if self.rules.max_notes:
            allowed[:, :OFF] &= (down.sum(axis=1) < self.rules.max_notes)[:, None]
        chosen = _choose(np.where(allowed, logits, -np.inf), self.rules, rng)
        return chosen.astype(np.int32), logits[np.arange(len(chosen)), chosen] - _log_sum_exp(logits)


def press(codec: Codec, down: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """What sounds after one more step (rows, …): which of 128 keys, or which voices; frames show it.

    Shapes: (rows, 128), (rows, voices), (rows, 0).
    """
    if codec.kind == "frames":
        return down
    if codec.kind == "voices":
        return np.where(symbols == HOLD, down, symbols >= FIRST)
    down, notes = down.copy(), np.flatnonzero(symbols < SHIFT)
    down[notes, symbols[notes] % 128] = symbols[notes] < OFF
    return down


def pressed(codec: Codec, rows: int, sequence: np.ndarray) -> np.ndarray:
    """What sounds after a whole sequence (steps, …), the same in every row."""
    down = np.zeros((1, {"frames": 0, "voices": codec.voices, "performance": 128}[codec.kind]), bool)
    for symbols in sequence:
        down = press(codec, down, symbols[None])
    return np.repeat(down, rows, axis=0)


def ticks(events: np.ndarray) -> np.ndarray:
    """How far each event moves the time, in ticks of 10 ms."""
    return np.where((events >= SHIFT) & (events < LOUD), events - SHIFT + 1, 0)


def _choose(logits, rules: Rules, rng) -> np.ndarray:
    cut = cut_logits(logits, temperature=rules.temperature, top_k=rules.top_k, top_p=rules.top_p)
    weights = np.exp(cut - cut.max(axis=-1, keepdims=True)).cumsum(axis=-1)
    return (weights <= rng.random((len(cut), 1)) * weights[:, -1:]).sum(axis=-1)


def split_outputs(answer: dict) -> tuple[dict, dict]:
    """What a step is drawn from, and the states of the next step."""
    states = {name.removeprefix("next_"): v for name, v in answer.items() if name.startswith("next_")}
    return {name: v for name, v in answer.items() if not name.startswith("next_")}, states


def told(codec: Codec, previous: np.ndarray, place: np.ndarray, condition: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of `step` or `prime` beside the states."""
    inputs = {"previous": previous.astype(np.float32 if codec.kind == "frames" else np.int32)}
    if codec.bar:
        inputs["place"] = place.astype(np.int32)
    if codec.conditions:
        inputs["condition"] = condition.astype(np.float32)
    return inputs


def stream(
    engine,
    codec: Codec,
    drawer: Drawer,
    primer: np.ndarray,
    places: np.ndarray,
    conditions: np.ndarray,
    seed=0,
    beam=1,
    branch=4,
) -> Iterator[np.ndarray]:
    """Yields what has been drawn so far, (steps, …), after every step: the most probable of `beam` sequences.

    The cost of a step does not depend on how many came before (with a beam, what was drawn is copied). The drawing ends
    with `places`.

    Args:
        primer: (steps, …) the sequence to continue; it may be empty.
        places, conditions: of every step, those of the primer included.
        branch: draws from each sequence where beam > 1; of all of them the most probable are kept (stochastic beam).
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    start = len(primer)
    before = np.concatenate([codec.blank[None], primer]).astype(np.int32)
    inputs = told(codec, before, places[: start + 1], conditions[: start + 1])
    outputs, states = split_outputs(engine("prime", **{k: v[None] for k, v in inputs.items()}))
    outputs, states = ({k: np.repeat(v, beam, axis=0) for k, v in d.items()} for d in (outputs, states))
    past = np.zeros((beam, len(places), *codec.blank.shape), np.int32)
    past[:, :start] = primer
    down = pressed(codec, beam, primer)
    total = np.where(np.arange(beam) == 0, 0.0, -np.inf)  # the rows are alike as yet: one of them lives
    for step in range(start, len(places)):
        if beam == 1:
            symbols, rows = drawer.draw(outputs, down, rng, step)[0], slice(None)
        else:
            symbols, rows, total = _branch(drawer, outputs, down, total, rng, step, branch)
            past = past[rows]
        past[:, step] = symbols
        down = press(codec, down[rows], symbols)
        yield past[0, : step + 1]
        if step + 1 < len(places):
            states = {k: v[rows] for k, v in states.items()}
            where = [np.repeat(a[step + 1 : step + 2], beam, axis=0) for a in (places, conditions)]
            outputs, states = split_outputs(engine("step", **told(codec, symbols, *where), **states))


def invent(engine, codec: Codec, drawer: Drawer, places: np.ndarray, conditions: np.ndarray, seed=0) -> np.ndarray:
    """Many sequences from nothing side by side: (rows, steps, …) for places (rows, steps)."""
    rng = np.random.default_rng(seed)
    rows, steps = places.shape
    symbols = np.repeat(codec.blank[None], rows, axis=0)
    made = np.zeros((rows, steps, *codec.blank.shape), np.uint8 if codec.kind == "frames" else np.int32)
    states, down = engine.signatures["step"].first_states(rows), pressed(codec, rows, symbols[:0])
    for step in range(steps):
        answer = engine("step", **told(codec, symbols, places[:, step], conditions[:, step]), **states)
        outputs, states = split_outputs(answer)
        symbols = drawer.draw(outputs, down, rng, step)[0]
        made[:, step], down = symbols, press(codec, down, symbols)
    return made


def _branch(drawer, outputs, down, total, rng, step, branch):
    """Symbols, the rows that they continue, and their totals: of all draws the most probable distinct ones."""
    beam = len(down)
    rows = np.repeat(np.arange(beam), branch)
    drawn, log_prob = drawer.draw({k: v[rows] for k, v in outputs.items()}, down[rows], rng, step)
    score = total[rows] + log_prob
    distinct = {}
    for i in np.argsort(-score, kind="stable"):
        distinct.setdefault((rows[i] if np.isfinite(score[i]) else -1, drawn[i].tobytes()), i)
    best = [*distinct.values(), *np.argsort(-score, kind="stable")][:beam]
    kept = np.where(np.arange(beam) < len(distinct), score[best], -np.inf)
    return drawn[best], rows[best], kept


def step_scores(engine, codec: Codec, pieces, wrap=iter) -> tuple[list[np.ndarray], dict]:
    """−log p of every step of every piece in nats, the whole pieces from their first step on; and counts of hits.

    Args:
        pieces: a list of `data.Encoded`.

    Returns: an array (steps,) for each piece; and `right`, `wrong`, `missed`: keys that were predicted rightly, wrongly
    and not at all at a threshold of a half (frames), or symbols whose most probable value was (not) the true one.
    """
    order = np.argsort([-len(p.sequence) for p in pieces], kind="stable")
    nats, counts = [np.zeros(0)] * len(pieces), np.zeros(3)
    for group in wrap([order[i : i + PIECES] for i in range(0, len(order), PIECES)]):
        collected = _run_along(engine, codec, [pieces[i] for i in group])
        truth = np.concatenate([pieces[i].sequence for i in group])
        found, hits = _likelihood(engine, codec, collected, truth)
        edges = np.cumsum([len(pieces[i].sequence) for i in group])[:-1]
        for i, part in zip(group, np.split(found, edges), strict=True):
            nats[i] = part
        counts += hits
    return nats, dict(zip(("right", "wrong", "missed"), counts.tolist(), strict=True))


def _run_along(engine, codec: Codec, pieces) -> dict[str, np.ndarray]:
    """The outputs of `step` along pieces (longest first), piece after piece: (all steps, …)."""
    lengths = np.array([len(p.sequence) for p in pieces])
    starts = np.cumsum(lengths) - lengths
    states, kept, rows = engine.signatures["step"].first_states(len(pieces)), None, len(pieces)
    for t in range(lengths.max(initial=0)):
        live = int((lengths > t).sum())
        if live < rows:
            states, rows = {k: v[:live] for k, v in states.items()}, live
        previous = np.stack([p.sequence[t - 1] if t else codec.blank for p in pieces[:live]])
        where = [np.stack([getattr(p, name)[t] for p in pieces[:live]]) for name in ("place", "condition")]
        outputs, states = split_outputs(engine("step", **told(codec, previous, *where), **states))
        if kept is None:
            kept = {k: np.zeros((lengths.sum(), *v.shape[1:]), np.float32) for k, v in outputs.items()}
        for name, value in outputs.items():
            kept[name][starts[:live] + t] = value
    return kept


def _likelihood(engine, codec: Codec, outputs: dict, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """−log p of every row of truth, and (right, wrong, missed)."""
    found, counts = [], np.zeros(3)
    for low in range(0, len(truth), ROWS):
        y = truth[low : low + ROWS]
        logits = _logits(engine, codec, {k: v[low : low + ROWS] for k, v in outputs.items()}, y).astype(float)
        if codec.kind == "frames":
            found.append(-_log_prob(y, logits))
            guess = logits > 0
            counts += [(guess & (y == 1)).sum(), (guess & (y == 0)).sum(), (~guess & (y == 1)).sum()]
        else:
            nats = _log_sum_exp(logits) - np.take_along_axis(logits, y[..., None], axis=-1)[..., 0]
            found.append(nats.sum(axis=1) if nats.ndim > 1 else nats)
            right = (logits.argmax(axis=-1) == y).sum()
            counts += [right, y.size - right, 0]
    return np.concatenate(found) if found else np.zeros(0), counts


def _logits(engine, codec: Codec, outputs: dict, y: np.ndarray) -> np.ndarray:
    """Logits of every part of a step given the true parts before it."""
    if "logits" in outputs:
        return outputs["logits"]
    if codec.kind == "voices":
        one_hot = np.eye(codec.symbols, dtype=np.float32)[y]
        return engine("conditional", drawn=one_hot, **outputs)["logits"]
    before = np.cumsum(y, axis=1) - y
    logits = np.zeros(y.shape, np.float32)
    for count in range(int(before.max(initial=0)) + 1):
        rows = np.flatnonzero((before == count).any(axis=1))
        drawn = (y[rows] * (before[rows] < count)).astype(np.float32)
        answer = engine("conditional", drawn=drawn, **{k: v[rows] for k, v in outputs.items()})["logits"]
        logits[rows] = np.where(before[rows] == count, answer, logits[rows])
    return logits


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _log_prob(y: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p of rows of keys, each by its logit."""
    return (y * logits - np.logaddexp(0.0, logits)).sum(axis=-1)


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    largest = logits.max(axis=-1)
    return largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
