"""The application from files to a bundle, for each representation."""

import json
import subprocess
import sys

import numpy as np
import pytest

from elman.apps import cli, music
from elman.apps.music import midi, reading
from elman.apps.music.config import PRESETS, Config, PredictOptions
from elman.apps.music.score import Piece, make_notes

SMALL = {
    "frames": Config(codec="frames", context=4, head_units=8, attention=8),
    "voices": Config(codec="voices", voices=2, head_units=8),
    "performance": Config(codec="performance", cell="layernorm_lstm"),
}


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tunes")
    rng = np.random.default_rng(0)
    for number in range(20):
        walk = 60 + np.cumsum(rng.integers(-2, 3, 32))
        notes = [(b / 2, 0.5, p, 80, 0) for b, p in enumerate(walk)] + [(b * 2, 2, 48, 70, 1) for b in range(8)]
        midi.write(Piece(str(number), make_notes(notes), 16.0), folder / f"{number}.mid")
    return folder


def test_every_preset_is_a_valid_configuration():
    for preset in PRESETS.values():
        assert preset.summary
        assert preset.config.window > 0


def test_garbage_is_one_line_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "x.mid").write_bytes(b"MThd" + bytes(range(64)))
    assert cli.main(["music", "train", "--data", str(tmp_path / "x.mid"), "--out", str(tmp_path / "run")]) == 1
    text = capsys.readouterr().err
    assert "x.mid: not a readable MIDI file" in text
    assert len(text.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


CHORDS = {"C": (48, 52, 55), "F": (53, 57, 60), "G": (55, 59, 62), "Am": (57, 60, 64)}


def accompanied(rng, bars=8):
    """A chord in each bar and a melody of its tones, slow in some bars and fast in others."""
    notes, name = [], "C"
    for bar in range(bars):
        name = rng.choice([other for other in CHORDS if other != name])
        notes += [(4 * bar, 4, pitch, 80, 1) for pitch in CHORDS[name]]
        length, pitch = rng.choice([0.5, 2.0]), 0
        for beat in np.arange(0, 4, length):
            pitch = rng.choice([p + 12 for p in CHORDS[name] if p + 12 != pitch])
            notes.append((4 * bar + beat, length, pitch, 80, 0))
    return Piece("", make_notes(notes), 4.0 * bars)


@pytest.mark.slow
def test_conditions_steer(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(80):
        midi.write(accompanied(rng), tmp_path / f"{number}.mid")
    config = Config(
        data=str(tmp_path), condition=("density", "chords"), steps_per_beat=2, window=64, units=48, head_units=24,
        context=0, dropout=0.0, batch_size=4, learning_rate=0.01, schedule="cosine", epochs=40,
    )  # fmt: skip
    opened = music.APP.open(music.APP.train(config, tmp_path / "run").path)

    def notes(**asked):
        options = [PredictOptions(primer_bars=0, bars=8, seed=seed, **asked) for seed in range(4)]
        return np.concatenate([opened.predict(tmp_path / "0.mid", options=o).piece.notes for o in options])

    beats = 4 * 8 * 4
    slow, fast = (len(notes(density=d, chords="C F G Am")) / beats for d in (1.25, 2.75))
    assert slow < 1.6
    assert fast > 2.2
    for chords in (["C", "F"], ["Am", "G"]):
        found = notes(chords=" ".join(chords))
        classes = [{p % 12 for p in CHORDS[chords[int(start // 4) % 2]]} for start in found["start"]]
        assert np.mean([p % 12 in among for p, among in zip(found["pitch"], classes, strict=True)]) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_run_export_and_predict(kind, tunes, tmp_path):
    import dataclasses

    config = dataclasses.replace(
        SMALL[kind], data=str(tunes), units=12, window=16, epochs=2, batch_size=8, steps_per_beat=2
    )
    broken = [tunes / f"broken{number}.mid" for number in range(8)]
    for path in broken:
        path.write_bytes(b"MThd")
    run = music.APP.run(config, tmp_path / "run")
    assert all(any(path.name in warning for warning in run.metrics["warnings"]) for path in broken)
    assert run.metrics["model"]["nll"] > 0
    assert set(run.metrics["baselines"]) == {"unigram", "markov-1", "markov-2"}
    bundle = run.path / "bundle"
    parity = json.loads((bundle / "parity.json").read_text())
    assert all(s["max_relative"] <= 1e-5 for s in parity["containers"]["litert"].values())
    made = [
        music.APP.open(bundle, engine).predict(options=PredictOptions(bars=2, primer_bars=1, seed=3))
        for engine in ("litert", "onnx", "saved_model")
    ]
    for other in made[1:]:
        np.testing.assert_array_equal(made[0].sequence, other.sequence)
    assert len(made[0].piece.notes)
    if kind == "voices":
        harmonised = music.APP.open(bundle).predict(options=PredictOptions(harmonise=True))
        source = reading.read_file(bundle / "example.json", 0.5)[0]
        melody = source.notes[source.notes["voice"] == 0]
        kept = harmonised.piece.notes[harmonised.piece.notes["voice"] == 0]
        np.testing.assert_array_equal(kept["pitch"], melody["pitch"])
    out = tmp_path / "tune.mid"
    code = (
        "import sys\nfor name in ('keras', 'tensorflow', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        f"from elman.apps.cli import main\nsys.exit(main(['music', 'predict', {str(bundle)!r}, '--example', '--bars', "
        f"'1', '--out', {str(out)!r}, '--engine', 'litert-int8']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert midi.read(out).beats > 0
    for suffix in (".wav", ".png", ".json"):
        music.APP.open(bundle).predict(out=tmp_path / f"tune{suffix}", options=PredictOptions(bars=1))
        assert (tmp_path / f"tune{suffix}").stat().st_size > 100
