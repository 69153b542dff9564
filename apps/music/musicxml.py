"""MusicXML scores (.musicxml, .xml, compressed .mxl) to pieces. Repeats are not played; grace notes are left out."""

import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

from ..core.errors import DataError
from .score import VELOCITY, Piece, make_notes

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read(path: Path) -> Piece:
    """The piece of a score: a voice for each part and voice in it; DataError says what is wrong with a broken one."""
    try:
        root = ElementTree.fromstring(_content(path))
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise DataError(f"{path}: not a readable MusicXML score ({error})") from None
    if root.tag != "score-partwise":
        raise DataError(f"{path}: expected a score-partwise element, found {root.tag}")
    rows, metre, tempo, beats = [], {}, {}, 0.0
    try:
        for number, part in enumerate(root.iter("part")):
            beats = max(beats, _part(part, number, rows, metre, tempo))
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise DataError(f"{path}: not a valid MusicXML score ({error})") from None
    names = {key: i for i, key in enumerate(sorted({row[4] for row in rows}))}
    notes = make_notes((*row[:4], names[row[4]]) for row in rows)
    speeds, bars = sorted({0.0: 100.0, **tempo}.items()), sorted(metre.items())
    return Piece(str(path), notes, beats, tuple(speeds), tuple(bars) or ((0.0, 4.0),))


def _content(path: Path) -> bytes:
    if path.suffix.lower() != ".mxl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        root = next(e for e in container.iter() if e.tag.endswith("rootfile"))
        return archive.read(root.attrib["full-path"])


def _part(part, number: int, rows: list, metre: dict, tempo: dict) -> float:
    """Adds the notes of a part to `rows`; returns its length in beats."""
    divisions, transpose, now, bar, tied = 1.0, 0, 0.0, None, {}
    for measure in part.iter("measure"):
        start, reached, previous = now, now, now
        for element in measure:
            if element.tag == "attributes":
                divisions = float(element.findtext("divisions", divisions))
                transpose = int(element.findtext("transpose/chromatic", transpose))
                if element.find("time/beats") is not None:
                    bar = float(element.findtext("time/beats")) * 4.0 / float(element.findtext("time/beat-type"))
                    metre[start] = bar
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
