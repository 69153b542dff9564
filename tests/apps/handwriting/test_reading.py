"""Every format comes back as the ink that it holds, and what is wrong is refused in a line that says where."""

import json
import zipfile

import numpy as np
import pytest

from elman.apps.core.errors import DataError
from elman.apps.handwriting import iam, reading
from elman.apps.handwriting.ink import MOST_STROKES, make_ink
from elman.apps.handwriting.markup import MOST_ELEMENTS

STROKES = [[[0, 0, 0.0], [3, 4, 0.1], [6, 4, 0.2]], [[9, 1, 0.5], [9, 8, 0.6]]]


def same(ink, strokes=STROKES, columns=3):
    assert len(ink.strokes) == len(strokes)
    for mine, theirs in zip(ink.strokes, strokes, strict=True):
        np.testing.assert_allclose(mine[:, :columns], np.array(theirs, float)[:, :columns])


def test_json_in_its_forms(tmp_path):
    path = tmp_path / "ink.json"
    columns = {
        "strokes": [dict(zip("xyt", map(list, zip(*s, strict=True)), strict=True)) for s in STROKES],
        "text": "hi",
    }
    forms = [{"strokes": STROKES, "text": "hi"}, [{"strokes": STROKES, "text": "hi"}], {"lines": [columns]}]
    for form in forms:
        path.write_text(json.dumps(form))
        (ink,) = reading.read_file(path)
        same(ink)
        assert ink.text == "hi"
    path.write_text(json.dumps(STROKES))
    same(reading.read_file(path)[0])
    assert reading.read_file(path)[0].text is None


def test_csv_keeps_lines_apart(tmp_path):
    rows = [f"{line},{n},{x},{y},{t},text {line}" for line in "ab" for n, s in enumerate(STROKES) for x, y, t in s]
    (tmp_path / "ink.csv").write_text("line,stroke,x,y,t,text\n" + "\n".join(rows))
    inks = reading.read_file(tmp_path / "ink.csv")
    assert [ink.text for ink in inks] == ["text a", "text b"]
    for ink in inks:
        same(ink)


def inkml(traces, channels="XYT"):
    listed = "".join(f'<channel name="{c}"/>' for c in channels)
    body = "".join(f"<trace>{t}</trace>" for t in traces)
    return (
        f'<ink xmlns="http://www.w3.org/2003/InkML"><traceFormat>{listed}</traceFormat>'
        f'<annotation type="truth">hi</annotation><annotation type="writer">w7</annotation>{body}</ink>'
    )


def test_inkml_plain_and_as_differences(tmp_path):
    path = tmp_path / "ink.inkml"
    path.write_text(inkml([", ".join(" ".join(map(str, p)) for p in s) for s in STROKES]))
    (ink,) = reading.read_file(path)
    same(ink)
    assert (ink.text, ink.writer) == ("hi", "w7")
    # 10, 13, 16 as differences; then 10, 13, 18 (differences 3, 5) as a difference of differences
    path.write_text(inkml(["10 5, '3 '1, 3 1", "10 0, '3 '1, \"2 \"0"], "XY"))
    found = reading.read_file(path)[0].strokes
    np.testing.assert_allclose(found[0][:, :2], [[10, 5], [13, 6], [16, 7]])
    np.testing.assert_allclose(found[1][:, :2], [[10, 0], [13, 1], [18, 2]])


def iam_xml(strokes):
    points = "".join(
        "<Stroke>" + "".join(f'<Point x="{x}" y="{y}" time="{t}"/>' for x, y, t in s) + "</Stroke>" for s in strokes
    )
    return f'<?xml version="1.0"?><WhiteboardCaptureSession><StrokeSet>{points}</StrokeSet></WhiteboardCaptureSession>'


