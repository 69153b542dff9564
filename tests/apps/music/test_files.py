"""MIDI, MusicXML, ABC, JSON and .mat: what is read, and what is refused."""

import io
import json
import zipfile
from pathlib import Path

import mido
import numpy as np
import pytest

from elman.apps.core.errors import DataError
from elman.apps.music import abc_notation, midi, musicxml, reading
from elman.apps.music.score import Piece, make_notes, to_json


def rows(piece):
    return [(float(n["start"]), float(n["duration"]), int(n["pitch"]), int(n["voice"])) for n in piece.notes]


def midi_bytes(messages, **options):
    file = mido.MidiFile(ticks_per_beat=100, **options)
    file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def test_midi_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    notes = [(i / 4, 0.25 * rng.integers(1, 8), 40 + i, rng.integers(1, 128), i % 3) for i in range(40)]
    piece = Piece("p", make_notes(notes), 12.0, ((0.0, 90.0), (4.0, 132.5)), ((0.0, 3.0), (6.0, 4.5)))
    midi.write(piece, tmp_path / "p.mid")
    back = midi.read(tmp_path / "p.mid")
    np.testing.assert_array_equal(back.notes, piece.notes)
    assert back.metre == piece.metre
    assert [b for b, _ in back.tempo] == [0.0, 4.0]
    np.testing.assert_allclose([s for _, s in back.tempo], [90.0, 132.5], rtol=1e-4)
    np.testing.assert_allclose(back.seconds(np.array([2.0, 6.0])), [4 / 3, 8 / 3 + 120 / 132.5], rtol=1e-4)


def test_the_pedal_holds_notes_until_it_is_up_or_they_are_struck_again():
    on, off, pedal = (
        lambda n, t: mido.Message("note_on", note=n, velocity=70, time=t),
        lambda n, t: mido.Message("note_off", note=n, time=t),
        lambda v, t: mido.Message("control_change", control=64, value=v, time=t),
    )
    content = midi_bytes([pedal(127, 0), on(60, 0), off(60, 50), on(60, 50), off(60, 50), on(64, 0), pedal(0, 50)])
    piece = midi.parse(content, "pedal")
    assert rows(piece) == [(0.0, 1.0, 60, 0), (1.0, 1.0, 60, 0), (1.5, 0.5, 64, 0)]


def test_percussion_is_left_out_and_a_note_on_of_velocity_zero_ends_a_note():
    on = mido.Message("note_on", note=60, velocity=70, time=0)
    drum = mido.Message("note_on", note=36, velocity=70, channel=9, time=0)
    piece = midi.parse(midi_bytes([drum, on, mido.Message("note_on", note=60, velocity=0, time=100)]), "x")
    assert rows(piece) == [(0.0, 1.0, 60, 0)]


@pytest.mark.parametrize("content", [b"", b"MThd", b"MThd" + bytes(range(64)), b"RIFF" + b"\0" * 40])
def test_broken_midi_is_named(content):
    with pytest.raises(DataError, match=r"broken\.mid: not a readable MIDI file"):
        midi.parse(content, "broken.mid")


SCORE = """<?xml version="1.0"?><score-partwise><part id="P1">
<measure number="0"><attributes><divisions>2</divisions>
<time><beats>3</beats><beat-type>4</beat-type></time></attributes>
<note><pitch><step>G</step><octave>4</octave></pitch><duration>2</duration></note></measure>
<measure number="1"><note><pitch><step>C</step><alter>1</alter><octave>5</octave></pitch><duration>4</duration></note>
<note><chord/><pitch><step>E</step><octave>5</octave></pitch><duration>4</duration></note>
<note><pitch><step>D</step><octave>5</octave></pitch><duration>2</duration><tie type="start"/></note>
<backup><duration>6</duration></backup>
<note><pitch><step>C</step><octave>3</octave></pitch><duration>6</duration><voice>2</voice></note></measure>
<measure number="2"><note><pitch><step>D</step><octave>5</octave></pitch><duration>3</duration><tie type="stop"/></note>
<note><rest/><duration>3</duration></note></measure></part></score-partwise>"""
SOUNDS = [(0.0, 1.0, 67, 0), (1.0, 3.0, 48, 1), (1.0, 2.0, 73, 0), (1.0, 2.0, 76, 0), (3.0, 2.5, 74, 0)]


