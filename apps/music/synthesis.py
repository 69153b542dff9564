"""Pieces to sound: FluidSynth with a SoundFont where both are installed, plucked additive tones otherwise."""

import os
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.files import replacing
from .score import Piece

RATE = 22_050
GAIN, HEADER = "0.8", 44  # FluidSynth's own gain of 0.2 is faint; bytes of a .wav file without sound
PARTIALS = 6
RELEASE = 0.08  # seconds in which a tone dies away after its note
FONTS = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts")


def write(piece: Piece, path: Path) -> None:
    """Writes a 16-bit .wav file: stereo from FluidSynth, else mono; DataError where FluidSynth fails."""
    font = soundfont()
    if font is None or shutil.which("fluidsynth") is None:
        _write_samples(synthesise(piece), path)
    else:
        _fluidsynth(piece, font, path)


def soundfont() -> Path | None:
    """The SoundFont that $SOUNDFONT names, or the first one installed; none where $SOUNDFONT is empty."""
    named = os.environ.get("SOUNDFONT")
    if named is None:
        return next((f for folder in FONTS for f in sorted(Path(folder).glob("*.sf[23]"))), None)
    if named and not Path(named).is_file():
        raise DataError(
            f"SOUNDFONT={named}: no such file; expected a SoundFont (.sf2, .sf3), or nothing for plain tones"
        )
    return Path(named) if named else None


def _fluidsynth(piece: Piece, font: Path, path: Path) -> None:
    from . import midi

    with tempfile.TemporaryDirectory() as scratch, replacing(path) as temporary:
        score = Path(scratch) / "score.mid"
        midi.write(piece, score)
        command = ["fluidsynth", "-ni", "-q", "-g", GAIN, "-r", str(RATE), "-F", str(temporary), str(font), str(score)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode or not temporary.exists() or temporary.stat().st_size <= HEADER:
            reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise DataError(f"fluidsynth with {font}: {reason}; SOUNDFONT= (empty) takes plain tones instead")


def synthesise(piece: Piece) -> np.ndarray:
    """Samples in [−1, 1]: each note a sum of partials that die away, the high ones first."""
    starts = piece.seconds(piece.notes["start"])
    stops = piece.seconds(piece.notes["start"] + piece.notes["duration"])
    length = float(max(stops.max(initial=0.0), piece.seconds(np.array([piece.beats]))[0])) + RELEASE
    sound = np.zeros(int(length * RATE) + 1)
    for note, start, stop in zip(piece.notes, starts, stops, strict=True):
        t = np.arange(int((stop - start + RELEASE) * RATE)) / RATE
        frequency = 440.0 * 2.0 ** ((note["pitch"] - 69) / 12.0)
        k = np.arange(1, PARTIALS + 1)
        k = k[k * frequency < RATE / 2][:, None]
        tone = (np.sin(2 * np.pi * k * frequency * t) * np.exp(-1.5 * k * t) / k**1.3).sum(axis=0)
        envelope = np.minimum(t / 0.005, 1.0) * np.clip((stop - start + RELEASE - t) / RELEASE, 0.0, 1.0)
        first = int(start * RATE)
        sound[first : first + len(t)] += (tone * envelope * note["velocity"] / 127.0)[: len(sound) - first]
    return sound / max(np.abs(sound).max(initial=0.0), 1.0) * 0.9


def _write_samples(sound: np.ndarray, path: Path) -> None:
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
