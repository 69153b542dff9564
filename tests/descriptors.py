"""Every cell, attention and head of elman.layers in one table, each with its definition in NumPy; the tests walk it.

A reference is a step written from the paper, `step(p, x, states) -> (output, states)` in float64, where p.name is the
weight `name` of the layer, or the option of that name.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from scipy.special import expit as sigmoid
from scipy.special import softmax

import elman.layers as el

FEATURES, UNITS, POSITIONS, MEMORY = 4, 6, 5, 3


class Parameters:
    """The weights of a layer as float64 arrays; its options and inner layers as they are."""

    def __init__(self, layer):
        self._layer = layer

    def __getattr__(self, name):
        value = getattr(self._layer, name)
        if isinstance(value, keras.Variable):
            return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")), "float64")
        return Parameters(value) if isinstance(value, keras.layers.Layer) else value


def softplus(x):
    return np.logaddexp(0.0, x)


def relu(x):
    return np.maximum(x, 0.0)


def gates(p, x, h, n):
    return np.split(x @ p.input_kernel + h @ p.recurrent_kernel + p.bias, n, -1)


def elman(p, x, states):
    h = np.tanh(x @ p.input_kernel + states[0] @ p.recurrent_kernel + p.bias)
    return h, [h]


def irnn(p, x, states):
    h = relu(x @ p.input_kernel + states[0] @ p.recurrent_kernel + p.bias)
    return h, [h]


def lstm(p, x, states):
    h, c = states
    i, f, g, o = gates(p, x, h, 4)
    peephole = p.peephole if p.peepholes else np.zeros((3, 1))
    c_new = sigmoid(f + peephole[1] * c) * c + sigmoid(i + peephole[0] * c) * np.tanh(g)
    h = sigmoid(o + peephole[2] * c_new) * np.tanh(c_new)
    h = h @ p.output_kernel if p.projection else h
    return h, [h, c_new]


def gru(p, x, states):
    (h,) = states
    (xz, xr, xh), u = np.split(x @ p.input_kernel + p.bias, 3, -1), np.split(p.recurrent_kernel, 3, -1)
    if p.reset_after:
        d = np.split(p.recurrent_bias, 3)
        z, r = sigmoid(xz + h @ u[0] + d[0]), sigmoid(xr + h @ u[1] + d[1])
        g = np.tanh(xh + r * (h @ u[2] + d[2]))
    else:
        z, r = sigmoid(xz + h @ u[0]), sigmoid(xr + h @ u[1])
        g = np.tanh(xh + (r * h) @ u[2])
    h = z * h + (1 - z) * g
    return h, [h]


def normal(x, gain, epsilon):
    return gain * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def lstm_norm(p, x, states):
    h, c = states
    product = normal(x @ p.input_kernel, p.input_gain, p.epsilon) + p.bias
    i, f, g, o = np.split(product + normal(h @ p.recurrent_kernel, p.recurrent_gain, p.epsilon), 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(normal(c, p.cell_gain, p.epsilon) + p.cell_offset)
    return h, [h, c]


def gru_norm(p, x, states):
    (h,) = states
    u, gain, n = p.recurrent_kernel, p.recurrent_gain, 2 * UNITS
    xz, xr, xg = np.split(normal(x @ p.input_kernel, p.input_gain, p.epsilon) + p.bias, 3, -1)
    if p.reset_after:
        hz, hr, hg = np.split(normal(h @ u, gain, p.epsilon) + p.recurrent_bias, 3, -1)
        inner = sigmoid(xr + hr) * hg
    else:
        hz, hr = np.split(normal(h @ u[:, :n], gain[:n], p.epsilon), 2, -1)
        inner = normal((sigmoid(xr + hr) * h) @ u[:, n:], gain[n:], p.epsilon)
    z = sigmoid(xz + hz)
    h = z * h + (1 - z) * np.tanh(xg + inner)
    return h, [h]


def stack(p, x, states):
    h, first = gru(Parameters(p.cells[0]), x, states[0])
    h, second = lstm(Parameters(p.cells[1]), h, states[1])
    return h, [first, second]


def independent(p, x, states):
    h = relu(x @ p.input_kernel + p.recurrent_kernel * states[0] + p.bias)
    return h, [h]


def min_gru(p, x, states):
    z, g = np.split(x @ p.input_kernel + p.bias, 2, -1)
    g = np.where(g >= 0, g + 0.5, sigmoid(g)) if p.positive else g
    h = (1 - sigmoid(z)) * states[0] + sigmoid(z) * g
    return h, [h]


def min_lstm(p, x, states):
    f, i, g = np.split(x @ p.input_kernel + p.bias, 3, -1)
    f, i = sigmoid(f), sigmoid(i)
    g = np.where(g >= 0, g + 0.5, sigmoid(g)) if p.positive else g
    h = f / (f + i) * states[0] + i / (f + i) * g
    return h, [h]


def lru(p, x, states):
    n = p.state_units
    eigenvalues = np.exp(-np.exp(p.log_decay) + 1j * np.exp(p.log_phase))
    b = p.input_kernel[:, :n] + 1j * p.input_kernel[:, n:]
    c = p.output_kernel[:n] - 1j * p.output_kernel[n:]
    s = eigenvalues * (states[0] + 1j * states[1]) + np.exp(p.log_gain) * (x @ b)
    return (s @ c).real + x @ p.skip_kernel, [s.real, s.imag]


def slstm(p, x, states):
    h, c, n, m = states
    d = UNITS // p.heads
    blocks = [block.reshape(d, 4, d) for block in np.split(p.recurrent_kernel, p.heads)]
    recurrent = np.concatenate(
        [np.einsum("bi,igj->gbj", part, u) for part, u in zip(np.split(h, p.heads, -1), blocks, strict=True)], -1
    )
    i, f, z, o = recurrent + np.stack(np.split(x @ p.input_kernel + p.bias, 4, -1))
    f = np.log(sigmoid(f)) if p.sigmoid_forget else f
    m_new = np.maximum(f + m, i)
    c = np.exp(f + m - m_new) * c + np.exp(i - m_new) * np.tanh(z)
    n = np.exp(f + m - m_new) * n + np.exp(i - m_new)
    h = sigmoid(o) * c / n
    return h, [h, c, n, m_new]


def mlstm(p, x, states):
    """As the paper's equations, head by head, without the stabiliser inside: C̃ = exp(m) C."""
    memory, n, m = states
    d, units = p.size, UNITS
    y = x @ p.input_kernel + p.bias
    out, new = [], [np.zeros_like(s) for s in states]
    for k in range(p.heads):
        q, key, v = (y[:, j * units + k * d : j * units + (k + 1) * d] for j in range(3))
        key = key / np.sqrt(d)
        i, f = y[:, 4 * units + k], y[:, 4 * units + p.heads + k]
        f = sigmoid(f)
        true_memory = np.exp(m[:, k])[:, None, None] * memory[:, k]
        true_memory = f[:, None, None] * true_memory + np.exp(i)[:, None, None] * key[:, :, None] * v[:, None, :]
        true_n = f[:, None] * np.exp(m[:, k])[:, None] * n[:, k] + np.exp(i)[:, None] * key
        scale = np.maximum(np.abs(np.sum(q * true_n, -1)), 1.0)
        out.append(np.einsum("bi,bij->bj", q, true_memory) / scale[:, None])
        new[2][:, k] = np.maximum(np.log(f) + m[:, k], i)
        new[0][:, k] = true_memory * np.exp(-new[2][:, k])[:, None, None]
        new[1][:, k] = true_n * np.exp(-new[2][:, k])[:, None]
    return sigmoid(y[:, 3 * units : 4 * units]) * np.concatenate(out, -1), new