@pytest.fixture
def database(tmp_path):
    """IAM-OnDB as its archives unpack: lineStrokes-all/… beside ascii-all/…"""
    lines = tmp_path / "lineStrokes-all" / "lineStrokes" / "a01" / "a01-000"
    texts = tmp_path / "ascii-all" / "ascii" / "a01" / "a01-000"
    lines.mkdir(parents=True)
    texts.mkdir(parents=True)
    for number in (1, 2):
        (lines / f"a01-000u-0{number}.xml").write_text(iam_xml(STROKES))
    (texts / "a01-000u.txt").write_text("OCR:\n\nwrong\n\nCSR:\n\nBy Trevor Williams.\nA move to\n")
    return tmp_path


def test_iam_with_ascii_transcripts(database):
    for folder in (database, database / "lineStrokes-all"):
        inks, skipped = reading.read(folder)
        assert not skipped
        assert [ink.text for ink in inks] == ["By Trevor Williams.", "A move to"]
        assert {ink.writer for ink in inks} == {"a01-000u"}
        same(inks[0])
    one = database / "lineStrokes-all" / "lineStrokes" / "a01" / "a01-000" / "a01-000u-02.xml"
    assert reading.read_file(one)[0].text == "A move to"


def test_iam_with_a_label_file(database):
    (database / "ascii-all" / "ascii" / "a01" / "a01-000" / "a01-000u.txt").unlink()
    labels = '#!MLF!#\n"*/a01-000u-01.lab"\nB\ny\nsp\nn7\nqm\n.\n"/x/a01-000u-02.lab"\n0 10 A\n10 20 cm\n.\n'
    (database / "t2_labels.mlf").write_text(labels)
    assert [ink.text for ink in reading.read(database)[0]] == ["By 7?", "A,"]


def test_label_files_of_words(tmp_path):
    (tmp_path / "w.mlf").write_text('#!MLF!#\n"*/l-01.lab"\nA\nmove\nto\n.\n')
    assert iam.read_labels(tmp_path / "w.mlf") == {"l-01": "A move to"}


def test_a_clock_that_runs_backwards_in_a_database_is_left_out(tmp_path):
    (tmp_path / "x-01.xml").write_text(iam_xml([[[0, 0, 2.0], [1, 1, 1.0], [5, 2, 3.0]]]))
    ink = reading.read_file(tmp_path / "x-01.xml")[0]
    assert (np.diff(ink.strokes[0][:, 2]) > 0).all()


def test_pendigits(tmp_path):
    row = "47,100,27,81,57,37,26,0,0,23,56,53,100,90,40,98,8\n"
    (tmp_path / "pendigits.tra").write_text(row)
    (tmp_path / "pendigits.tes").write_text(row.replace(",8\n", ",3\n"))
    inks = reading.read(tmp_path)[0]
    assert [(ink.text, ink.split) for ink in inks] == [("3", "test"), ("8", "")]
    np.testing.assert_array_equal(inks[0].strokes[0][:2, :2], [[47, -100], [27, -81]])
    (tmp_path / "places.tra").write_text(row.replace(",8\n", ",0000000010\n") + row.replace(",8\n", ",1\n"))
    assert [ink.text for ink in reading.read_file(tmp_path / "places.tra")] == ["8", "1"]


def test_omniglot(tmp_path):
    with zipfile.ZipFile(tmp_path / "strokes.zip", "w") as archive:
        for drawer in ("01", "16", "20"):
            text = "START\n1,-2,0\n3,-4,10\nBREAK\n5,-6,20\n7,-9,30\nBREAK\n"
            archive.writestr(f"strokes/Latin/character01/0683_{drawer}.txt", text)
        archive.writestr("__MACOSX/strokes/Latin/character01/0683_01.txt", "rubbish")
    inks = reading.read_file(tmp_path / "strokes.zip")
    assert [(ink.text, ink.writer, ink.split) for ink in inks] == [
        ("Latin/character01", "01", "train"), ("Latin/character01", "16", "validation"),
        ("Latin/character01", "20", "test"),
    ]  # fmt: skip
    same(inks[0], [[[1, 2, 0], [3, 4, 0.01]], [[5, 6, 0.02], [7, 9, 0.03]]])


