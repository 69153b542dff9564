"""The attention decoder: step by step it is what it was trained as, and its reading follows the rules."""

import keras
import numpy as np
import pytest

from elman.apps.core.errors import UsageError
from elman.apps.handwriting import attending, decode, generated, model
from elman.apps.handwriting.attentive import TextLoss
from elman.apps.handwriting.config import Config, PredictOptions
from elman.apps.handwriting.lines import collate, with_previous

from .test_network import engine_of, some

CONFIG = Config(model="attention", units=6, layers=1)


@pytest.fixture(scope="module")
def reader():
    codec = generated.codec(CONFIG)
    keras.utils.set_random_seed(3)
    network = model.build(CONFIG, codec)
    return network, codec, engine_of(network, CONFIG, codec), some(CONFIG, codec, 2)


def test_a_character_at_a_time_is_the_whole_text(reader):
    network, _, engine, lines = reader
    inputs, targets = with_previous(*collate(lines))
    logits = network.predict(inputs, verbose=0)
    whole = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for row, line in enumerate(lines):
        seen = attending.encode(engine, np.asarray(line.frames, np.float32))
        states = seen.states()
        for place, before in enumerate(inputs["previous"][row, : len(line.classes) + 1]):
            log_probs, states, looks = seen.step(np.array([before]), states)
            np.testing.assert_allclose(log_probs[0], whole[row, place], atol=1e-4)
            assert looks.sum() == pytest.approx(1, abs=1e-4)
    assert targets[0, len(lines[0].classes)] == 0
    np.testing.assert_array_equal(targets[0, : len(lines[0].classes)], lines[0].classes)


def test_readings_follow_a_pattern_and_refuse_what_guides_ctc(reader):
    _, codec, engine, lines = reader
    seen = decode.look(engine, lines[0].frames)
    found = decode.Decoder(codec, PredictOptions(pattern="[ab]{3}c"))(seen)[0]
    assert len(found.text) == 4
    assert set(found.text[:3]) <= {"a", "b"}
    assert found.text[3] == "c"
    assert len(found.frames) == len(found.confidences) == 4
    several = decode.Decoder(codec, PredictOptions(pattern="[ab]{2}", beam=4, n_best=3))(seen)
    assert len({t.text for t in several}) == 3
    with pytest.raises(UsageError, match="attention decoder"):
        decode.Decoder(codec, PredictOptions(hotwords=("a",)))(seen)


def test_the_loss_counts_the_text_and_its_first_end():
    logits = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    log_probs = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
    wanted = -(log_probs[0, 2] + log_probs[1, 3] + log_probs[2, 0]) / 3
    assert float(TextLoss()(np.array([[2, 3, 0, 0, 0]]), logits)) == pytest.approx(float(wanted), rel=1e-5)