def nas(p, x, states):
    h, c = states
    a, b = np.split(x @ p.input_kernel + p.bias, 8, -1), np.split(h @ p.recurrent_kernel, 8, -1)
    first = [sigmoid(a[0] + b[0]), relu(a[1] + b[1]), sigmoid(a[2] + b[2]), relu(a[3] * b[3])]
    first += [np.tanh(a[4] + b[4]), sigmoid(a[5] + b[5]), np.tanh(a[6] + b[6]), sigmoid(a[7] + b[7])]
    second = [np.tanh(first[0] * first[1]), np.tanh(first[2] + first[3])]
    second += [np.tanh(first[4] * first[5]), sigmoid(first[6] + first[7])]
    c = np.tanh(second[0] + c) * second[1]
    h = np.tanh(c * np.tanh(second[2] + second[3]))
    return h, [h, c]


def fast_grnn(p, x, states):
    w = p.input_kernel if p.input_rank is None else p.input_kernel @ p.input_factor
    u = p.recurrent_kernel if p.recurrent_rank is None else p.recurrent_kernel @ p.recurrent_factor
    product, (zeta, nu) = x @ w + states[0] @ u, sigmoid(p.scale)
    z, g = sigmoid(product + p.bias[:UNITS]), np.tanh(product + p.bias[UNITS:])
    h = (zeta * (1 - z) + nu) * g + z * states[0]
    return h, [h]