BOMB = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><ink><trace>&c;</trace></ink>"""
OUTSIDE = '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]><ink><annotation type="truth">&a;</annotation></ink>'
NAN = float("nan")
BAD = {
    "empty.json": ('{"strokes": []}', "no ink"),
    "void.json": ('{"strokes": [[], []]}', "no ink"),
    "one.json": ('{"strokes": [[[5, 5]]]}', "all its points are one"),
    "still.json": ('{"strokes": [[[5, 5], [5, 5]], [[5, 5]]]}', "all its points are one"),
    "nan.json": ('{"strokes": [[[0, 1], [2, NaN]]]}', "stroke 1, point 2: y is nan"),
    "inf.json": ('{"strokes": [[[0, 1], [Infinity, 3]]]}', "stroke 1, point 2: x is inf"),
    "back.json": ('{"strokes": [[[0, 1, 2], [2, 3, 1]]]}', "stroke 1, point 2: time runs backwards, from 2 to 1"),
    "between.json": ('{"strokes": [[[0, 1, 2], [2, 3, 3]], [[4, 4, 1], [5, 5, 2]]]}', "stroke 2, point 1: time"),
    "words.json": ('{"strokes": [[["a", "b"]]]}', "stroke 1: expected points of two or three numbers"),
    "ragged.json": ('{"strokes": [[[1, 2], [3]]]}', "stroke 1: expected points"),
    "number.json": ("3", "expected an object with 'strokes'"),
    "half.json": ('{"strokes": [', "not valid JSON"),
    "deep.json": ("[" * 100_000, "not valid JSON"),
    "bomb.inkml": (BOMB, "declares an XML entity ('a')"),
    "outside.inkml": (OUTSIDE, "declares an XML entity ('a')"),
    "broken.inkml": ("<ink><trace>1 2, 3 4</ink>", "not well-formed XML"),
    "letters.inkml": (inkml(["1 2, 3 x"], "XY"), "trace 1, point 2: expected a number, found 'x'"),
    "short.inkml": (inkml(["1 2, 3"], "XY"), "trace 1, point 2: 1 values for 2 channels"),
    "other.xml": ("<score/>", "no <Stroke>"),
    "columns.csv": ("x,y\n1,2\n", "no column stroke"),
    "cells.csv": ("stroke,x,y\n1,2,3\n1,a,3\n", "row 3: expected numbers"),
    "digits.tra": ("1,2,3\n", "expected rows of 17 numbers"),
    "strokes.zip": ("PK nonsense", "not a readable zip"),
    "ink.txt": ("1 2", "expected a file named"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(name, tmp_path):
    content, message = BAD[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        reading.read_file(tmp_path / name)
    assert message in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_ten_thousand_strokes_are_refused_before_they_are_converted():
    with pytest.raises(DataError, match=f"10,000 strokes; expected at most {MOST_STROKES:,}"):
        make_ink([[[0, 0], [1, 1]]] * 10_000, name="big")


def test_xml_of_millions_of_elements_is_left_early(tmp_path):
    path = tmp_path / "many.xml"
    path.write_text("<a>" + "<b/>" * (MOST_ELEMENTS + 10) + "</a>")
    with pytest.raises(DataError, match="more than 1,000,000 elements"):
        reading.read_file(path)


def test_a_folder_names_what_it_skips(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps({"strokes": STROKES, "text": "hi"}))
    (tmp_path / "bad.json").write_text("{")
    inks, skipped = reading.read(tmp_path)
    assert len(inks) == 1
    assert len(skipped) == 1
    assert "bad.json" in skipped[0]
    (tmp_path / "good.json").unlink()
    with pytest.raises(DataError, match="none of its 1 files could be read"):
        reading.read(tmp_path)
