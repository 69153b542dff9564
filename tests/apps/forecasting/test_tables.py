import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from elman.apps.core.errors import DataError, UsageError
from elman.apps.forecasting.frequency import Frequency, format_stamps, infer, parse_stamps
from elman.apps.forecasting.tables import Layout, from_columns, read, write_long

DATA = Path(os.environ.get("ELMAN_DATA", Path(__file__).parents[4] / "shared" / "data")) / "forecasting"
nan = np.nan


def table(tmp_path, text, layout=None, name="file.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, layout, **options)


def fault(tmp_path, text, layout=None, name="file.csv"):
    with pytest.raises(DataError) as caught:
        table(tmp_path, text, layout, name)
    return " ".join(str(caught.value).split())


def dates(first, count, unit="D"):
    return (np.datetime64(first, unit) + np.arange(count)).astype("datetime64[s]")


# Frequency


@pytest.mark.parametrize(
    ("text", "frequency", "season"),
    [
        ("s", Frequency("s", 1), 1),
        ("min", Frequency("s", 60), 1440),
        ("15min", Frequency("s", 900), 96),
        ("h", Frequency("s", 3600), 24),
        ("2H", Frequency("s", 7200), 12),
        ("7h", Frequency("s", 25200), 1),
        ("D", Frequency("s", 86400), 7),
        ("W-SUN", Frequency("s", 604800), 52),
        ("MS", Frequency("M", 1), 12),
        ("ME", Frequency("M", 1), 12),
        ("QS", Frequency("M", 3), 4),
        ("2Q", Frequency("M", 6), 2),
        ("yearly", Frequency("M", 12), 1),
        ("10", Frequency("i", 10), 1),
    ],
)
def test_frequency_names_round_trip_and_give_the_season(text, frequency, season):
    assert Frequency.parse(text) == frequency
    assert Frequency.parse(frequency.name) == frequency
    assert frequency.seasonality() == season
    assert Frequency(frequency.unit, frequency.step, 5).seasonality() == 5


@pytest.mark.parametrize("text", ["", "0", "0h", "fortnight", "h2", "-1", "1.5h"])
def test_a_frequency_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="expected a frequency"):
        Frequency.parse(text)


@pytest.mark.parametrize("name", ["min", "h", "D", "W", "M", "Q", "Y"])
def test_stamps_and_index_are_inverse_and_agree_with_pandas(name):
    pd = pytest.importorskip("pandas")
    start, frequency = np.datetime64("2019-12-01T00:00:00"), Frequency.parse(name)
    stamps = frequency.stamps(start, 40)
    offset = {"W": "7D", "M": "MS", "Q": pd.DateOffset(months=3), "Y": pd.DateOffset(years=1)}.get(name, name)
    np.testing.assert_array_equal(stamps, pd.date_range(start, periods=40, freq=offset).to_numpy())
    np.testing.assert_array_equal(frequency.index(start, stamps), np.arange(40))
    np.testing.assert_array_equal(frequency.at(stamps[7], -np.arange(8)), stamps[7::-1])


def test_month_ends_stay_month_ends():
    pd = pytest.importorskip("pandas")
    stamps = Frequency("M", 1).stamps("2019-11-30", 30)
    np.testing.assert_array_equal(stamps, pd.date_range("2019-11-30", periods=30, freq="ME").to_numpy())
    assert str(Frequency("M", 1).stamps("2020-01-30", 2)[1]) == "2020-02-29T00:00:00"


@pytest.mark.parametrize("name", ["s", "15min", "h", "D", "W", "M", "Q", "Y"])
@pytest.mark.parametrize("start", ["2019-01-01", "2018-12-31"])
def test_the_frequency_is_inferred_through_gaps(name, start):
    frequency = Frequency.parse(name)
    stamps = np.delete(frequency.stamps(start, 60), [3, 4, 17, 40])
    assert infer(stamps, np.zeros(56, int)) == frequency


