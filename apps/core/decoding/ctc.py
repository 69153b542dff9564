"""CTC decoding: best path, and prefix beam search with what guides it, over whole sequences or as frames come."""

from typing import NamedTuple

import numpy as np

from .scorers import BonusScorer, CharacterScorer, Grammar, Hotwords, Lexicon
from .steps import check_range, log_softmax


class Transcript(NamedTuple):
    """One reading: its text and classes; score, what the ranking used; log_prob, the network's log p(text), summed
    over the alignments that the beam kept (of a best path: that path's). For each character `confidences`, the
    network's probability of it where it is strongest, and `frames`, the frame where that is."""

    text: str
    classes: np.ndarray
    score: float
    log_prob: float
    confidences: np.ndarray
    frames: np.ndarray


def best_path(logits, alphabet, lengths=None, *, blank=0, log_probs=False):
    """The most probable class of every frame, runs merged and blanks dropped.

    Args:
        logits: (batch, frames, classes). lengths: frames of each item, all by default.
        alphabet: the labels of the classes in order, the blank left out.
        log_probs: the network gives log-probabilities; nothing is normalised.

    Returns:
        One Transcript for each item.

    Reference: Graves et al. 2006, "Connectionist temporal classification".
    """
    labels = _labels(alphabet, blank)
    found = []
    for frames in _items(logits, lengths, len(labels), log_probs):
        classes = frames.argmax(-1)
        peaks = frames.max(-1)
        begins = np.flatnonzero(np.diff(classes, prepend=-1))
        begins = begins[classes[begins] != blank]
        runs = [begin + np.flatnonzero(np.append(classes[begin:] != classes[begin], True))[0] for begin in begins]
        places = np.array([b + peaks[b:e].argmax() for b, e in zip(begins, runs, strict=True)], np.int64)
        total = float(peaks.sum())
        text = "".join(labels[index] for index in classes[begins])
        found.append(Transcript(text, classes[begins], total, total, np.exp(peaks[places]), places))
    return found


def _labels(alphabet, blank):
    labels = list(alphabet)
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"expected an alphabet of one or more different labels, received {alphabet!r}")
    if not 0 <= blank <= len(labels):
        raise ValueError(f"expected a blank class in 0 … {len(labels)}, received {blank}")
    return [*labels[:blank], "", *labels[blank:]]


def _frames(logits, classes, log_probs):
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise ValueError(f"expected frames of {classes} classes (the alphabet and the blank), received {logits.shape}")
    if logits.size:
        check_range(logits, log_probs)
    logits = logits.astype(np.float64)
    return logits if log_probs or not logits.size else log_softmax(logits)


def _items(logits, lengths, classes, log_probs):
    logits = np.asarray(logits)
    if logits.ndim != 3:
        raise ValueError(f"expected logits of shape (batch, frames, classes), received {logits.shape}")
    lengths = np.full(len(logits), logits.shape[1]) if lengths is None else np.asarray(lengths)
    if lengths.shape != logits.shape[:1] or (lengths < 0).any() or (lengths > logits.shape[1]).any():
        raise ValueError(f"expected {len(logits)} lengths of 0 … {logits.shape[1]}, received {lengths}")
    return [_frames(item[:length], classes, log_probs) for item, length in zip(logits, lengths, strict=True)]