@pytest.mark.parametrize("suffix", [".musicxml", ".mxl"])
def test_musicxml_ties_chords_voices_and_the_upbeat(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    if suffix == ".mxl":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("META-INF/container.xml", '<c><rootfiles><rootfile full-path="s.xml"/></rootfiles></c>')
            archive.writestr("s.xml", SCORE)
    else:
        path.write_text(SCORE)
    piece = musicxml.read(path)
    assert rows(piece) == SOUNDS
    assert piece.metre == ((-2.0, 3.0),)
    assert piece.beats == 7.0


def sign(text):
    """A measure of a score in short: `[` begins a section, `]` ends one, digits are endings that end with it."""
    numbers = frozenset(int(c) for c in text if c.isdigit())
    return musicxml.Signs("[" in text, 2 * ("]" in text), numbers, bool(numbers))


@pytest.mark.parametrize(
    ("measures", "order"),
    [
        ("a b c", [0, 1, 2]),
        ("a b] c", [0, 1, 0, 1, 2]),
        ("a [b c] d", [0, 1, 2, 1, 2, 3]),
        ("a b] c d] e", [0, 1, 0, 1, 2, 3, 2, 3, 4]),
        ("[a 1] 2 c", [0, 1, 0, 2, 3]),
        ("[a 1] 2] c", [0, 1, 0, 2, 3]),
        ("[a 12] 3 c d] e", [0, 1, 0, 1, 0, 2, 3, 4, 3, 4, 5]),
        ("[a 1] b", [0, 1, 0, 2]),
    ],
)
def test_the_order_of_repeated_measures(measures, order):
    assert musicxml.played([sign(text) for text in measures.split()]) == order


def test_musicxml_repeats_are_played_or_not(tmp_path):
    path = tmp_path / "s.musicxml"
    path.write_text(
        SCORE.replace("</measure></part>", '<barline><repeat direction="backward"/></barline></measure></part>')
    )
    once, twice = musicxml.read(path, repeats=False), musicxml.read(path)
    assert rows(once) == SOUNDS
    assert rows(twice) == SOUNDS + [(start + 7.0, *rest) for start, *rest in SOUNDS]
    assert twice.metre == once.metre


@pytest.mark.parametrize(
    ("music", "pitches"),
    [
        ("CDEF|G4|]", [60, 62, 64, 65, 67]),
        ("|:CD:|EF|", [60, 62, 60, 62, 64, 65]),
        ("|:CD|1 E2:|2 F2|]", [60, 62, 64, 60, 62, 65]),
        ("CD:|:EF:|", [60, 62, 60, 62, 64, 65, 64, 65]),
        ("C, c c' ^C _D =C", [48, 72, 84, 61, 61, 60]),
        ("^CC|C", [61, 61, 60]),
        ("[CEG]2 z2", [60, 64, 67]),
        ("C-C D", [60, 62]),
    ],
)
def test_abc_pitches(music, pitches):
    assert [r[2] for r in rows(abc_notation.parse(f"X:1\nM:4/4\nL:1/4\nK:C\n{music}\n"))] == pitches


def test_abc_lengths():
    piece = abc_notation.parse("X:1\nM:4/4\nL:1/8\nQ:1/4=90\nK:C\nC2 D/ E/ F3/2 G/ (3ABc d>e\n")
    assert [r[1] for r in rows(piece)] == pytest.approx([1, 0.25, 0.25, 0.75, 0.25, 1 / 3, 1 / 3, 1 / 3, 0.75, 0.25])
    assert piece.tempo == ((0.0, 90.0),)


@pytest.mark.parametrize(
    ("key", "altered"),
    [("C", {}), ("D", {"F": 1, "C": 1}), ("Bb", {"B": -1, "E": -1}), ("Am", {}), ("Ddor", {}),
     ("F#m", dict.fromkeys("FCG", 1))],
)  # fmt: skip
def test_abc_key_signatures(key, altered):
    assert abc_notation.key_signature(key) == altered


@pytest.mark.parametrize("music", ["V:1\nCD|\nV:2\n_E,2|\nV:1\nEF|", "[V:1]CD|[V:2 clef=bass]_E,2|\n[V:1]EF|"])
def test_abc_voices_sound_together_and_chord_symbols_after_them(music):
    piece = abc_notation.parse(
        f'X:1\nM:2/4\nL:1/4\nV:1 name="A"\nV:2\nK:C\n"Am"{music}\n'.replace('"Am"V:1\n', 'V:1\n"Am"')
    )
    melody = [r for r in rows(piece) if r[3] < 2]
    assert melody == [(0.0, 2.0, 51, 1), (0.0, 1.0, 60, 0), (1.0, 1.0, 62, 0), (2.0, 1.0, 64, 0), (3.0, 1.0, 65, 0)]
    assert piece.beats == 4.0


def test_abc_chords_sound_until_the_next():
    piece = abc_notation.parse('X:1\nM:2/4\nL:1/4\nK:G\n"G"GB|"Am"A2|\n')
    under = [r for r in rows(piece) if r[3] == 1]
    assert {r[2] for r in under if r[0] == 0} == {43, 55, 59, 62}
    assert all(r[1] == 2 for r in under)
    assert abc_notation.chord_pitches("D/F#")[0] % 12 == 6
    assert abc_notation.chord_pitches("hello") == ()


def test_a_piece_comes_back_from_json(tmp_path):
    notes = make_notes([(0, 1, 60, 80, 0), (1.5, 0.5, 64, 70, 1)])
    piece = Piece("p", notes, 3.0, ((0.0, 90.0),), ((0.0, 3.0),))
    path = tmp_path / "p.json"
    path.write_text(json.dumps(to_json(piece)))
    (back,) = reading.read_file(path, 0.5)
    np.testing.assert_array_equal(back.notes, notes)
    assert (back.beats, back.tempo, back.metre) == (3.0, piece.tempo, piece.metre)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pitch": 128}, "pitches of 0 to 127"),
        ({"duration": 0}, "positive tempo, metre, beats and durations"),
        ({"start": -1}, "starts from 0"),
        ({"start": "x"}, "expected notes with start, duration, pitch, velocity, voice"),
    ],
)
def test_notes_that_cannot_be_are_refused(tmp_path, change, words):
    note = {"start": 0, "duration": 1, "pitch": 60, "velocity": 80, "voice": 0, **change}
    (tmp_path / "p.json").write_text(json.dumps({"tempo": 90, "notes": [note]}))
    with pytest.raises(DataError, match=rf"p\.json: .*{words}"):
        reading.read_file(tmp_path / "p.json", 0.5)