def test_an_index_infers_its_step_and_the_jump_between_series_does_not_count():
    stamps, group = np.array([0, 5, 10, 3, 8, 18]), np.array([0, 0, 0, 1, 1, 1])
    assert infer(stamps, group) == Frequency("i", 5)
    assert infer(np.array([1, 7]), np.array([0, 1])) is None


# Stamps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-07-01 05:00:00", "2016-07-01T05"),
        ("2016-07-01T05:00", "2016-07-01T05"),
        ("1990/1/1 0:00", "1990-01-01"),
        ("1949-01", "1949-01-01"),
        ("2020.3.9", "2020-03-09"),
        ("2020-01-01T02:00:00+02:00", "2020-01-01"),
        ("2020-01-01T02:00:00.000Z", "2020-01-01T02"),
        ("2020Q3", "2020-07-01"),
        ("202012", "2020-12-01"),
        ("20200229", "2020-02-29"),
        ("31/1/2020 1:30", "2020-01-31T01:30"),
        ("1/31/2020", "2020-01-31"),
    ],
)
def test_stamps_of_many_spellings(text, expected):
    parsed = parse_stamps([text])
    assert parsed.valid.all()
    assert parsed.stamps[0] == np.datetime64(expected, "s")


@pytest.mark.parametrize("text", ["2020-13-01", "2020-02-30", "20-01-01", "noon", "", "2020-01-01 25:00", "1.5"])
def test_what_is_no_stamp_is_said_so(text):
    np.testing.assert_array_equal(parse_stamps(["2020-01-01", text]).valid, [True, False])


def test_day_and_month_are_told_apart_by_the_column_or_refused():
    assert str(parse_stamps(["1/2/2020", "13/2/2020"]).stamps[0]) == "2020-02-01T00:00:00"
    assert str(parse_stamps(["1/2/2020", "2/13/2020"]).stamps[0]) == "2020-01-02T00:00:00"
    for column in (["1/2/2020", "2/2/2020"], ["13/2/2020", "2/13/2020"]):
        parsed = parse_stamps(column)
        assert not parsed.valid.any()
        assert "told apart" in parsed.remedy


def test_one_wrong_cell_leaves_the_rest_of_the_column_what_it_is(tmp_path):
    assert "column ds: 1 cell without a stamp: row 3 has '2.5'" in fault(tmp_path, "ds,y\n1,1\n2.5,2\n3,1\n")
    text = "year,month,y\n2020,11,1\n2020,,2\n2021,1,3\n"
    said = fault(tmp_path, text, Layout(time_column="year,month"))
    assert "column year,month: 1 cell without a stamp: row 3 has '2020 '" in said


def test_format_stamps_is_read_back():
    for stamps in (dates("2020-01-01", 3), dates("2020-01-01T22", 3, "h"), np.array([3, 4, 5])):
        np.testing.assert_array_equal(parse_stamps(format_stamps(stamps)).stamps, stamps)
    assert format_stamps(dates("2020-01-01", 1)) == ["2020-01-01"]


# Layouts


def test_long_rows_in_any_order_with_gaps_missing_values_and_static(tmp_path):
    text = "unique_id,ds,y,kind\nB,2020-01-03,30,x\nA,2020-01-04,4,\nA,2020-01-01,1,y\nB,2020-01-02,NA,x\n"
    text += "B,2020-01-01,10,x\nA,2020-01-02,?,y\n"
    read_ = table(tmp_path, text, Layout(static=("kind",)))
    b, a = read_.series
    assert (b.id, a.id, read_.frequency.name) == ("B", "A", "D")
    np.testing.assert_array_equal(b.y, [10, nan, 30])
    np.testing.assert_array_equal(a.y, [1, nan, nan, 4])
    assert (a.static, b.static) == ({"kind": "y"}, {"kind": "x"})
    np.testing.assert_array_equal(read_.stamps(a), dates("2020-01-01", 4))
    np.testing.assert_array_equal(read_.stamps(a, 2), dates("2020-01-01", 6))
    assert "3 of 7 values are missing" in read_.warnings[0]