def echo_state(p, x, states):
    h = np.tanh(x @ p.input_kernel + states[0] @ p.recurrent_kernel + p.bias)
    h = (1 - p.leak) * states[0] + p.leak * h
    return h, [h]


def zoneout(p, x, states):
    _, (h, c) = lstm(p.cell, x, states)
    h, c = (r * old + (1 - r) * new for r, old, new in zip(p.rates, states, (h, c), strict=True))
    return h, [h, c]


def dropout(p, x, states):
    return gru(p.cell, x, states)


# Attentions: step(p, query, values, mask, state) -> (context, weights, state).


def masked_softmax(scores, mask):
    return softmax(np.where(mask > 0, scores, -np.inf), axis=-1)


def additive_energy(p, hidden):
    v = p.vector[:, 0]
    if p.normalize:
        hidden, v = hidden + p.bias, p.scale * v / np.linalg.norm(v)
    return np.tanh(hidden) @ v


def additive_hidden(p, q, values):
    return values @ p.memory_kernel + (q @ p.query_kernel)[:, None]


def weighted(weights, values):
    return np.einsum("bs,bsv->bv", weights, values)


def bahdanau(p, q, values, mask, state):
    weights = masked_softmax(additive_energy(p, additive_hidden(p, q, values)), mask)
    return weighted(weights, values), weights, []


def luong_scores(p, q, values):
    if p.score_name == "concat":
        scores = np.tanh(additive_hidden(p, q, values)) @ p.vector[:, 0]
    else:
        keys = values if p.score_name == "dot" else values @ p.memory_kernel
        scores = np.einsum("bq,bsq->bs", q, keys)
    return scores * p.scale if p.use_scale else scores


def luong(p, q, values, mask, state):
    weights = masked_softmax(luong_scores(p, q, values), mask)
    return weighted(weights, values), weights, []


def location(p, q, values, mask, state):
    before, width = state[0], p.filter_kernel.shape[0]
    left = (width - 1) // 2
    padded = np.pad(before, ((0, 0), (left, width - 1 - left)))
    windows = np.stack([padded[:, i : i + before.shape[1]] for i in range(width)], -1)
    hidden = additive_hidden(p, q, values) + windows @ p.filter_kernel[:, 0] @ p.location_kernel
    hidden = hidden if p.normalize else hidden + p.location_bias
    weights = masked_softmax(additive_energy(p, hidden), mask)
    return weighted(weights, values), weights, [before + weights if p.cumulative else weights]


def coverage(p, q, values, mask, state):
    hidden = additive_hidden(p, q, values) + state[0][..., None] * p.coverage_vector
    weights = masked_softmax(additive_energy(p, hidden + p.coverage_bias), mask)
    return weighted(weights, values), weights, [state[0] + weights]


def window(p, q, values, mask, state):
    a, b, d = np.split(np.exp(q @ p.query_kernel + p.bias), 3, -1)
    k = state[0] + d
    weights = np.stack([np.sum(a * np.exp(-b * (k - u) ** 2), -1) for u in range(values.shape[1])], -1) * mask
    return weighted(weights, values), weights, [k]


