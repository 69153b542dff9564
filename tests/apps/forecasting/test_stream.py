"""A stream of observations against windows of the whole table."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from elman.apps.core.errors import ElmanError
from elman.apps.forecasting import predict, stream
from elman.apps.forecasting.config import Config
from tests.apps.forecasting.test_network import DEEPAR, SEGMENT, build, engine, load

COVARIATES = {"future": ("price",), "static": ("size", "kind")}


def opened(monkeypatch, setting, **options):
    loaded = load(monkeypatch, setting, **options)
    run = engine(build(setting, loaded.codec), setting, loaded.codec)
    return loaded, SimpleNamespace(engine=run, config=setting, codec=loaded.codec)


def cut(table, end):
    """The table as it was after `end` steps."""
    return dataclasses.replace(table, series=tuple(dataclasses.replace(s, y=s.y[:end]) for s in table.series))


@pytest.mark.parametrize(("changes", "options"), [(COVARIATES, {"covariates": True}), ({}, {"gaps": False})])
def test_a_stream_gives_the_distributions_of_a_window(monkeypatch, changes, options):
    setting = Config(**{**DEEPAR, **changes})
    loaded, model = opened(monkeypatch, setting, **options)
    end, count, codec = 80, setting.horizon, loaded.codec
    rows = np.arange(2)
    windows = codec.windows(loaded.encoded, rows, np.full(2, end), ahead=count)
    past = codec.windows(loaded.encoded, rows, np.full(2, end))
    state = predict.warm(model.engine, setting, codec, past)
    now = stream.begin(model, cut(loaded.table, end))
    for i in range(count):
        known = {name: [s.columns[name][end + i] for s in loaded.table.series] for name in setting.future}
        values = [s.y[end + i] for s in loaded.table.series]
        now, found = stream.observe(model, now, values, known)
        state, expected = predict.advance(model.engine, state, predict.step_inputs(codec, windows, codec.lookback + i))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    if not options.get("gaps", True):
        assert (now.silent == 0).all()


def test_the_forecast_of_a_stream_is_that_of_the_table(monkeypatch):
    setting = Config(**{**DEEPAR, **COVARIATES, "distribution": "gaussian"})
    loaded, model = opened(monkeypatch, setting, covariates=True)
    codec, where = loaded.codec, loaded.encoded.length
    options = predict.PredictOptions(paths=4000)
    expected = predict.forecast(model.engine, setting, codec, loaded.encoded, np.arange(2), where, options=options)
    now = stream.begin(model, loaded.table)
    known = {"price": np.stack([s.columns["price"][len(s.y) :][: setting.horizon] for s in loaded.table.series])}
    found = stream.forecast(model, now, known, options)
    np.testing.assert_allclose(found.quantiles, expected.quantiles, atol=0.15 * float(expected.scale.max()))
    np.testing.assert_array_equal(stream.forecast(model, now, known, options).quantiles, found.quantiles)


def test_what_a_stream_cannot_take_is_said(monkeypatch):
    loaded, model = opened(monkeypatch, Config(**{**DEEPAR, **COVARIATES}), covariates=True)
    now = stream.begin(model, loaded.table)
    with pytest.raises(ElmanError, match=r"expected the future covariates \['price'\], received \[\]"):
        stream.observe(model, now, [1.0, 2.0])
    with pytest.raises(ElmanError, match=r"expected a value for each of 2 series, received shape \(1,\)"):
        stream.observe(model, now, [1.0], {"price": [1.0]})
    loaded, model = opened(monkeypatch, Config(**SEGMENT))
    with pytest.raises(ElmanError, match="expected a deepar model, which has a step; received --model segment"):
        stream.begin(model, loaded.table)