def test_without_an_id_the_file_is_the_series_and_the_known_future_is_not_missing(tmp_path):
    text = "ds,y,p,f,c\n2020-01-31,,0,0,u\n2020-02-29,2,2,2,\n2020-04-30,,4,4,w\n2020-05-31,,,5,\n2020-06-30,,,6,v\n"
    only = table(tmp_path, text, Layout(past=("p",), future=("f", "c")), "sales.csv", training=False).series[0]
    assert only.id == "sales"
    assert str(only.start) == "2020-02-29T00:00:00"  # the first value, not the first row
    np.testing.assert_array_equal(only.y, [2, nan, nan])  # April has an observed covariate: it is past
    np.testing.assert_array_equal(only.columns["p"], [2, nan, 4])
    np.testing.assert_array_equal(only.columns["f"], [2, nan, 4, 5, 6])
    assert only.columns["c"].tolist() == ["", "", "w", "", "v"]


def test_trailing_rows_without_a_known_covariate_are_missing_values(tmp_path):
    text = "ds,y,f\n2020-01-01,1,1\n2020-01-02,2,2\n2020-01-03,,\n2020-01-04,,\n"
    assert len(table(tmp_path, text).series[0].y) == 4
    assert len(table(tmp_path, text, Layout(future=("f",))).series[0].y) == 4


def test_wide_takes_all_columns_or_those_named_and_shares_covariates(tmp_path):
    text = "day;a;b;c\n2020-01-01;1;;7\n2020-01-02;2;5;8\n2020-01-04;4;6;9\n"
    every = table(tmp_path, text)
    assert [s.id for s in every.series] == ["a", "b", "c"]
    np.testing.assert_array_equal(every.series[1].y, [5, nan, 6])
    assert str(every.series[1].start) == "2020-01-02T00:00:00"
    one = table(tmp_path, text, Layout(target_column="b", past=("c",)))
    assert [s.id for s in one.series] == ["b"]
    np.testing.assert_array_equal(one.series[0].columns["c"], [8, nan, 9])
    assert [s.id for s in table(tmp_path, text, Layout(past=("a",))).series] == ["b", "c"]


def test_stamps_in_several_columns_and_in_none(tmp_path):
    text = "year,month,day,hour,y\n2020,12,31,23,1\n2021,1,1,0,2\n2021,1,1,2,3\n"
    parts = table(tmp_path, text, Layout(time_column="year,month,day,hour"))
    np.testing.assert_array_equal(parts.series[0].y, [1, 2, nan, 3])
    joined = table(tmp_path, "d,t,y\n2020-12-31,23:00,1\n2021-01-01,00:00,2\n", Layout(time_column="d,t"))
    assert joined.stamps(joined.series[0])[1] == np.datetime64("2021-01-01T00")
    counted = table(tmp_path, "unique_id,y\nA,1\nB,5\nA,2\nB,6\nA,3\n", Layout(time_column=""))
    assert [s.y.tolist() for s in counted.series] == [[1, 2, 3], [5, 6]]
    assert "row 3 has '2021 2 29 0'" in fault(
        tmp_path, "year,month,day,hour,y\n2021,2,28,0,1\n2021,2,29,0,2\n", Layout(time_column="year,month,day,hour")
    )


def test_an_index_keeps_its_step_and_takes_the_season_of_a_name(tmp_path):
    text = "ds,y\n10,1\n30,3\n20,2\n60,6\n"
    read_ = table(tmp_path, text, Layout(frequency="h"))
    assert read_.frequency == Frequency("i", 10, 24)
    assert read_.series[0].start == 10
    np.testing.assert_array_equal(read_.series[0].y, [1, 2, 3, nan, nan, 6])


