"""ABC tunes to pieces: voices with repeats, endings, tuplets, ties and broken rhythm, and the chord symbols under them.

Left out: grace notes (no grid of steps has a place for them), decorations, lyrics, and overlays (&).
Reference: the ABC music standard 2.1 (abcnotation.com/wiki/abc:standard:v2.1).
"""

import copy
import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from .score import VELOCITY, Piece, make_notes

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
SHARPS = "FCGDAEB"
MODES = {"maj": 0, "ion": 0, "mix": 1, "dor": 2, "min": 3, "m": 3, "aeo": 3, "phr": 4, "loc": 5, "lyd": -1, "": 0}
FIFTHS = {name: number for number, name in enumerate(["F", "C", "G", "D", "A", "E", "B"], -1)}
TUPLETS = {2: 3, 3: 2, 4: 3, 5: 2, 6: 2, 7: 2, 8: 3, 9: 2}
CHORDS = {
    "": (0, 4, 7), "m": (0, 3, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11),
    "dim": (0, 3, 6), "dim7": (0, 3, 6, 9), "o": (0, 3, 6), "aug": (0, 4, 8), "+": (0, 4, 8), "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9), "9": (0, 4, 7, 10, 14), "sus4": (0, 5, 7), "sus2": (0, 2, 7), "5": (0, 7), "maj": (0, 4, 7),
}  # fmt: skip
TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"'
    r"|\[(?P<field>[A-Za-z]):(?P<value>[^\]]*)\]"
    r"|(?P<bar>:*\|*\[?(?:\|\]|:?\|+:*|::+)\]?|\|\])(?P<ending>\s*\[?[1-9](?:[,-][1-9])*(?![0-9/]))?"
    r"|\[(?P<alone>[1-9])"
    r"|\((?P<tuplet>[2-9])(?::(?P<time>[0-9]*))?(?::(?P<count>[0-9]*))?"
    r"|\{[^}]*\}|![^!]*!|\+[a-z]+\+"
    r"|(?P<open>\[)|(?P<close>\])(?P<chord_length>[0-9]*/*[0-9]*)"
    r"|(?P<accidental>\^\^|\^|=|__|_)?(?P<note>[A-Ga-gxzZ])(?P<octave>[,']*)(?P<length>[0-9]*/*[0-9]*)"
    r"|(?P<broken>>+|<+)|(?P<tie>-)|."
)
_FIELD = re.compile(r"^([A-Za-z]):\s*(.*)$")
_SWITCH = re.compile(r"\[V:\s*([^\]\s]*)[^\]]*\]")  # to another voice, within a line
LOW_CHORD, CHORD_VELOCITY = 48, 60  # chords are played from the C below middle C