class PrefixBeamSearch:
    """CTC prefix beam search: p(text) is summed over its alignments, and texts that share a prefix share the work.

    score = log p(text | frames) + lm_weight · log p_LM(text) + bonus · characters + lexicon and hotword terms.

    Args:
        alphabet: the labels of the classes in order, the blank left out; blank: its class.
        beam: prefixes kept.
        language_model: a `LanguageModel` over (at least) the alphabet; lm_weight, bonus as above.
        lexicon: words; a word outside it costs `unknown` (−inf forbids it).
        hotwords: words or phrases to favour by `hotword_weight` each, or a dict of word -> weight.
        delimiters: labels that part words, for lexicon and hotwords.
        allowed: `allowed(prefix text) -> bool (classes,)`, a grammar or a regular expression: True where the class may
            come next; in the blank's place, whether the text may end.
        threshold: classes below this log-probability do not extend a prefix in a frame; −inf keeps all.
        margin: prefixes whose score is further below the best are dropped; inf keeps all.
        log_probs: the network gives log-probabilities; nothing is normalised.

    Reference: Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition".
    """

    def __init__(
        self,
        alphabet,
        *,
        blank=0,
        beam=25,
        language_model=None,
        lm_weight=0.5,
        bonus=0.0,
        lexicon=None,
        unknown=-10.0,
        hotwords=None,
        hotword_weight=5.0,
        delimiters=" ",
        allowed=None,
        threshold=-5.0,
        margin=15.0,
        log_probs=False,
    ):
        self.labels, self.blank, self.beam = _labels(alphabet, blank), blank, beam
        if beam < 1 or not margin > 0 or threshold > 0 or unknown > 0 or lm_weight < 0:
            found = f"{beam=}, {margin=}, {threshold=}, {unknown=}, {lm_weight=}"
            raise ValueError(f"expected beam >= 1, margin > 0, threshold and unknown <= 0, lm_weight >= 0; got {found}")
        self.threshold, self.margin, self.log_probs = threshold, margin, log_probs
        self._class = {label: index for index, label in enumerate(self.labels) if index != blank}
        classes = len(self.labels)
        parted = {self._class[label] for label in delimiters if label in self._class}
        self.scorers = []
        if language_model is not None:
            characters = [label for index, label in enumerate(self.labels) if index != blank]
            self.scorers.append(CharacterScorer(language_model, characters, blank, lm_weight, bonus))
        elif bonus:
            self.scorers.append(BonusScorer(classes, bonus))
        if lexicon is not None:
            self.scorers.append(Lexicon([self._spell(word) for word in lexicon], classes, parted, unknown))
        if hotwords:
            rewards = hotwords if isinstance(hotwords, dict) else dict.fromkeys(hotwords, hotword_weight)
            self.scorers.append(Hotwords({self._spell(w): reward for w, reward in rewards.items()}, classes, parted))
        if allowed is not None:
            self.scorers.append(Grammar(allowed, self.labels, blank))

    def __call__(self, logits, lengths=None, *, n_best=1):
        """Reads logits (batch, frames, classes): for each item its n best transcripts, best first."""
        if not 1 <= n_best <= self.beam:
            raise ValueError(f"expected 1 <= n_best <= beam, received n_best={n_best}, beam={self.beam}")
        found = []
        for frames in _items(logits, lengths, len(self.labels), self.log_probs):
            stream = Stream(self)
            stream.run(frames)
            found.append(stream.finish(n_best))
        return found

    def stream(self):
        """Starts reading frames as they come."""
        return Stream(self)

    def _spell(self, word):
        foreign = [label for label in word if label not in self._class]
        if foreign:
            raise ValueError(f"expected words over the alphabet, received {word!r} with {foreign}")
        return tuple(self._class[label] for label in word)