def test_m4_rows_of_any_length_and_the_official_test_part(tmp_path):
    (tmp_path / "Hourly-test.csv").write_text('"V1","V2","V3"\n"H2",8,9\n"H1",6,7\n')
    train = '"V1","V2","V3","V4"\n"H1",1,2,3\n"H2",4,NA,,\n"H3",5\n'
    alone = table(tmp_path, train, name="Hourly-train.csv")
    assert [s.y.tolist() for s in alone.series] == [[1, 2, 3], [4], [5]]
    assert (alone.test, alone.frequency) == (0, Frequency("i", 1, 24))
    with pytest.raises(DataError, match="equal length"):
        read(tmp_path)
    (tmp_path / "Hourly-test.csv").write_text('"V1","V2","V3"\n"H2",8,9\n"H1",6,7\n"H3",1,2\n')
    both = read(tmp_path)
    assert both.test == 2
    assert [s.y.tolist() for s in both.series] == [[1, 2, 3, 6, 7], [4, 8, 9], [5, 1, 2]]


def test_covariates_are_numbers_or_text_by_their_majority(tmp_path):
    text = "ds,y,a,b\n2020-01-01,1,NW,1\n2020-01-02,2,NA,2\n2020-01-03,3,SE,x\n"
    covariates = table(tmp_path, text, Layout(past=("a",))).series[0].columns
    assert covariates["a"].tolist() == ["NW", "", "SE"]
    assert "column b: 1 cell without a finite number: row 4 has 'x'" in fault(tmp_path, text, Layout(past=("b",)))


def test_parquet_reads_as_csv_does(tmp_path):
    pd = pytest.importorskip("pandas")
    text = "unique_id,ds,y,c\nA,2020-01-01,1,u\nA,2020-01-02,,v\nA,2020-01-04,4,\n"
    layout = Layout(past=("c",))
    expected = table(tmp_path, text, layout)
    frame = pd.read_csv(tmp_path / "file.csv", parse_dates=["ds"])
    for name, variant in {
        "a": frame,
        "b": frame.assign(ds=frame.ds.dt.tz_localize("UTC")),
        "c": frame.set_index("ds"),
    }.items():
        variant.to_parquet(tmp_path / f"{name}.parquet")
        got = read(tmp_path / f"{name}.parquet", layout)
        assert (got.frequency, got.series[0].start) == (expected.frequency, expected.series[0].start)
        np.testing.assert_array_equal(got.series[0].y, expected.series[0].y)
        assert got.series[0].columns["c"].tolist() == ["u", "v", "", ""]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing of the kind")
    with pytest.raises(DataError, match="not a Parquet file"):
        read(tmp_path / "bad.parquet")


def test_what_is_written_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(30) < 0.2, nan, rng.normal(size=30))
    y[[0, -1]] = 1.5, 2.5
    columns = {"unique_id": ["a"] * 33, "ds": dates("2020-02-01T07", 33, "h"), "y": np.r_[y, [nan] * 3]}
    columns |= {"f": rng.normal(size=33), "word": ["x", "", "z"] * 11, "s": ["k"] * 33}
    layout = Layout(past=("word",), future=("f",), static=("s",))
    columns["word"][30:] = [""] * 3
    before = from_columns(columns, layout)
    write_long(tmp_path / "out.csv", before)
    after = read(tmp_path / "out.csv", layout)
    assert after.frequency == before.frequency
    for one, two in zip(before.series, after.series, strict=True):
        assert (one.id, one.start, one.static) == (two.id, two.start, two.static)
        np.testing.assert_array_equal(one.y, two.y)
        for name in ("f", "word"):
            np.testing.assert_array_equal(one.columns[name], two.columns[name])
    assert len(after.series[0].columns["f"]) == 33
    assert not list(tmp_path.glob("*.partial"))


# Faults


