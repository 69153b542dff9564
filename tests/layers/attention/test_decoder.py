import keras
import numpy as np
import pytest
import tensorflow as tf

import elman.layers as el
from elman.layers.attention.monotonic import expected_alignment, normal_noise

rng = np.random.default_rng(0)


def test_decoder_takes_the_masks_of_its_inputs_and_returns_alignments():
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    memory = el.Recurrent(el.GRUCell(5), return_sequences=True)(keras.layers.Embedding(9, 4, mask_zero=True)(source))
    decoder = el.AttentionDecoder(el.LSTMCell(6), el.BahdanauAttention(7), return_alignments=True)
    outputs, alignments = decoder(keras.layers.Embedding(9, 4, mask_zero=True)(target), memory)
    model = keras.Model([source, target], [outputs, alignments])
    sources = np.array([[3, 1, 4, 1], [5, 2, 0, 0]])
    targets = np.array([[1, 2, 3], [4, 5, 0]])
    outputs, alignments = (np.asarray(t) for t in model([sources, targets]))
    assert alignments.shape == (2, 3, 4)
    assert np.all(alignments[1, :, 2:] == 0)
    np.testing.assert_allclose(alignments.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(outputs[1, 2], outputs[1, 1])
    longer = np.pad(sources, ((0, 0), (0, 2)))
    np.testing.assert_allclose(np.asarray(model([longer, targets])[0]), outputs, atol=1e-6)


def test_the_first_query_is_the_state_that_the_decoder_starts_from():
    cell = el.AttentionCell(el.LSTMCell(4), el.LuongAttention(), attend_first=True)
    memory, h, c = (rng.normal(size=s).astype("float32") for s in ((2, 5, 3), (2, 4), (2, 4)))
    states = cell.get_initial_state(memory=memory, cell_state=[h, c])
    np.testing.assert_array_equal(np.asarray(states[1]), h)


def test_monotonic_alignment_with_an_unknown_number_of_positions():
    scores, previous = rng.normal(size=(2, 11)).astype("float32"), np.eye(11, dtype="float32")[[0, 3]]
    spec = tf.TensorSpec((None, None), tf.float32)
    unknown = tf.function(expected_alignment, input_signature=[spec] * 3)(scores, np.ones_like(scores), previous)
    known = expected_alignment(*(tf.constant(a) for a in (scores, np.ones_like(scores), previous)))
    np.testing.assert_allclose(unknown, known, atol=1e-7)
    assert np.all(np.asarray(known)[1, :3] == 0)  # it never goes back
    hard = el.BahdanauMonotonicAttention(3, "hard")
    assert hard.mode == "hard"


def test_local_attention_reaches_so_far_and_counts_what_is_there():
    attention, query = el.LuongLocalAttention(reach=2), rng.normal(size=(1, 4)).astype("float32")
    memory = rng.normal(size=(1, 12, 3)).astype("float32")
    weights = np.asarray(attention(query, memory)[1])[0]
    attention.centre_vector.assign(np.full((4, 1), 9.0) * np.sign(np.tanh(query @ attention.centre_kernel)).T)
    late = np.asarray(attention(query, memory)[1])[0]
    assert np.flatnonzero(weights).size in (3, 4, 5)
    assert np.all(late[:9] == 0)  # the centre moved to the end
    assert np.all(late[9:] > 0)
    gaps = np.insert(memory, [0, 7], np.nan, axis=1)
    spread = np.asarray(attention(query, gaps, ~np.isnan(gaps[..., 0]))[1])[0]
    np.testing.assert_allclose(np.delete(spread, [0, 8]), late, atol=1e-6)


def test_training_noise_is_standard_normal_and_acts_in_training_only():
    uniform = rng.random((4000, 2)).astype("float32")
    noise = np.asarray(normal_noise(tf.constant(uniform), tf.zeros((4000, 6))))
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.08)
    np.testing.assert_allclose(np.corrcoef(noise.T) - np.eye(6), 0, atol=0.08)
    decoder = el.AttentionDecoder(el.ElmanCell(4), el.LuongMonotonicAttention(noise=2.0, offset=0.0))
    x, memory = rng.normal(size=(2, 3, 3)).astype("float32"), rng.normal(size=(2, 5, 3)).astype("float32")
    calm = [np.asarray(decoder(x, memory)) for _ in range(2)]
    noisy = [np.asarray(decoder(x, memory, training=True)) for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-4


def test_a_keras_cell_in_a_decoder_drops_out_the_same_at_every_step():
    cell = keras.layers.SimpleRNNCell(40, dropout=0.5, seed=1, activation="linear")
    decoder = el.AttentionDecoder(cell, el.LuongAttention("general"), input_feeding=False)
    x, memory = np.ones((2, 4, 40), "float32"), np.ones((2, 3, 5), "float32")
    decoder(x, memory)
    cell.set_weights([np.eye(40), np.zeros((40, 40)), np.zeros(40)])
    run = tf.function(lambda: decoder(x, memory, training=True)[..., :40])
    first, second = np.asarray(run()), np.asarray(run())
    np.testing.assert_array_equal(first[:, 1:], first[:, :-1])
    assert 0.2 < np.mean(first[:, 0] == 0) < 0.8
    assert np.any(first != second)


def test_coverage_loss_counts_what_is_read_again():
    alignments = np.array([[[1.0, 0, 0], [0.4, 0.6, 0], [0, 0.5, 0.5]]], "float32")
    np.testing.assert_allclose(np.asarray(el.coverage_loss(tf.constant(alignments))), [[0, 0.4, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: el.LuongAttention("cosine"),
        lambda: el.BahdanauAttention(0),
        lambda: el.GaussianWindowAttention(step=0),
        lambda: el.BahdanauMonotonicAttention(3, mode="soft"),
        lambda: el.LuongMonotonicAttention(noise=-1),
        lambda: el.LuongAttention("dot").build((None, 4), (None, None, 3)),
        lambda: el.LuongLocalAttention(reach=0),
        lambda: el.LuongAttention("dot").prepare(np.zeros((2, 3))),
        lambda: el.LuongAttention("dot").prepare(np.zeros((2, 3, 4)), np.ones((2, 4))),
        lambda: el.BahdanauAttention(3)(np.zeros((2, 5, 4)), np.zeros((2, 3, 4))),
        lambda: el.AttentionDecoder(el.ElmanCell(3), el.LuongAttention(), return_alignments=True)(
            np.zeros((2, 3, 4)), np.zeros((2, 5, 4)), mask=np.ones((2, 9), bool)
        ),
        lambda: el.AttentionDecoder(el.ElmanCell(3), el.LuongAttention(), return_alignments=True)(
            np.zeros((2, 3, 4)), np.zeros((2, 5, 4)), initial_state=[np.zeros((2, 4))]
        ),
        lambda: el.AttentionCell(el.ElmanCell(3), "bahdanau"),
        lambda: el.AttentionCell("lstm", el.LuongAttention()),
        lambda: el.AttentionCell(el.ElmanCell(3), el.LuongAttention()).build((None, 3)),
        lambda: el.Recurrent(el.AttentionCell(el.ElmanCell(3), el.LuongAttention(), memory_size=3))(
            np.zeros((1, 2, 3))
        ),
    ],
)
def test_bad_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=r"(?s)expected .* received"):
        wrong()


def test_a_gate_needs_a_query_before_the_step():
    with pytest.raises(ValueError, match="expected attend_first=True with gated=True"):
        el.AttentionCell(el.LSTMCell(4), el.LuongAttention(), gated=True)
