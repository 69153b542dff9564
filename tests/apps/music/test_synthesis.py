"""Sound: FluidSynth is called where it is there, and what it cannot do is said; plain tones otherwise."""

import wave

import numpy as np
import pytest

from elman.apps.core.errors import DataError
from elman.apps.music import synthesis
from elman.apps.music.score import Piece, make_notes

PIECE = Piece("p", make_notes([(0, 1, 69, 127, 0), (2, 1, 81, 64, 0)]), 4.0, ((0.0, 60.0),))


def samples(path):
    with wave.open(str(path)) as file:
        assert file.getframerate() == synthesis.RATE
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def test_plain_tones_have_the_pitch_and_the_place_of_their_notes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDFONT", "")
    synthesis.write(PIECE, tmp_path / "p.wav")
    sound, second = samples(tmp_path / "p.wav"), synthesis.RATE
    for start, pitch in ((0, 440.0), (2, 880.0)):
        spectrum = np.abs(np.fft.rfft(sound[start * second : (start + 1) * second]))
        assert abs(spectrum.argmax() - pitch) <= 1
    silence = sound[round(1.2 * second) : 2 * second - 10]
    assert np.abs(silence).max() < 0.01 * np.abs(sound).max()


def fake(tmp_path, monkeypatch, script):
    program = tmp_path / "fluidsynth"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "font.sf2").write_bytes(b"RIFF")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SOUNDFONT", str(tmp_path / "font.sf2"))


def test_fluidsynth_is_given_the_font_and_the_score(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, 'while [ "$1" != -F ]; do shift; done; head -c 4 "$4" > "$2"; printf "%060d" 1 >> "$2"')
    synthesis.write(PIECE, tmp_path / "p.wav")
    assert (tmp_path / "p.wav").read_bytes()[:4] == b"MThd"  # -F OUT FONT SCORE


def test_a_fluidsynth_that_fails_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, "echo no such font >&2; exit 1")
    with pytest.raises(DataError, match="no such font"):
        synthesis.write(PIECE, tmp_path / "p.wav")
    assert not (tmp_path / "p.wav").exists()
    monkeypatch.setenv("SOUNDFONT", str(tmp_path / "none.sf2"))
    with pytest.raises(DataError, match=r"none\.sf2: no such file"):
        synthesis.write(PIECE, tmp_path / "p.wav")