def local(p, q, values, mask, state):
    there, centre = np.cumsum(mask, -1) - 1, sigmoid(np.tanh(q @ p.centre_kernel) @ p.centre_vector)
    distance = there - (mask.sum(-1, keepdims=True) - 1) * centre
    weights = masked_softmax(luong_scores(p, q, values), mask * (np.abs(distance) <= p.reach))
    weights = weights * np.exp(-(distance**2) / (2 * (p.reach / 2) ** 2))
    return weighted(weights, values), weights, []


def monotonic(p, q, values, mask, state):
    """Raffel et al. 2017, equations 8 to 11, as sums of products over every way to get to position i."""
    if hasattr(p._layer, "units"):
        scores = additive_energy(p, additive_hidden(p, q, values)) + p.offset
    else:
        scores = luong_scores(p, q, values) + p.offset
    before, n = state[0], values.shape[1]
    stop = (sigmoid(scores) if p.mode == "parallel" else (scores > 0).astype(float)) * mask
    weights = np.zeros_like(before)
    for i in range(n):
        for j in range(i + 1):
            weights[:, i] += stop[:, i] * np.prod(1 - stop[:, j:i], axis=-1) * before[:, j]
    return weighted(weights, values), weights, [weights]


def attention_step(attend):
    """The reference of an AttentionCell around an Elman cell."""

    def step(p, x, states):
        inner, fed, _, *rest = states
        recalled, (values, keys, mask) = rest[:-3], rest[-3:]
        if p.attend_first:
            context, weights, recalled = attend(p.attention, fed, values, mask, recalled)
            context = context * sigmoid(fed @ p.gate_kernel + p.gate_bias) if p.gated else context
            h, inner = elman(p.cell, np.concatenate([x, context], -1), inner)
        else:
            h, inner = elman(p.cell, np.concatenate([x, fed] if p.input_feeding else [x], -1), inner)
            context, weights, recalled = attend(p.attention, h, values, mask, recalled)
        output = np.concatenate([h, context], -1)
        output = np.tanh(output @ p.attention_kernel) if p.attention_units else output
        fed = h if p.attend_first else output if p.attention_units else context
        return output, [inner, fed, weights, *recalled, values, keys, mask]

    return step


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """One entry: `make(dtype=…)` gives the cell, `step` is its reference, `memory` the features of its memory."""

    name: str
    make: Callable
    step: Callable
    memory: int | None = None

    def __str__(self):
        return self.name


def _attention(name, make, attend, memory=MEMORY, **options):
    def cell(dtype=None):
        return el.AttentionCell(
            el.ElmanCell(UNITS, dtype=dtype), make(dtype), memory_size=memory, dtype=dtype, **options
        )

    return Descriptor(name, cell, attention_step(attend), memory)


def _cell(name, make, step):
    return Descriptor(name, lambda dtype=None: make(dtype=dtype), step)