class Stream:
    """One sequence being read: `feed` frames as they come, then `finish`; the result is that of reading all at once.

    Arrays are by prefix. `held` and `open`: log-probabilities of the alignments that end in a blank, and in the last
    character. A link is (earlier link, class, frame, log-probability, depth) of a character before the last.
    """

    def __init__(self, search):
        self._search, self._time, self._fresh, self._stable = search, 0, 1, 0
        self._node, self._parent = np.array([0]), np.array([-1])
        self._last = np.array([search.blank])
        self._held, self._open = np.array([0.0]), np.array([-np.inf])
        self._peak, self._frame = np.array([-np.inf]), np.array([-1])
        self._states = [tuple(scorer.start for scorer in search.scorers)]
        self._bonus, self._rows = np.array([0.0]), self._row(self._states[0])[None]
        self._links, self._nodes = [None], {}

    def feed(self, logits):
        """Reads frames (frames, classes); returns the characters that have become final: every prefix has them."""
        self.run(_frames(logits, len(self._search.labels), self._search.log_probs))
        return self._settle()

    def run(self, log_probs):
        """Reads normalised frames."""
        for frame in log_probs:
            self._step(frame)
            self._time += 1
        if len(self._nodes) > 10_000:
            self._forget()

    def finish(self, n_best=1):
        """The n best transcripts, best first; none where the rules leave none."""
        scorers = self._search.scorers
        log_prob = np.logaddexp(self._held, self._open)
        ends = [sum(s.finish(state) for s, state in zip(scorers, states, strict=True)) for states in self._states]
        score = log_prob + self._bonus + np.array(ends)
        order = [i for i in np.argsort(-score, kind="stable")[:n_best] if score[i] > -np.inf]
        return [self._transcript(i, float(score[i]), float(log_prob[i])) for i in order]

    def _step(self, frame):
        search, last = self._search, self._last
        total = np.logaddexp(self._held, self._open)
        held = total + frame[search.blank]
        again = self._open + frame[last]  # −inf for the empty prefix, whose last class is the blank
        # a prefix in the beam is also reached from its parent in the beam
        child, parent = (self._parent[:, None] == self._node).nonzero()
        arriving = np.where(last[parent] == last[child], self._held[parent], total[parent]) + frame[last[child]]
        self._retime(child, parent, arriving, again, frame)
        opened = again.copy()
        opened[child] = np.logaddexp(again[child], arriving)
        scores = np.logaddexp(held, opened) + self._bonus
        classes = (frame > search.threshold).nonzero()[0]
        classes = classes[classes != search.blank]
        if not classes.size:
            self._held, self._open = held, opened
            return self._drop(scores)
        grown = np.where(classes == last[:, None], self._held[:, None], total[:, None]) + frame[classes]
        place = classes.searchsorted(last[child])
        place[place == classes.size] = 0
        there = classes[place] == last[child]
        grown[parent[there], place[there]] = -np.inf
        guided = grown + self._bonus[:, None] + self._rows[:, classes]
        scores = np.concatenate([scores, guided.ravel()])
        best = np.arange(scores.size)
        if scores.size > search.beam:
            best = (-scores).argpartition(search.beam)[: search.beam]
        best = best[(scores[best] >= scores[best].max() - search.margin) & (scores[best] > -np.inf)]
        best = best[(-scores[best]).argsort(kind="stable")]
        self._grow(best, held, opened, grown, classes, frame)

    def _drop(self, scores):
        keep = np.flatnonzero((scores >= scores.max() - self._search.margin) & (scores > -np.inf))
        if keep.size < scores.size:
            self._select(keep)

    def _retime(self, child, parent, arriving, again, frame):
        """Where the last character of a prefix lies: at its strongest frame, on the likelier of two ways to it."""
        stronger = (frame[self._last] > self._peak) & (self._open >= self._held) & (self._last != self._search.blank)
        peak, time, links = self._peak, self._frame, self._links
        self._peak = np.where(stronger, frame[self._last], self._peak)
        self._frame = np.where(stronger, self._time, self._frame)
        late = arriving > np.logaddexp(again, self._held + frame[self._search.blank])[child]
        if not late.any():
            return
        self._links = links.copy()  # a parent may itself be moved
        for j, i in zip(child[late], parent[late], strict=True):
            self._links[j] = _link(links[i], self._last[i], time[i], peak[i])
            self._peak[j], self._frame[j] = frame[self._last[j]], self._time

    def _grow(self, best, held, opened, grown, classes, frame):
        """Makes `best` (places among the prefixes, then among their extensions) the beam."""
        size = self._node.size
        extends = best >= size
        row, column = np.divmod(best - size, classes.size)
        row = np.where(extends, row, best)
        new = np.flatnonzero(extends)
        index, origin = classes[column[new]], row[new]
        parents, earlier = self._node[origin], self._last[origin]
        timing = self._peak[origin], self._frame[origin]
        bonus = self._bonus[origin] + self._rows[origin, index]
        self._held, self._open = held, opened
        self._select(row)
        self._held[new], self._open[new] = -np.inf, grown[origin, column[new]]
        self._parent[new], self._last[new] = parents, index
        self._bonus[new], self._peak[new], self._frame[new] = bonus, frame[index], self._time
        scorers = self._search.scorers
        for i, place in enumerate(new):
            key = int(parents[i]), int(index[i])
            if key not in self._nodes:
                self._nodes[key], self._fresh = self._fresh, self._fresh + 1
            self._node[place] = self._nodes[key]
            self._links[place] = _link(self._links[place], earlier[i], timing[1][i], timing[0][i])
            if scorers:
                states = self._states[place]
                self._states[place] = tuple(s.advance(state, key[1]) for s, state in zip(scorers, states, strict=True))
                self._rows[place] = self._row(self._states[place])

    def _select(self, rows):
        if not len(rows):
            raise ValueError(f"frame {self._time}: no text is left; the network gives all that the rules allow zero")
        for name in ("_node", "_parent", "_last", "_held", "_open", "_bonus", "_peak", "_frame", "_rows"):
            setattr(self, name, getattr(self, name)[rows])
        self._links = [self._links[i] for i in rows]
        self._states = [self._states[i] for i in rows]

    def _row(self, states):
        rows = [scorer.scores(state) for scorer, state in zip(self._search.scorers, states, strict=True)]
        return sum(rows[1:], rows[0]) if rows else np.zeros(len(self._search.labels))

    def _path(self, i, depth=0):
        """(class, frame, log-probability) of the characters of prefix i after the first `depth`."""
        path = [(int(self._last[i]), int(self._frame[i]), float(self._peak[i]))]
        link = self._links[i]
        while link is not None and link[4] > depth:
            path.append(link[1:4])
            link = link[0]
        length = self._links[i][4] + 1 if self._links[i] else int(self._last[i] != self._search.blank)
        return path[::-1] if length > depth else []

    def _transcript(self, i, score, log_prob):
        path = self._path(i)
        classes = np.array([index for index, _, _ in path], np.int64)
        text = "".join(self._search.labels[index] for index in classes)
        confidences = np.exp([peak for _, _, peak in path])
        return Transcript(text, classes, score, log_prob, confidences, np.array([f for _, f, _ in path], np.int64))

    def _settle(self):
        paths = [[index for index, _, _ in self._path(i, self._stable)] for i in range(self._node.size)]
        shared = 0
        for column in zip(*paths, strict=False):
            if len(set(column)) > 1:
                break
            shared += 1
        self._stable += shared
        return "".join(self._search.labels[index] for index in paths[0][:shared])

    def _forget(self):
        """Drops the nodes that no living prefix descends from; a prefix that returns may have a new one."""
        above = {node: parent for (parent, _), node in self._nodes.items()}
        living = set()
        for node in self._node.tolist():
            while node in above and node not in living:
                living.add(node)
                node = above[node]
        self._nodes = {key: node for key, node in self._nodes.items() if node in living}


def _link(link, index, frame, peak):
    """The link to a character that has become the last but one; none to the empty prefix."""
    return (link, int(index), int(frame), float(peak), link[4] + 1 if link else 1) if frame >= 0 else None