def test_one_check_names_every_fault_with_row_and_remedy(tmp_path):
    text = "unique_id,ds,y\nA,2020-01-01,1\nA,2020-01-02,x\nA,2020-01-02,3\nA,2020-01-32,4\n,2020-01-05,5\n"
    text += "A,2020-01-06,inf\nA,2020-01-07\nA,2020-01-08 01:00,1\nA,2020-01-09,2\nA,2020-01-10,2\nA,2020-01-11,3\n"
    with pytest.raises(DataError) as caught:
        table(tmp_path, text)
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 14
    said = " ".join(str(caught.value).split())
    for part in (
        "row 8 has 2",
        "column unique_id: 1 row without a name: row 6",
        "column ds: 1 cell without a stamp: row 5 has '2020-01-32'",
        "column y: 2 cells without a finite number: row 3 has 'x'; row 7 has 'inf'",
        "1 repeated stamp: row 4, 2020-01-02 of A, also in row 3",
        "1 stamp off the grid of D: row 9, 2020-01-08 01:00:00 of A",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("ds,y\n", "no rows"),
        (bytes(range(256)) * 3, "not text"),
        (b"PK\x03\x04\x00", "not text"),
        ("date,é\n2020-01-01,1\n".encode("latin-1"), "byte 5 is 0xe9, in line 1"),
        ('ds,y\n2020-01-01,"1\n', "is not CSV"),
        ("ds,y,y\n2020-01-01,1,2\n", "repeats a column: 'y'"),
        ("ds,Y\n2020-01-01,1\n", "Y: "),
        ("unique_id,ds,value\nA,2020-01-01,1\n", "no column: 'y'. Found unique_id, ds, value"),
        ("temp,hum\n1.5,2\n1.6,3\n", "column temp: 2 cells without a stamp: row 2 has '1.5'; row 3 has '1.6'"),
        ("ds,y\n1/2/2020,1\n2/2/2020,2\n", "Day and month cannot be told apart"),
        ("ds,y\n2020-01-01,\n2020-01-02,NaN\n", "no series has a value"),
        ("date,a,b\n2020-01-01,5,6\n2020-01-02,5,6\n", "every series is constant: a; b"),
        ("ds,y\n2020-01-01,1\n", "cannot be inferred"),
        ("ds,y\n2016-01-01,1\n2016-01-02,2\n9016-01-03,3\n", "row 4, 9016-01-03"),
        ("ds,y\n2020-01-01,1_000\n2020-01-02,2\n", "'1_000'"),
        ("day;a\n2020-01-01;1,5\n2020-01-02;2\n", "row 2 has '1,5'"),
    ],
)
def test_bad_files_are_refused_with_what_was_found(tmp_path, text, expected):
    if expected == "Y: ":
        assert "'y' (did you mean 'Y'?)" in fault(tmp_path, text, Layout(kind="long"))
    else:
        assert expected in fault(tmp_path, text)


def test_faults_that_depend_on_the_layout(tmp_path):
    text = "unique_id,ds,y,s\nA,2020-01-01,1,1\nA,2020-01-02,2,2\n"
    assert "static column s: 1 row unlike the first of the series: row 3" in fault(
        tmp_path, text, Layout(static=("s",))
    )
    assert "there is no column: 'temperture'; 'shop'" in fault(
        tmp_path, text, Layout(id_column="shop", past=("temperture",))
    )
    assert "counts an index" in fault(tmp_path, text, Layout(frequency="5"))
    assert "1 stamp off the grid of W" in fault(tmp_path, text, Layout(frequency="W"))
    m4 = "V1,V2,V3\nA,1,x\nB,,inf\nA,1\n"
    said = fault(tmp_path, m4, Layout(past=("p",)))
    for part in ("row 2, column V3 has 'x'; row 3, column V3 has 'inf'", "the same series twice: A", "no covariates"):
        assert part in said
    with pytest.raises(UsageError, match="one part"):
        Layout(past=("a",), future=("a",))
    with pytest.raises(UsageError, match="expected auto"):
        Layout(kind="tall")