CELLS = [
    _cell("elman", lambda **k: el.ElmanCell(UNITS, **k), elman),
    _cell("irnn", lambda **k: el.ElmanCell(UNITS, "relu", recurrent_initializer="identity", **k), irnn),
    _cell("lstm", lambda **k: el.LSTMCell(UNITS, **k), lstm),
    _cell("lstm_peepholes", lambda **k: el.LSTMCell(UNITS, peepholes=True, projection=4, **k), lstm),
    _cell("gru", lambda **k: el.GRUCell(UNITS, **k), gru),
    _cell("gru_reset_before", lambda **k: el.GRUCell(UNITS, reset_after=False, **k), gru),
    _cell("lstm_norm", lambda **k: el.LayerNormLSTMCell(UNITS, **k), lstm_norm),
    _cell("gru_norm", lambda **k: el.LayerNormGRUCell(UNITS, **k), gru_norm),
    _cell("gru_norm_reset_before", lambda **k: el.LayerNormGRUCell(UNITS, reset_after=False, **k), gru_norm),
    _cell("stack", lambda **k: el.StackedCells([el.GRUCell(UNITS, **k), el.LSTMCell(4, **k)], **k), stack),
    _cell("independent", lambda **k: el.IndRNNCell(UNITS, **k), independent),
    _cell("min_gru", lambda **k: el.MinGRUCell(UNITS, **k), min_gru),
    _cell("min_gru_linear", lambda **k: el.MinGRUCell(UNITS, positive=False, **k), min_gru),
    _cell("min_lstm", lambda **k: el.MinLSTMCell(UNITS, **k), min_lstm),
    _cell("lru", lambda **k: el.LRUCell(UNITS, 5, seed=1, **k), lru),
    _cell("slstm", lambda **k: el.SLSTMCell(UNITS, **k), slstm),
    _cell("slstm_heads", lambda **k: el.SLSTMCell(UNITS, heads=2, sigmoid_forget=True, **k), slstm),
    _cell("mlstm", lambda **k: el.MLSTMCell(UNITS, heads=2, **k), mlstm),
    _cell("nas", lambda **k: el.NASCell(UNITS, **k), nas),
    _cell("fast_grnn", lambda **k: el.FastGRNNCell(UNITS, **k), fast_grnn),
    _cell("fast_grnn_low_rank", lambda **k: el.FastGRNNCell(UNITS, input_rank=2, recurrent_rank=3, **k), fast_grnn),
    _cell("echo_state", lambda **k: el.EchoStateCell(UNITS, connectivity=0.6, leak=0.3, seed=1, **k), echo_state),
    _cell("zoneout", lambda **k: el.ZoneoutCell(el.LSTMCell(UNITS, **k), [0.1, 0.4], **k), zoneout),
    _cell("dropout", lambda **k: el.DropoutCell(el.GRUCell(UNITS, **k), 0.2, 0.3, **k), dropout),
]

ATTENTIONS = [
    _attention("bahdanau", lambda d: el.BahdanauAttention(7, dtype=d), bahdanau),
    _attention("bahdanau_first", lambda d: el.BahdanauAttention(7, dtype=d), bahdanau, attend_first=True),
    _attention("bahdanau_gated", lambda d: el.BahdanauAttention(7, dtype=d), bahdanau, attend_first=True, gated=True),
    _attention("bahdanau_normalized", lambda d: el.BahdanauAttention(7, normalize=True, dtype=d), bahdanau),
    _attention("luong_dot", lambda d: el.LuongAttention("dot", dtype=d), luong, memory=UNITS, input_feeding=False),
    _attention("luong", lambda d: el.LuongAttention(dtype=d), luong, attention_units=8, activation="tanh"),
    _attention("luong_concat", lambda d: el.LuongAttention("concat", use_scale=True, dtype=d), luong),
    _attention("luong_local", lambda d: el.LuongLocalAttention(2, dtype=d), local),
    _attention("location", lambda d: el.LocationSensitiveAttention(7, 2, 4, dtype=d), location),
    _attention(
        "location_cumulative", lambda d: el.LocationSensitiveAttention(7, 2, 3, cumulative=True, dtype=d), location
    ),
    _attention("coverage", lambda d: el.CoverageAttention(7, dtype=d), coverage),
    _attention("window", lambda d: el.GaussianWindowAttention(2, step=0.7, dtype=d), window),
    _attention("monotonic", lambda d: el.BahdanauMonotonicAttention(7, offset=-0.5, dtype=d), monotonic),
    _attention("monotonic_hard", lambda d: el.BahdanauMonotonicAttention(7, "hard", offset=0.1, dtype=d), monotonic),
    _attention("luong_monotonic", lambda d: el.LuongMonotonicAttention(offset=-0.5, dtype=d), monotonic),
    _attention("luong_monotonic_hard", lambda d: el.LuongMonotonicAttention(mode="hard", offset=0, dtype=d), monotonic),
]

TABLE = [*CELLS, *ATTENTIONS]


