"""The network over steps of music: what came before in, the distribution of the next step out."""

import keras
import numpy as np
from keras import ops, tree

from ...layers import GRUCell, LayerNormLSTMCell, LSTMCell, NADEHead, Recurrent, StackedCells, nade_logits
from .past import PastAttention

CHORD = 5  # hidden states of NADE that are computed at once: four keys and those between them
SILENT = -3.0  # the logit that a key starts from in training: most keys are silent in most steps
COUNT_SCALE = 8.0  # Adam moves a weight by the learning rate at most: a full chord is to shut out all others soon
MOST_KEYS = 8  # keys below another that are told apart by their number
CELLS = {"lstm": LSTMCell, "gru": GRUCell, "layernorm_lstm": LayerNormLSTMCell}


@keras.saving.register_keras_serializable(package="elman")
class VoicesHead(keras.layers.Layer):
    """Symbols of several voices in one step, each given those of the voices before it.

        a_v = A f + a + Σ_{u<v} E_u[y_u],  p(y_v | f, y₁ … y_v₋₁) = softmax(V_v tanh(a_v) + b_v)

    with features f, symbols y, embeddings E. With `joint=False` the sum is left out: every voice by itself.

    Args:
        voices, symbols: how many voices, and how many symbols each chooses from.
        hidden: size of a.

    Shapes: features (..., features), one-hot symbols (..., voices, symbols); logits (..., voices, symbols).
    """

    def __init__(self, voices, symbols, hidden, joint=True, **kwargs):
        super().__init__(**kwargs)
        self.options = {"voices": voices, "symbols": symbols, "hidden": hidden, "joint": joint}
        self.voices, self.symbols, self.hidden, self.joint = voices, symbols, hidden, joint

    def build(self, features_shape, targets_shape=None):
        v, s, h = self.voices, self.symbols, self.hidden
        self.input_kernel = self.add_weight((features_shape[-1], h), "glorot_uniform", name="input_kernel")
        self.input_bias = self.add_weight((h,), "zeros", name="input_bias")
        self.output_kernel = self.add_weight((v, h, s), "glorot_uniform", name="output_kernel")
        self.bias = self.add_weight((v, s), "zeros", name="bias")
        if self.joint:
            self.kernel = self.add_weight((v, s, h), "glorot_uniform", name="kernel")
        self.built = True

    def context(self, features):
        """A f + a, (..., hidden)."""
        return ops.matmul(features, self.input_kernel) + self.input_bias

    def logits(self, context, targets):
        """Logits of every voice given the one-hot symbols of those before it."""
        hidden = ops.expand_dims(context, -2)
        if self.joint:
            told = [ops.matmul(targets[..., v, :], self.kernel[v]) for v in range(self.voices)]
            before = [ops.zeros_like(told[0])]
            for v in range(self.voices - 1):
                before.append(before[-1] + told[v])
            hidden = hidden + ops.stack(before, axis=-2)
        hidden = ops.tanh(hidden)
        parts = [ops.matmul(hidden[..., v if self.joint else 0, :], self.output_kernel[v]) for v in range(self.voices)]
        return ops.stack(parts, axis=-2) + self.bias

    def call(self, features, targets):
        return self.logits(self.context(features), targets)

    def compute_output_spec(self, features, targets):
        return keras.KerasTensor(targets.shape, dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="elman")