def read(path: Path) -> list[Piece | DataError]:
    """The tunes of a file; in the place of one that cannot be read, what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    blocks = re.split(r"^(?=X:)", text, flags=re.MULTILINE)[1:]
    if not blocks:
        raise DataError(f"{path}: no tune in it (none begins with X:)")
    return [_tune(block, f"{path.name} X:{block[2:].split(chr(10), 1)[0].strip()}") for block in blocks]


def _tune(text: str, name: str) -> Piece | DataError:
    try:
        return parse(text, name)
    except DataError as error:
        return error
    except (ValueError, ZeroDivisionError) as error:  # a length such as 1/0
        return DataError(f"{name}: not a valid tune ({error})")


def parse(text: str, name: str = "") -> Piece:
    """The piece of one tune: a voice for each V: that has notes, and one for the chord symbols."""
    header, voices, current = _Tune(name), {}, ""

    def voice() -> _Tune:
        if header.begun and current not in voices:
            voices[current] = copy.deepcopy(header)
        return voices.get(current, header)

    for line in _lines(text):
        field = _FIELD.match(line)
        if field and field[1] == "V":
            current = field[2].split()[0] if header.begun and field[2].strip() else current
        elif field and not (header.begun and field[1] == "K" and line.startswith("K:|")):
            voice().field(field[1], field[2])
        else:
            first, *others = _SWITCH.split(line)
            for name_of, music in [(current, first), *zip(others[::2], others[1::2], strict=True)]:
                current = name_of
                voice().music(music)
    return _together([found.piece() for found in voices.values() if found.has_notes()] or [header.piece()])


def _together(pieces: list[Piece]) -> Piece:
    """The pieces of several voices as one: their melodies are its voices 0, 1, …, all their chord symbols the last."""
    parts = []
    for number, piece in enumerate(pieces):
        part = piece.notes.copy()
        part["voice"] = np.where(part["voice"] == 1, len(pieces), number)
        parts.append(part)
    return dataclasses.replace(
        pieces[0], notes=make_notes(np.concatenate(parts)), beats=max(piece.beats for piece in pieces)
    )


def _lines(text: str) -> list[str]:
    joined = re.sub(r"\\\s*(%.*)?\n", " ", text)
    lines = (re.sub(r"(?<!\\)%.*", "", line).rstrip() for line in joined.splitlines())
    return [line for line in lines if line.strip()]


def key_signature(text: str) -> dict[str, int]:
    """Note letter -> semitones that a key such as `Bb`, `F#m` or `D dorian` alters it by."""
    found = re.match(r"\s*([A-G])([#b]?)\s*([A-Za-z]*)", text)
    if not found:  # K:none, K:HP
        return {}
    mode = found[3].lower()
    mode = mode if mode == "m" else mode[:3]
    fifths = FIFTHS[found[1]] + {"#": 7, "b": -7, "": 0}[found[2]] - MODES.get(mode, 0)
    names = SHARPS[:fifths] if fifths > 0 else SHARPS[::-1][:-fifths]
    return dict.fromkeys(names, 1 if fifths > 0 else -1)


def chord_pitches(symbol: str) -> tuple[int, ...]:
    """MIDI numbers of a chord symbol such as `Am7` or `D/F#`, its bass first; none where it is no chord."""
    found = re.match(r"^([A-G])([#b]?)([a-z+0-9]*)(?:/([A-Ga-g])([#b]?))?$", symbol.strip())
    if not found or found[3] not in CHORDS:
        return ()
    root = (SEMITONES[found[1]] + {"#": 1, "b": -1, "": 0}[found[2]]) % 12
    bass = root
    if found[4]:
        bass = (SEMITONES[found[4].upper()] + {"#": 1, "b": -1, "": 0}[found[5]]) % 12
    return (LOW_CHORD - 12 + bass, *(LOW_CHORD + root + step for step in CHORDS[found[3]]))


def fraction(text: str) -> Fraction:
    """A length as ABC writes it: `3`, `3/2`, `/`, `//`, `/4`."""
    if not text:
        return Fraction(1)
    if "/" not in text:
        return Fraction(int(text))
    top, bottom = text.split("/", 1)
    slashes = text.count("/")
    below = int(bottom.strip("/")) if bottom.strip("/") else 2**slashes
    return Fraction(int(top) if top else 1, below)


class _Tune:
    """What has been read of a tune: a list of bars, each a list of (kind, value) to be played after unfolding."""

    def __init__(self, name: str):
        self.name, self.begun = name, False
        self.metre, self.unit, self.tempo = Fraction(4, 4), None, 120.0
        self.free, self.key = False, {}
        self.items: list[tuple] = []  # ("note", pitches, length) | ("chord", symbol) | ("bar", text) | ("metre", beats)
        self.accidentals: dict[tuple[str, int], int] = {}
        self.tuplet = (Fraction(1), 0)
        self.broken = Fraction(1)
        self.inside: list | None = None

    def has_notes(self) -> bool:
        return any(kind == "note" for kind, *_ in self.items)

    def field(self, letter: str, value: str) -> None:
        if letter == "M":
            self._metre(value.strip())
        elif letter == "L":
            found = re.match(r"(\d+)/(\d+)", value.strip())
            self.unit = Fraction(int(found[1]), int(found[2])) if found else self.unit
        elif letter == "K":
            self.key, self.begun = key_signature(value), True
        elif letter == "Q":
            found = re.search(r"(?:(\d+)/(\d+)\s*=\s*)?(\d+)", value)
            if found and int(found[3]):
                beat = Fraction(int(found[1]), int(found[2])) if found[1] else Fraction(1, 4)
                self.tempo = float(int(found[3]) * beat * 4)

    def _metre(self, value: str) -> None:
        value = {"C": "4/4", "C|": "2/2"}.get(value, value)
        found = re.match(r"\(?([\d+ ]+)\)?\s*/\s*(\d+)", value)
        if found and int(found[2]):
            top = sum(int(n) for n in re.findall(r"\d+", found[1]))
            self.metre = Fraction(top, int(found[2])) if top else self.metre
            self.items.append(("metre", self.metre * 4))

    def music(self, line: str) -> None:
        if not self.begun:
            raise DataError(f"{self.name}: music before its key (K:)")
        unit = self.unit or (Fraction(1, 16) if self.metre < Fraction(3, 4) else Fraction(1, 8))
        for found in TOKEN.finditer(line):
            self._token(found, unit * 4)

    def _token(self, found: re.Match, unit: Fraction) -> None:
        if found["quoted"] is not None:
            self.items.append(("chord", found["quoted"]))
        elif found["field"]:
            self.field(found["field"], found["value"])
        elif found["bar"] or found["alone"]:
            self.accidentals = {}
            text = (found["bar"] or "") + (found["ending"] or "") + (found["alone"] or "")
            self.items.append(("bar", text))
        elif found["tuplet"]:
            notes = int(found["tuplet"])
            time = int(found["time"]) if found["time"] else TUPLETS[notes]
            self.tuplet = (Fraction(time, notes), int(found["count"]) if found["count"] else notes)
        elif found["open"]:
            self.inside = []
        elif found["close"] and self.inside is not None:
            pitches, lengths = [p for p, _ in self.inside], [length for _, length in self.inside]
            self.inside = None
            if pitches:
                self._play(pitches, lengths[0] * fraction(found["chord_length"]), unit)
        elif found["note"]:
            self._note(found, unit)
        elif found["broken"]:
            self._break(found["broken"])
        elif found["tie"] and self.items and self.items[-1][0] == "note":
            self.items.append(("tie",))

    def _note(self, found: re.Match, unit: Fraction) -> None:
        letter = found["note"]
        length = fraction(found["length"])
        if letter in "xzZ":
            whole = self.metre * 4 / unit if letter == "Z" else 1
            self._play([], length * whole, unit)
            return
        octave = found["octave"].count("'") - found["octave"].count(",") + letter.islower()
        place = (letter.upper(), octave)
        if found["accidental"]:
            self.accidentals[place] = ACCIDENTALS[found["accidental"]]
        alter = self.accidentals.get(place, self.key.get(place[0], 0))
        pitch = 60 + SEMITONES[place[0]] + 12 * octave + alter
        if self.inside is not None:
            self.inside.append((pitch, length))
        else:
            self._play([pitch], length, unit)

    def _play(self, pitches: list[int], length: Fraction, unit: Fraction) -> None:
        ratio, left = self.tuplet
        if left:
            length, self.tuplet = length * ratio, (ratio, left - 1)
        length, self.broken = length * unit * self.broken, Fraction(1)
        self.items.append(("note", pitches, length))

    def _break(self, signs: str) -> None:
        """`a>b` lengthens a by what it takes from b."""
        short = Fraction(1, 2 ** len(signs))
        first, second = (2 - short, short) if signs[0] == ">" else (short, 2 - short)
        for i in range(len(self.items) - 1, -1, -1):
            if self.items[i][0] == "note":
                self.items[i] = (*self.items[i][:2], self.items[i][2] * first)
                break
        self.broken = second

    def piece(self) -> Piece:
        """Plays the items, repeats unfolded."""
        rows, metre, now, bar = [], {0.0: 4.0}, Fraction(0), Fraction(0)
        sounding: tuple[tuple[int, ...], Fraction] = ((), Fraction(0))
        last, tied, upbeat = {}, False, True
        length = self.metre * 4

        def stop_chord():
            pitches, since = sounding
            for pitch in pitches if now > since else ():
                rows.append((float(since), float(now - since), pitch, CHORD_VELOCITY, 1))

        for kind, *value in unfold(self.items):
            if kind == "metre":
                length = value[0]
                metre[float(now)] = float(length)
            elif kind == "tie":
                tied = True
            elif kind == "chord":
                pitches = chord_pitches(value[0])
                if pitches:
                    stop_chord()
                    sounding = (pitches, now)
            elif kind == "bar":
                if upbeat and 0 < now - bar < length:
                    metre = {float(now - length): float(length)}
                upbeat, bar = upbeat and now == bar, now
            else:
                pitches, beats = value
                for pitch in pitches:
                    if tied and pitch in last and last[pitch][1] == now:
                        row = rows[last[pitch][0]]
                        rows[last[pitch][0]] = (row[0], row[1] + float(beats), *row[2:])
                        last[pitch] = (last[pitch][0], now + beats)
                    else:
                        last[pitch] = (len(rows), now + beats)
                        rows.append((float(now), float(beats), pitch, VELOCITY, 0))
                now, tied = now + beats, False
        stop_chord()
        rows = [row for row in rows if row[1] > 0]
        return Piece(self.name, make_notes(rows), float(now), ((0.0, self.tempo),), tuple(sorted(metre.items())))


def unfold(items: list[tuple]) -> list[tuple]:
    """The items in the order in which they sound: repeated sections twice, each time with its own ending."""
    out, section, endings, current = [], [], {}, None

    def finish():
        nonlocal section, endings, current
        if endings:
            for number in sorted(endings):
                out.extend(section + endings[number])
        else:
            out.extend(section)
        section, endings, current = [], {}, None

    for item in items:
        if item[0] != "bar":
            (section if current is None else endings[current]).append(item)
            continue
        text = item[1]
        ending = re.search(r"[1-9]", text)
        (section if current is None else endings[current]).append(("bar", "|"))
        again = text.lstrip("|[ ").startswith(":") or text.startswith(":")
        if again and not endings:
            if ending:  # ":|2" without a first ending
                endings, current = {1: []}, None
            else:
                section = section + section
                finish()
        elif endings and not ending and current != min(endings):
            finish()
        if ending:
            current = int(ending[0])
            endings.setdefault(current, [])
        elif re.search(r"\|:|::", text) and (section or endings):
            finish()
    finish()
    return out
