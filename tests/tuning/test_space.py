import dataclasses

import keras_tuner
import pytest

from elman.apps import forecasting
from elman.apps.core.errors import UsageError
from elman.tuning import space as spaces
from elman.tuning.space import Hyperparameters, Range
from elman.tuning.spaces import forecasting as forecasting_space

from . import fake


def drawn(module, base, domains=None, values=None):
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values or {})
    named = Hyperparameters(hp, base, domains)
    return module.sample(named, base), named, hp


@pytest.mark.parametrize("preset", list(forecasting.APP.presets))
def test_without_values_a_forecasting_sample_is_the_base_configuration(preset):
    base = forecasting.APP.preset(preset)
    config, named, _ = drawn(forecasting_space, base)
    assert config == base
    assert not named.excluded


def test_the_base_value_joins_a_domain_of_the_space():
    _, _, hp = drawn(fake, fake.Config(units=5, rate=3.0))
    units, rate = hp._hps["units"][0], hp._hps["rate"][0]
    assert list(units.values) == [2, 4, 5, 8]
    assert (rate.min_value, rate.max_value, rate.default, rate.sampling) == (0.01, 3.0, 3.0, "log")


def test_a_domain_of_the_user_replaces_the_space_and_may_leave_the_base_out():
    config, named, hp = drawn(fake, fake.Config(), {"units": (8, 16), "rate": Range(0.2, 0.4)})
    assert list(hp._hps["units"][0].values) == [8, 16]
    assert named.excluded == ["units", "rate"]
    assert (config.units, config.rate) == (8, 0.2)


def test_an_inactive_hyperparameter_keeps_the_base_value():
    values = {"kind": "a", "units": 2, "rate": 0.5, "depth": 3}
    assert drawn(fake, fake.Config(), values=values)[0].depth == 1
    assert drawn(fake, fake.Config(), values={**values, "kind": "b"})[0].depth == 3


def test_random_forecasting_samples_are_configurations_with_values_of_the_space():
    base = forecasting.Config()
    _, _, hp = drawn(forecasting_space, base)
    seen = set()
    for seed in range(100):
        values = {p.name: p.random_sample(seed + 1000 * k) for k, p in enumerate(hp.space)}
        config, _, _ = drawn(forecasting_space, base, values=values)
        seen.add((config.cell, config.units, config.anchor, config.loss))
        assert config.model == "segment"
        assert config.layers == base.layers  # a deepar hyperparameter is not active
        assert float(f"{config.learning_rate:.3g}") == config.learning_rate
    assert len(seen) > 20
    assert set(forecasting_space.COMPARABLE) <= {f.name for f in dataclasses.fields(base)}
    deepar = drawn(forecasting_space, base, {"model": ("deepar",)}, {"model": "deepar", "layers": 2})[0]
    assert (deepar.model, deepar.layers) == ("deepar", 2)


def test_the_command_line_and_a_file_name_the_same_domains(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('units = [8, 16]\nrate = "0.01..0.5"\nkind = "b"\n')
    words = ("units=8,16", "rate=1e-2..0.5", "kind=b")
    found = spaces.parse(fake.APP, fake.Config(), words)
    assert found == {"units": (8, 16), "rate": Range(0.01, 0.5), "kind": ("b",)}
    assert spaces.parse(fake.APP, fake.Config(), [str(file)]) == found
    assert spaces.to_domains(spaces.from_domains(found)) == found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("unit=3", "unknown hyperparameter 'unit'; did you mean 'units'?"),
        ("units=", "expected one value or more"),
        ("units=x", "expected int, received 'x'"),
        ("units=9..3", "expected low..high"),
        ("kind=a..b", "expected low..high"),
        ("nothing.toml", "or a TOML file; received 'nothing.toml'"),
    ],
)
def test_a_domain_that_cannot_be_is_refused(word, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?").replace("..", r"\.\.")):
        spaces.parse(fake.APP, fake.Config(), [word])


def test_an_application_without_a_space_is_named():
    with pytest.raises(UsageError, match="no search space"):
        spaces.find(fake.APP)