class KeyContext(keras.layers.Layer):
    """What the keys around each key did lately, the same way for every key: a transposed past gives transposed logits.

        m_t = r m_{t−1} + (1 − r) x_t                  for each rate r, the memory of each key
        f_t = [x_t, m_t for each r, the slowest m_t summed over octaves, c_t of each head]
        logits_t = V relu(W₂ relu(W₁ * f_t + U h_t + b₁ + p) + b₂)

    with the frame x_t, the hidden state h_t of the network, the frames c_t of its `PastAttention` where it has one, and
    * a convolution over the keys, two octaves wide. p is zero, or with `placed` trained for every key: where all pieces
    have one tonic, it tells the degrees of its scale apart, and nothing moves with a transposition any more.

    Args:
        channels: of the convolution.
        rates: r of each memory.
        placed: whether there is p.

    Shapes: memories (..., 88, rates + 2 + heads), features (..., units); logits (..., 88).
    """

    WIDTH = 25

    def __init__(self, channels, rates=(0.5, 0.9, 0.98), placed=False, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.rates, self.placed = channels, tuple(rates), placed
        self.convolution = keras.layers.Conv1D(channels, self.WIDTH, padding="same", use_bias=False)
        self.told = keras.layers.Dense(channels)
        self.mixed = keras.layers.Dense(channels, activation="relu")
        self.logits = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def build(self, memories_shape, features_shape):
        self.convolution.build((None, *memories_shape[-2:]))
        self.told.build((None, features_shape[-1]))
        self.mixed.build((None, self.channels))
        self.logits.build((None, self.channels))
        if self.placed:
            self.place = self.add_weight((memories_shape[-2], self.channels), "zeros", name="place")
        self.built = True

    def call(self, memories, features):
        keys, width = memories.shape[-2:]
        found = self.convolution(ops.reshape(memories, (-1, keys, width)))
        found = ops.reshape(found, (*ops.shape(memories)[:-1], self.channels))
        found = found + self.place if self.placed else found
        hidden = ops.relu(found + ops.expand_dims(self.told(features), -2))
        return self.logits(self.mixed(hidden))[..., 0]

    def compute_output_spec(self, memories, features):
        return keras.KerasTensor(memories.shape[:-1], dtype="float32")

    def remember(self, frame, memory):
        """The memory (batch, 88, rates) after a frame (batch, 88)."""
        rates = ops.convert_to_tensor(self.rates, dtype=memory.dtype)
        return rates * memory + (1.0 - rates) * ops.expand_dims(frame, -1)

    def remember_all(self, frames, memory=None):
        """The memories (batch, time, 88, rates) after each of the frames (batch, time, 88), from the memory before them
        (batch, 88, rates), or from nothing."""
        time = ops.arange(ops.shape(frames)[1], dtype="float32")
        ago = ops.expand_dims(time, 1) - ops.expand_dims(time, 0)
        past = ops.cast(ago >= 0, "float32")
        weights = [past * ops.exp(float(np.log(r)) * ops.maximum(ago, 0.0)) * (1.0 - r) for r in self.rates]
        memories = ops.stack([ops.matmul(w, frames) for w in weights], axis=-1)
        if memory is None:
            return memories
        left = ops.convert_to_tensor(self.rates, dtype="float32") ** (time[:, None, None] + 1.0)
        return memories + left * ops.expand_dims(memory, 1)

    def gather(self, frame, memory, attended=None):
        """f_t of a frame (..., 88), the memory after it and what was attended to, (..., heads · 88) or None."""
        slow = memory[..., -1]
        keys = slow.shape[-1]
        summed = ops.matmul(slow, _same_class(keys))
        parts = [ops.expand_dims(frame, -1), memory, ops.expand_dims(summed, -1)]
        if attended is not None:
            heads = ops.reshape(attended, (*ops.shape(attended)[:-1], attended.shape[-1] // keys, keys))
            parts.append(ops.swapaxes(heads, -1, -2))
        return ops.concatenate(parts, axis=-1)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "rates": list(self.rates), "placed": self.placed}


def _following(states: dict) -> dict:
    """The states as outputs are named."""
    return {f"next_{name}": state for name, state in states.items()}


def _same_class(keys: int) -> np.ndarray:
    """(keys, keys) ones where two keys are octaves apart."""
    return (np.subtract.outer(np.arange(keys), np.arange(keys)) % 12 == 0).astype(np.float32)


@keras.saving.register_keras_serializable(package="elman")
class MusicNetwork(keras.layers.Layer):
    """The distribution of every step of a sequence given those before it; `step` gives the next one from a state.

        x_t = [what sounds in step t − 1, place of t in its bar, conditions of t]
        h_t = the cells' output after x_t
        c_t = what was heard after states like h_t (`PastAttention`; where there is one)
        y_t ~ head(d_t), d_t = dropout(h_t); where there is c_t, head([d_t, c_t, relu(M [d_t, c_t] + m)])

    Args:
        kind: `frames`, `voices` or `performance` (see `codec.Codec`).
        symbols, voices: of the codec. bar: places in a bar; 0 leaves them out.
        cell, units, layers: of the stack of cells; input_dropout, recurrent_dropout: of every cell.
        head, head_units: `joint` (NADE over keys, chained voices) or `independent`.
        embedding: numbers for a symbol. conditions: width of the conditions.
        context, placed: channels of the `KeyContext` beside the cells (frames), 0 for none; whether it knows the keys.
        attention, attention_heads: steps and heads of the `PastAttention`; 0 steps for none.
        counts: whether NADE's logits also have a term of the key and of how many keys sound below it; chords of four
            parts are learnt sooner so.

    Shapes: a dict of `sequence` (batch, steps + 1, …), `place` (batch, steps), `condition` (batch, steps, conditions)
    where there are any; to logits (batch, steps, 88), (batch, steps, voices, symbols) or (batch, steps, symbols), those
    of `sequence[:, 1:]`.
    """

    def __init__(
        self, kind, symbols, voices=4, bar=0, cell="lstm", units=256, layers=1, head="joint", head_units=128,
        embedding=64, conditions=0, input_dropout=0.0, recurrent_dropout=0.0, dropout=0.0, context=0,
        counts=False, attention=0, attention_heads=2, placed=False,
        **kwargs,
    ):  # fmt: skip
        kwargs.setdefault("dtype", "float32")  # under mixed precision the cells and dense layers alone take 16 bits
        super().__init__(**kwargs)
        self.options = {
            "kind": kind, "symbols": symbols, "voices": voices, "bar": bar, "cell": cell, "units": units,
            "layers": layers, "head": head, "head_units": head_units, "embedding": embedding, "conditions": conditions,
            "input_dropout": input_dropout, "recurrent_dropout": recurrent_dropout, "dropout": dropout,
            "context": context, "counts": counts, "attention": attention, "attention_heads": attention_heads,
            "placed": placed,
        }  # fmt: skip
        self.kind, self.symbols, self.voices, self.bar, self.conditions = kind, symbols, voices, bar, conditions
        drops = {"dropout": input_dropout, "recurrent_dropout": recurrent_dropout}
        self.cell = StackedCells([CELLS[cell](units, **drops) for _ in range(layers)])
        self.over_time = Recurrent(self.cell, return_sequences=True, return_state=True)
        self.dropout = keras.layers.Dropout(dropout, dtype="float32")
        self.context = KeyContext(context, placed=placed) if context and kind == "frames" else None
        self.past = PastAttention(attention, attention_heads, dtype="float32") if attention else None
        self.mixed = keras.layers.Dense(head_units, activation="relu", name="mixed") if attention else None
        self.joint = head == "joint" and kind != "performance"
        self.counts = counts and self.joint and kind == "frames"
        if kind == "frames":
            self.head = NADEHead(symbols, head_units) if self.joint else keras.layers.Dense(symbols)
        elif kind == "voices":
            self.head = VoicesHead(voices, symbols, head_units, self.joint)
        else:
            self.head = keras.layers.Dense(symbols)

    def build(self, shapes):
        units, features = self.options["units"], self.heard_size
        if self.kind != "frames":
            rows = self.symbols * (self.voices if self.kind == "voices" else 1)
            self.table = self.add_weight((rows, self.options["embedding"]), "random_normal", name="symbols")
        self.over_time.build((None, None, features + self.bar + self.conditions))
        heads = 0
        if self.past:
            self.past.build((None, None, units))
            heads = self.past.heads
            units += heads * features
            self.mixed.build((None, None, units))
            units += self.mixed.units
        self.head.build(*[(None, None, units), (None, None, self.symbols)][: 1 + self.takes_targets()])
        if self.kind == "frames":
            rest = ops.zeros_like(self.head.bias[self.symbols :])
            self.head.bias.assign(ops.concatenate([ops.full((self.symbols,), SILENT), rest]))
        if self.counts:
            self.count_bias = self.add_weight((MOST_KEYS + 1, self.symbols), "zeros", name="count_bias")
        if self.context:
            self.context.build((None, self.symbols, len(self.context.rates) + 2 + heads), (None, units))
        self.built = True

    def takes_targets(self) -> bool:
        return self.joint or self.kind == "voices"

    @property
    def heard_size(self) -> int:
        """Numbers that stand for a step."""
        per_symbol = self.options["embedding"]
        return {"frames": self.symbols, "voices": self.voices * per_symbol, "performance": per_symbol}[self.kind]

    def heard(self, previous):
        """What stands for a step that sounded: (..., heard_size)."""
        if self.kind == "frames":
            return ops.cast(previous, self.compute_dtype)
        if self.kind == "performance":
            return ops.take(self.table, previous, axis=0)
        rows = previous + ops.arange(self.voices, dtype="int32") * self.symbols
        return ops.reshape(ops.take(self.table, rows, axis=0), (*ops.shape(previous)[:-1], self.heard_size))

    def features(self, heard, place, condition):
        """What the cells see of a step: (..., features)."""
        parts = [heard]
        if self.bar:
            parts.append(ops.one_hot(place, self.bar, dtype=self.compute_dtype))
        if self.conditions:
            parts.append(condition)
        return ops.concatenate(parts, axis=-1)

    def call(self, inputs, training=False):
        return self.window(inputs, None, training)[0]

    def beginning(self, batch: int) -> dict:
        """The states at the start of so many pieces."""
        cells = {"cells": self.cell.get_initial_state(batch)}
        if self.context is None:
            return cells
        return {**cells, "memory": ops.zeros((batch, self.symbols, len(self.context.rates)))}

    def window(self, inputs, states=None, training=False):
        """The logits of a window, and the states after it, from those after the window before (None: a beginning).

        Attention sees its own window alone.
        """
        sequence, before = inputs["sequence"], states or {"cells": None}
        heard = self.heard(sequence[:, :-1])
        x = self.features(heard, inputs.get("place"), inputs.get("condition"))
        hidden, *cells = self.over_time(x, initial_state=before["cells"], training=training)
        hidden = ops.cast(hidden, self.compute_dtype)
        attended, more, after = None, 0.0, {"cells": cells}
        if self.past:
            attended = self.past(hidden, heard)
        hidden = self.seen(self.dropout(hidden, training=training), attended)
        if self.context:
            memories = self.context.remember_all(heard, before.get("memory"))
            more = self.lately(heard, memories, hidden, attended)
            after["memory"] = memories[:, -1]
        return self.scored(hidden, more, sequence[:, 1:]), after

    def seen(self, hidden, attended):
        """What the head sees of the state, and of what was heard after others like it (or None)."""
        if attended is None:
            return hidden
        both = ops.concatenate([hidden, attended], axis=-1)
        return ops.concatenate([both, ops.cast(self.mixed(both), self.compute_dtype)], axis=-1)

    def scored(self, hidden, more, steps):
        """Logits of the steps, each key or voice given those before it where the head is joint."""
        if self.kind == "frames" and self.joint:
            visible, inner = self.head.biases(hidden)
            kernels = self.head.kernel, self.head.output_kernel
            truth = self.one_hot(steps)
            logits = nade_logits(truth, visible + more, inner, *kernels, segments=CHORD)
            return logits + self.counted(ops.cumsum(truth, axis=-1) - truth) if self.counts else logits
        if self.takes_targets():
            return self.head(hidden, self.one_hot(steps))
        return ops.cast(self.head(hidden), self.compute_dtype) + more

    def counted(self, below):
        """The term of every key (..., 88) given how many keys sound below it."""
        levels = ops.arange(MOST_KEYS + 1, dtype=below.dtype)
        number = ops.expand_dims(ops.minimum(below, MOST_KEYS), -1)
        chosen = ops.cast(ops.equal(number, levels), self.compute_dtype)
        return COUNT_SCALE * ops.sum(chosen * ops.transpose(self.count_bias), axis=-1)

    def lately(self, frames, memory, hidden, attended):
        """Logits of the key context, given its memory after the frames."""
        return ops.cast(self.context(self.context.gather(frames, memory, attended), hidden), self.compute_dtype)

    def one_hot(self, targets):
        if self.kind == "frames":
            return ops.cast(targets, "float32")
        return ops.one_hot(targets, self.symbols, dtype="float32")

    def step(self, inputs):
        """What came before and the state in; what the next step is drawn from, and the next state, out."""
        states = tree.pack_sequence_as(self.cell.state_size, [inputs[name] for name in self.state_names()])
        heard = self.heard(inputs["previous"])
        hidden, states = self.cell.step(self.features(heard, inputs.get("place"), inputs.get("condition")), states)
        named, attended, more = self.named(states), None, 0.0
        if self.past:
            attended, *past = self.past.step(hidden, heard, inputs["past_keys"], inputs["past_values"])
            named |= dict(zip(("past_keys", "past_values"), past, strict=True))
        hidden = self.seen(hidden, attended)
        if self.context:
            named["memory"] = self.context.remember(heard, inputs["memory"])
            more = self.lately(heard, named["memory"], hidden, attended)
        return {**self.outputs(hidden, more), **_following(named)}

    def prime(self, inputs):
        """As `step`, over a whole primer (batch, steps, …); the outputs are those after its last step."""
        heard = self.heard(inputs["previous"])
        x = self.features(heard, inputs.get("place"), inputs.get("condition"))
        driver = Recurrent(self.cell, return_sequences=bool(self.past), return_state=True)
        driver.built = True
        hidden, *states = driver(x)
        named, attended, more = self.named(states), None, 0.0
        if self.past:
            attended = self.past(hidden, heard)[:, -1]
            named |= dict(zip(("past_keys", "past_values"), self.past.last_states(hidden, heard), strict=True))
            hidden = hidden[:, -1]
        hidden = self.seen(hidden, attended)
        if self.context:
            named["memory"] = self.context.remember_all(heard)[:, -1]
            more = self.lately(heard[:, -1], named["memory"], hidden, attended)
        return {**self.outputs(hidden, more), **_following(named)}

    def named(self, states) -> dict:
        """The states of the cells by name."""
        return dict(zip(self.state_names(), tree.flatten(states), strict=True))

    def outputs(self, hidden, more=0.0):
        """What a step is drawn from: logits, or what `conditional` takes."""
        if self.kind == "frames" and self.joint:
            visible, inner = self.head.biases(hidden)
            return {"visible_bias": visible + more, "hidden_bias": inner}
        if self.kind == "voices":
            context = self.head.context(hidden)
            if self.joint:
                return {"context": context}
            return {"logits": self.head.logits(context, ops.zeros((1, self.voices, self.symbols)))}
        return {"logits": self.head(hidden) + more}

    def conditional(self, inputs):
        """Logits of the keys after the last one drawn (frames), or of the voices after the last drawn (voices)."""
        if self.kind == "frames":
            hidden = ops.sigmoid(inputs["hidden_bias"] + ops.matmul(inputs["drawn"], self.head.kernel))
            logits = inputs["visible_bias"] + ops.matmul(hidden, ops.transpose(self.head.output_kernel))
            below = ops.sum(inputs["drawn"], axis=-1, keepdims=True) + ops.zeros_like(inputs["drawn"])
            return {"logits": logits + self.counted(below) if self.counts else logits}
        return {"logits": self.head.logits(inputs["context"], inputs["drawn"])}

    def state_names(self) -> list[str]:
        return [f"state_{i}" for i in range(len(tree.flatten(self.cell.state_size)))]

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape, without the batch, of every state of `step`."""
        shapes = {n: (size,) for n, size in zip(self.state_names(), tree.flatten(self.cell.state_size), strict=True)}
        if self.context:
            shapes["memory"] = (self.symbols, len(self.context.rates))
        return {**shapes, **(self.past.state_shapes(self.heard_size) if self.past else {})}

    def compute_output_spec(self, inputs, training=False):
        batch, steps = inputs["sequence"].shape[:2]
        steps = steps and steps - 1
        voices = (self.voices,) if self.kind == "voices" else ()
        return keras.KerasTensor((batch, steps, *voices, self.symbols), dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}