def dropping(rate):
    """Every cell that can drop out, doing so, and cells of Keras."""
    inputs, both = {"dropout": rate}, {"dropout": rate, "recurrent_dropout": rate}
    with_kernel = (
        *(el.ElmanCell, el.LSTMCell, el.GRUCell, el.LayerNormLSTMCell, el.LayerNormGRUCell),
        *(el.IndRNNCell, el.SLSTMCell, el.NASCell, el.FastGRNNCell, el.EchoStateCell),
    )
    cells = [cell(UNITS, **both) for cell in with_kernel]
    cells += [cell(UNITS, **inputs) for cell in (el.MinGRUCell, el.MinLSTMCell, el.MLSTMCell)]
    cells += [el.DropoutCell(el.LRUCell(UNITS), rate, rate), el.ZoneoutCell(el.GRUCell(UNITS, **both), rate)]
    cells += [el.StackedCells([el.LSTMCell(UNITS, **both), el.ZoneoutCell(el.LRUCell(4)), el.MinGRUCell(5, **inputs)])]
    cells += [keras.layers.LSTMCell(UNITS, **both), keras.layers.GRUCell(UNITS, **both)]
    cells += [keras.layers.StackedRNNCells([keras.layers.LSTMCell(UNITS, **both), keras.layers.GRUCell(4, **both)])]
    return {f"{number}_{type(cell).__name__}": cell for number, cell in enumerate(cells)}


@dataclasses.dataclass(frozen=True)
class Head:
    """A head: `target(rng, lead)` draws targets for steps of the shape `lead`, `loss` trains it."""

    name: str
    make: Callable
    target: Callable
    loss: Callable

    def __str__(self):
        return self.name


def _normal(rng, lead):
    return rng.normal(size=(*lead, 2)).astype("float32")


def _nll(head):
    return el.NegativeLogLikelihood(head)


HEADS = [
    Head("gaussian", lambda **k: el.GaussianHead(2, **k), _normal, _nll),
    Head("student_t", lambda **k: el.StudentTHead(2, **k), _normal, _nll),
    Head(
        "negative_binomial",
        lambda **k: el.NegativeBinomialHead(2, **k),
        lambda rng, lead: rng.poisson(3.0, size=(*lead, 2)).astype("float32"),
        _nll,
    ),
    Head("categorical", lambda **k: el.CategoricalHead(4, **k), lambda rng, lead: rng.integers(0, 4, lead), _nll),
    Head(
        "mixture_density",
        lambda **k: el.MixtureDensityHead(3, **k),
        lambda rng, lead: np.concatenate([rng.normal(size=(*lead, 2)), rng.integers(0, 2, (*lead, 1))], -1).astype(
            "float32"
        ),
        _nll,
    ),
    Head(
        "quantile",
        lambda **k: el.QuantileHead(2, (0.1, 0.5, 0.9), **k),
        _normal,
        lambda head: el.QuantileLoss(head.levels),
    ),
    Head(
        "nade",
        lambda **k: el.NADEHead(12, 5, **k),
        lambda rng, lead: rng.integers(0, 2, (*lead, 12)).astype("float32"),
        lambda head: keras.losses.BinaryCrossentropy(from_logits=True),
    ),
]


def inputs(batch, time, memory=None, seed=0):
    """Random sequences (batch, time, FEATURES) and, where asked, a memory (batch, POSITIONS, memory)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, time, FEATURES)).astype("float32")
    return x, None if memory is None else rng.normal(size=(batch, POSITIONS, memory)).astype("float32")


def randomized(cell, seed=0):
    """The cell with every weight away from its start value: zeros hide errors."""
    rng = np.random.default_rng(seed)
    for weight in cell.weights:
        if weight.dtype not in ("uint32", "int32"):  # the state of a random generator
            weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return cell


def start(cell, batch, memory=None, mask=None):
    """The states before the first step."""
    if memory is None:
        return cell.get_initial_state(batch)
    return cell.get_initial_state(memory=keras.ops.convert_to_tensor(memory), mask=mask)


def build(descriptor, dtype=None, seed=0):
    """The cell with its weights, which the seed alone decides: a draw of its own each run would fail now and then."""
    keras.utils.set_random_seed(seed)
    cell = descriptor.make(dtype=dtype)
    cell.build((None, FEATURES))
    cell.built = True
    return randomized(cell, seed)


def build_head(head, dtype=None, seed=0):
    """The head with its weights, which the seed alone decides."""
    layer = head.make(dtype=dtype)
    x, _ = inputs(1, 2)
    layer(x, head.target(np.random.default_rng(0), (1, 2))) if head.name == "nade" else layer(x)
    rng = np.random.default_rng(seed)
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.weights])
    return layer