def test_a_folder_names_what_it_skips(tmp_path):
    midi.write(Piece("a", make_notes([(0, 1, 60, 80, 0)]), 1.0), tmp_path / "a.mid")
    (tmp_path / "b.mid").write_bytes(b"MThd nothing")
    (tmp_path / "c.json").write_text(json.dumps({"train": [[[60, 55], [62]]], "test": [[[64, 57]]]}))
    (tmp_path / "notes.txt").write_text("no music")
    pieces, skipped = reading.read(tmp_path, 0.5)
    assert [p.split for p in pieces] == ["", "train", "test"]
    assert rows(pieces[1]) == [(0.0, 0.5, 55, 1), (0.0, 0.5, 60, 0), (0.5, 0.5, 62, 0)]
    assert len(skipped) == 1
    assert "b.mid: not a readable MIDI file" in skipped[0]


def test_a_folder_without_music_is_refused(tmp_path):
    with pytest.raises(DataError, match="no music in this folder"):
        reading.read(tmp_path, 0.25)
    (tmp_path / "x.mid").write_bytes(b"MThd")
    with pytest.raises(DataError, match="none of its 1 files could be read"):
        reading.read(tmp_path, 0.25)
    (tmp_path / "y.json").write_text("[[[300]]]")
    with pytest.raises(DataError, match="expected MIDI numbers"):
        reading.read(tmp_path / "y.json", 0.25)


def test_mat_piano_rolls(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    rng = np.random.default_rng(1)
    cells = {}
    for name, count in (("traindata", 3), ("validdata", 1), ("testdata", 2)):
        cells[name] = np.empty((1, count), object)
        for i in range(count):
            cells[name][0, i] = (rng.random((9 + i, 88)) < 0.1).astype(np.uint8)
    savemat(tmp_path / "rolls.mat", cells)
    pieces = reading.read_file(tmp_path / "rolls.mat", 1.0)
    assert [p.split for p in pieces] == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert [p.beats for p in pieces] == [9, 10, 11, 9, 9, 10]


def test_a_tune_that_cannot_be_read_is_named_and_the_others_of_its_file_are_read(tmp_path):
    good, silent, broken = "X:1\nK:C\nCD\n", "X:2\nK:C\nz4\n", "X:3\nK:C\nC1/0\n"
    endless = "X:4\nL:1/4\nK:C\nC999999\n"
    path = tmp_path / "tunes.abc"
    path.write_text(good + silent + broken + endless + "X:5\nCD\n" + good)
    for where in (path, tmp_path):
        pieces, skipped = reading.read(where, 0.25)
        assert len(pieces) == 2
        assert [line.split(": ")[0] for line in skipped] == [f"tunes.abc X:{n}" for n in (2, 3, 4, 5)]
        for line, words in zip(skipped, ("no notes", "not a valid tune", "999,999", "before its key"), strict=True):
            assert words in line
    with pytest.raises(DataError, match="X:2: no notes"):
        reading.read_file(path, 0.25)


MUSIC = Path(__file__).parents[4] / "shared" / "data" / "music"


@pytest.mark.skipif(not MUSIC.exists(), reason="the real data are not here")
def test_every_real_midi_file_and_tune_is_read():
    pieces, skipped = reading.read(MUSIC / "nottingham" / "midi", 0.25)
    assert (len(pieces), skipped) == (103, [])
    tunes, skipped = reading.read(MUSIC / "nottingham" / "ABC_cleaned", 0.25)
    assert (len(tunes), skipped) == (1034, [])
