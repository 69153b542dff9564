"""MIDI files to pieces and back, by mido: tempo, metre, velocity, sustain pedal."""

import contextlib
import io
from pathlib import Path

import mido
import numpy as np

from ..core.errors import DataError
from ..core.files import replacing
from .score import Piece, make_notes

DRUMS = 9  # the channel of percussion, whose notes are no pitches
PEDAL, PRESSED = 64, 64
TICKS_PER_BEAT = 480


def read(path: Path) -> Piece:
    """The piece of a MIDI file; DataError says what is wrong with a broken one."""
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, name: str, split: str = "") -> Piece:
    """The piece of a MIDI file's bytes: all tracks but percussion, a voice for each track and channel with notes."""
    try:
        file = mido.MidiFile(file=io.BytesIO(content))
        tracks = [list(_timed(track)) for track in file.tracks]
    except Exception as error:  # mido raises many kinds on a broken file: EOFError, OSError, IndexError, KeyError, …
        raise DataError(f"{name}: not a readable MIDI file ({str(error) or type(error).__name__})") from None
    if file.ticks_per_beat <= 0:
        raise DataError(f"{name}: its time is in SMPTE frames; expected ticks per beat")
    if file.type == 2:
        raise DataError(f"{name}: MIDI format 2 (independent patterns); expected 0 or 1")
    per_beat = file.ticks_per_beat
    rows, voice = [], 0
    for track in tracks:
        for channel in range(16):
            found = [] if channel == DRUMS else list(_notes(track, channel))
            if found:
                rows += [(on / per_beat, (off - on) / per_beat, p, v, voice) for on, off, p, v in found]
                voice += 1
    last = max((track[-1][0] for track in tracks if track), default=0) / per_beat
    notes = make_notes(rows)
    beats = max(last, float((notes["start"] + notes["duration"]).max(initial=0.0)))
    metas = sorted((pair for track in tracks for pair in track if pair[1].is_meta), key=lambda pair: pair[0])
    return Piece(name, notes, beats, _tempo(metas, per_beat), _metre(metas, per_beat), split)


def _timed(track):
    """Every message with the tick at which it happens."""
    now = 0
    for message in track:
        now += message.time
        yield now, message


def _notes(track, channel: int):
    """(first tick, tick after the last, pitch, velocity): a key that the pedal holds sounds until the pedal is up."""
    struck, held, pedal, last = {}, {}, False, 0
    for now, message in track:
        last = now
        if message.is_meta or getattr(message, "channel", None) != channel:
            continue
        if message.type == "note_on" and message.velocity:
            for keys in (struck, held):
                if message.note in keys:
                    yield _note(message.note, keys.pop(message.note), now)
            struck[message.note] = (now, message.velocity)
        elif message.type in ("note_on", "note_off") and message.note in struck:
            on = struck.pop(message.note)
            if pedal:
                held[message.note] = on
            else:
                yield _note(message.note, on, now)
        elif message.type == "control_change" and message.control == PEDAL:
            pedal = message.value >= PRESSED
            if not pedal:
                yield from (_note(pitch, on, now) for pitch, on in held.items())
                held = {}
    for pitch, on in [*struck.items(), *held.items()]:
        yield _note(pitch, on, last)


def _note(pitch: int, on: tuple[int, int], now: int) -> tuple[int, int, int, int]:
    return on[0], max(now, on[0] + 1), pitch, on[1]


def _tempo(metas, per_beat: int) -> tuple[tuple[float, float], ...]:
    found = {t / per_beat: round(mido.tempo2bpm(m.tempo), 4) for t, m in metas if m.type == "set_tempo" and m.tempo}
    return tuple(sorted({0.0: 120.0, **found}.items()))


def _metre(metas, per_beat: int) -> tuple[tuple[float, float], ...]:
    found = {t / per_beat: m.numerator * 4.0 / m.denominator for t, m in metas if m.type == "time_signature"}
    return tuple(sorted({0.0: 4.0, **{t: length for t, length in found.items() if length > 0}}.items()))


def write(piece: Piece, path: Path) -> None:
    """Writes a MIDI file of format 1: tempo and metre, then a track for each voice."""
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    metas = [(_ticks(b), mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(speed))) for b, speed in piece.tempo]
    for beat, length in piece.metre:
        with contextlib.suppress(ValueError):  # a bar that no time signature writes is left out
            metas.append((max(_ticks(beat), 0), mido.MetaMessage("time_signature", **_signature(length))))
    file.tracks.append(_track(metas))
    for voice in np.unique(piece.notes["voice"]):
        channel = int(voice) % 16 if voice % 16 != DRUMS else 15
        messages = []
        for note in piece.notes[piece.notes["voice"] == voice]:
            pitch, velocity = int(note["pitch"]), int(np.clip(note["velocity"], 1, 127))
            stop = _ticks(note["start"] + note["duration"])
            messages.append((stop, mido.Message("note_off", note=pitch, velocity=0, channel=channel)))
            on = mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)
            messages.append((_ticks(note["start"]), on))
        file.tracks.append(_track(messages))
    with replacing(path) as temporary:
        file.save(str(temporary))


def _ticks(beats: float) -> int:
    return round(float(beats) * TICKS_PER_BEAT)


def _signature(length: float) -> dict[str, int]:
    """Numerator and denominator of a bar of so many beats."""
    for denominator in (4, 8, 16, 32):
        numerator = length * denominator / 4
        if abs(numerator - round(numerator)) < 1e-6 and 1 <= numerator <= 255:
            return {"numerator": round(numerator), "denominator": denominator}
    raise ValueError(f"no time signature for a bar of {length} beats")


def _track(messages) -> mido.MidiTrack:
    """A track of (tick, message); at one tick, notes end before others begin."""
    track, now = mido.MidiTrack(), 0
    for tick, message in sorted(messages, key=lambda pair: (pair[0], pair[1].type == "note_on")):
        track.append(message.copy(time=tick - now))
        now = tick
    return track