def test_a_million_faults_are_counted_and_few_are_shown(tmp_path):
    text = "ds,y\n" + "".join(f"{i},oops\n" for i in range(20000))
    said = fault(tmp_path, text)
    assert "20,000 cells" in said
    assert len(said) < 400


def test_missing_files_and_folders(tmp_path):
    (tmp_path / "sales.csv").write_text("ds,y\n")
    with pytest.raises(DataError, match=r"did\syou\smean\s'sales\.csv'\?"):
        read(tmp_path / "sale.csv")
    with pytest.raises(DataError, match=r"found\snone"):
        read(tmp_path)


def test_unusual_series_are_warnings(tmp_path):
    text = "date,a,b,c\n2020-01-01,,1,5\n2020-01-02,,3,5\n"
    read_ = table(tmp_path, text)
    assert [s.id for s in read_.series] == ["b", "c"]
    assert read_.warnings == ("left out, without a value: 1 series (a)", "constant: 1 series (c)")
    assert len(table(tmp_path, "ds,y\n2020-01-01,5\n2020-01-02,5\n", training=False).series) == 1


# Real files

real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data: set ELMAN_DATA to its folder")


@real
@pytest.mark.parametrize(
    ("name", "layout", "count", "length", "frequency", "start"),
    [
        ("ETTh1.csv", Layout(), 7, 17420, "h", "2016-07-01"),
        ("exchange_rate.csv", Layout(), 8, 7588, "D", "1990-01-01"),
        ("national_illness.csv", Layout(), 7, 966, "W", "2002-01-01"),
        ("airline-passengers.csv", Layout(), 1, 144, "M", "1949-01-01"),
        ("monthly-sunspots.csv", Layout(), 1, 2820, "M", "1749-01-01"),
        ("daily-min-temperatures.csv", Layout(), 1, 3652, "D", "1981-01-01"),
        (
            "pollution.csv",
            Layout(time_column="year,month,day,hour", target_column="pm2.5", past=("DEWP", "cbwd")),
            1,
            43800,
            "h",
            "2010-01-02",
        ),
    ],
)
def test_real_files(name, layout, count, length, frequency, start):
    read_ = read(DATA / name, layout)
    assert (len(read_.series), read_.frequency.name) == (count, frequency)
    assert {len(s.y) for s in read_.series} == {length}
    assert read_.series[0].start == np.datetime64(start, "s")
    if name == "daily-min-temperatures.csv":  # the last days of two leap years are not there
        lost = read_.stamps(read_.series[0])[np.isnan(read_.series[0].y)]
        assert format_stamps(lost) == ["1984-12-31", "1988-12-31"]


@real
def test_real_m4():
    read_ = read(DATA / "m4")
    assert (len(read_.series), read_.test, read_.frequency.seasonality()) == (414, 48, 24)
    assert read_.series[0].y[[0, 699, 700, 747]].tolist() == [605, 684, 619, 659]


def test_reading_imports_numpy_alone_and_is_fast(tmp_path):
    rng = np.random.default_rng(0)
    stamps, values = format_stamps(dates("2020-01-01T00", 5000, "h")), rng.normal(size=(50000, 7)).round(4).astype(str)
    rows = (f"s{i // 5000},{stamps[i % 5000]},{','.join(v)}" for i, v in enumerate(values))
    (tmp_path / "big.csv").write_text("unique_id,ds,y,a,b,c,d,e,f\n" + "\n".join(rows))
    began = time.process_time()
    big = read(tmp_path / "big.csv", Layout(past=tuple("abcdef")))
    assert time.process_time() - began < 5  # measured: 0.6 s
    assert [len(s.y) for s in big.series] == [5000] * 10
    np.testing.assert_array_equal(big.series[3].columns["f"], values[15000:20000, 6].astype(float))
    code = "import sys; from elman.apps.forecasting.tables import read; read(sys.argv[1])\n"
    code += "sys.exit(bool({'pandas', 'tensorflow', 'keras', 'statsmodels', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "big.csv")], check=False).returncode == 0
