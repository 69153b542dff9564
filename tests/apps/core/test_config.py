import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.config import TrainingConfig, did_you_mean, from_json, to_json
from elman.apps.core.errors import UsageError
from elman.apps.forecasting.config import PRESETS, Config


@dataclass(frozen=True, kw_only=True)
class Example(TrainingConfig):
    name: str = "a"
    size: int = 1
    rate: float = 0.5
    flag: bool = False
    kind: Literal["x", "y", 3] = "x"
    numbers: tuple[int, ...] = ()
    shares: tuple[float, ...] = (0.5,)
    words: tuple[str, ...] = ()
    perhaps: int | None = None


finite = st.floats(allow_nan=False, allow_infinity=False)
examples = st.builds(
    Example,
    seed=st.integers(0, 2**32 - 1),
    learning_rate=st.floats(1e-9, 1e3),
    name=st.text(),
    size=st.integers(),
    rate=finite,
    flag=st.booleans(),
    kind=st.sampled_from(["x", "y", 3]),
    numbers=st.lists(st.integers()).map(tuple),
    shares=st.lists(finite).map(tuple),
    words=st.lists(st.text()).map(tuple),
    perhaps=st.none() | st.integers(),
)


@settings(max_examples=200, deadline=None)
@given(examples)
def test_json_round_trip(config):
    assert from_json(Example, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(name):
    config = PRESETS[name].config
    assert from_json(Config, json.loads(json.dumps(to_json(config)))) == config


def test_fields_that_are_not_given_keep_their_default():
    assert from_json(Example, {"size": 7}) == dataclasses.replace(Example(), size=7)
    assert from_json(Example, {"rate": 2}).rate == 2.0
    assert isinstance(from_json(Example, {"rate": 2}).rate, float)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sise": 1}, "unknown field 'sise'; did you mean 'size'?"),
        ({"zzzzzz": 1}, "known: "),
        ({"size": "1"}, "size: expected int, received '1'"),
        ({"size": 1.5}, "size: expected int, received 1.5"),
        ({"size": True}, "size: expected int, received True"),
        ({"rate": True}, "rate: expected float, received True"),
        ({"rate": None}, "rate: expected float, received None"),
        ({"flag": 1}, "flag: expected bool, received 1"),
        ({"kind": "z"}, "expected one of x, y, 3; received 'z'"),
        ({"kind": ["x"]}, "expected one of x, y, 3; received ['x']"),
        ({"numbers": 3}, "numbers: expected a list, received 3"),
        ({"numbers": "12"}, "numbers: expected a list, received '12'"),
        ({"numbers": [1, "2"]}, "numbers: expected int, received '2'"),
        ({"perhaps": "x"}, "perhaps: expected int, received 'x'"),
        ([], "expected a JSON object of fields, received list"),
        (None, "expected a JSON object of fields, received NoneType"),
    ],
)
def test_wrong_values_are_named(values, words):
    with pytest.raises(UsageError) as caught:
        from_json(Example, values, where="file.json")
    assert str(caught.value).startswith("file.json")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("average", 1.0),
        ("average", -0.1),
        ("decay", 0.0),
        ("decay", 1.5),
        ("clip_norm", -1.0),
        ("weight_decay", float("nan")),
        ("patience", -1),
        ("warmup_steps", -1),
        ("decay_after", -1),
        ("horizon", 0),
        ("lookback", 0),
        ("embedding", -1),
        ("season", -1),
        ("windows_per_epoch", -1),
        ("dropout", 1.0),
        ("levels", ()),
        ("levels", (0.1, 0.9)),
        ("levels", (0.5, 0.5)),
        ("levels", (0.0, 0.5)),
        ("levels", (0.5, 1.0)),
        ("split", (0.5, 0.5)),
        ("split", (-0.1, 0.5, 0.6)),
        ("split", (0.0, 0.0, 0.0)),
        ("lags", (0,)),
    ],
)
def test_numbers_out_of_range_are_refused_by_the_name_of_their_option(name, value):
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        Config(**{name: value})


def test_did_you_mean():
    assert did_you_mean("trian", ["train", "run"]) == "; did you mean 'train'?"
    assert did_you_mean("xyzzy", ["train", "run"]) == "; known: run, train"
