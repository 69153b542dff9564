"""MusicXML scores (.musicxml, .xml, compressed .mxl) to pieces: repeats and endings are played.

Left out: grace notes (no grid of steps has a place for them); jumps by words (da capo, dal segno) are not followed.
"""

import itertools
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..core.errors import DataError
from .score import VELOCITY, Piece, make_notes

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read(path: Path, repeats: bool = True) -> Piece:
    """The piece of a score: a voice for each part and voice in it; DataError says what is wrong with a broken one.

    Args:
        repeats: whether repeated sections sound as often as is written; once each where not.
    """
    try:
        root = ElementTree.fromstring(_content(path))
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise DataError(f"{path}: not a readable MusicXML score ({error})") from None
    if root.tag != "score-partwise":
        raise DataError(f"{path}: expected a score-partwise element, found {root.tag}")
    rows, metre, tempo, beats = [], {}, {}, 0.0
    try:
        parts = [list(part.iter("measure")) for part in root.iter("part")]
        columns = list(itertools.zip_longest(*parts))
        order = played([Signs.of(column) for column in columns]) if repeats else range(len(columns))
        for number, measures in enumerate(parts):
            sounding = [(i, measures[i]) for i in order if i < len(measures)]
            beats = max(beats, _part(sounding, number, rows, metre, tempo))
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise DataError(f"{path}: not a valid MusicXML score ({error})") from None
    names = {key: i for i, key in enumerate(sorted({row[4] for row in rows}))}
    notes = make_notes((*row[:4], names[row[4]]) for row in rows)
    speeds, bars = sorted({0.0: 100.0, **tempo}.items()), sorted(metre.items())
    return Piece(str(path), notes, beats, tuple(speeds), tuple(bars) or ((0.0, 4.0),))


@dataclass(frozen=True)
class Signs:
    """What a measure says of repeats."""

    forward: bool  # a section begins
    times: int  # that the section which ends here sounds; 0 where none ends
    endings: frozenset[int]  # the numbers of the endings that begin
    closes: bool  # they end with this measure

    @classmethod
    def of(cls, measures) -> "Signs":
        """Of one measure in all parts; None where a part has none."""
        measures = [measure for measure in measures if measure is not None]
        marks = [mark for measure in measures for mark in measure.iter("repeat")]
        backward = [int(m.attrib.get("times", 2)) for m in marks if m.attrib.get("direction") == "backward"]
        endings = [mark for measure in measures for mark in measure.iter("ending")]
        begun = " ".join(e.attrib["number"] for e in endings if e.attrib.get("type") == "start")
        return cls(
            any(m.attrib.get("direction") == "forward" for m in marks),
            max(backward, default=0),
            frozenset(map(int, re.findall(r"\d+", begun))),
            any(e.attrib.get("type") in ("stop", "discontinue") for e in endings),
        )


def played(signs: list[Signs]) -> list[int]:
    """The measures in the order in which they sound."""
    within, now = [], frozenset()  # the endings that each measure belongs to
    for sign in signs:
        now = sign.endings or now
        within.append(now)
        now = frozenset() if sign.closes else now
    order, place, start, turn = [], 0, 0, 1
    while place < len(signs):
        sign, endings = signs[place], within[place]
        if place > start and (sign.forward or (within[place - 1] and not endings)):
            start, turn = place, 1
        if endings and turn not in endings:
            place += 1
            continue
        order.append(place)
        block = itertools.takewhile(bool, within[place:])
        if sign.times and turn < max(sign.times, *(max(numbers) for numbers in block), 0):
            place, turn = start, turn + 1
            continue
        place += 1
        if sign.times and not endings:
            start, turn = place, 1
    return order


def _content(path: Path) -> bytes:
    if path.suffix.lower() != ".mxl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        root = next(e for e in container.iter() if e.tag.endswith("rootfile"))
        return archive.read(root.attrib["full-path"])


def _part(measures, number: int, rows: list, metre: dict, tempo: dict) -> float:
    """Adds the notes of a part, (place, measure) after (place, measure), to `rows`; returns its length in beats."""
    divisions, transpose, now, bar, heard, tied, attributes = 1.0, 0, 0.0, None, None, {}, {}
    for place, measure in measures:
        start, reached, previous = now, now, now
        again = place in attributes
        if again:  # maybe before a change
            divisions, transpose, bar = attributes[place]
        attributes[place] = divisions, transpose, bar
        for element in measure:
            if element.tag == "attributes":
                divisions = float(element.findtext("divisions", divisions))
                transpose = int(element.findtext("transpose/chromatic", transpose))
                if element.find("time/beats") is not None:
                    bar = float(element.findtext("time/beats")) * 4.0 / float(element.findtext("time/beat-type"))
                    if not again or bar != heard:  # a repeat goes on with its bars, whatever its upbeat
                        metre[start] = heard = bar
            elif element.tag in ("backup", "forward"):
                length = float(element.findtext("duration", 0)) / divisions
                now += length if element.tag == "forward" else -length
            elif element.tag == "note" and element.find("grace") is None:
                length = float(element.findtext("duration", 0)) / divisions
                if element.find("chord") is None:
                    previous, now = now, now + length
                _note(element, number, previous, length, transpose, rows, tied)
            if element.tag in ("direction", "sound"):
                sound = element if element.tag == "sound" else element.find("sound")
                if sound is not None and float(sound.attrib.get("tempo", 0)) > 0:
                    tempo[start] = float(sound.attrib["tempo"])
            reached = max(reached, now)
        now = reached
        if bar and 0 < now - start < bar - 1e-6 and start == 0:  # an upbeat: its bar began before it
            metre.pop(start, None)
            metre[now - bar] = bar
    return now


def _note(element, part: int, start: float, length: float, transpose: int, rows: list, tied: dict) -> None:
    pitch = element.find("pitch")
    if pitch is None or length <= 0:  # a rest, or percussion
        return
    alter = round(float(pitch.findtext("alter", 0)))
    number = 12 * (int(pitch.findtext("octave")) + 1) + SEMITONES[pitch.findtext("step")] + alter + transpose
    voice = (part, element.findtext("voice", "1"))
    ties = {tie.attrib.get("type") for tie in element.iter("tie")}
    before = tied.pop((voice, number), None)
    if "stop" in ties and before is not None and abs(rows[before][0] + rows[before][1] - start) < 1e-6:
        rows[before] = (rows[before][0], rows[before][1] + length, *rows[before][2:])
    else:
        before = len(rows)
        rows.append((start, length, number, VELOCITY, voice))
    if "start" in ties:
        tied[voice, number] = before
