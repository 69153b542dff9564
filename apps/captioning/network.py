"""The captioning network: a grid of features in, the distribution of every word out, looking where it needs to."""

import math

import keras
from keras import ops

from ...layers import AttentionCell, BahdanauAttention, GRUCell, LayerNormLSTMCell, LSTMCell, scheduled_sampling
from ...layers.decoding import sampling_rate
from .codec import START, UNKNOWN
from .encoders import make_encoder

CELLS = {"lstm": LSTMCell, "gru": GRUCell, "layernorm_lstm": LayerNormLSTMCell}


@keras.saving.register_keras_serializable(package="elman")
class Captioner(keras.layers.Layer):
    """Sentences about pictures: an encoder's grid of features, and a recurrent decoder that looks at it.

        m_i = relu(W [N(f_i); x_i; y_i] + b)                   the memory: features f of place i, and where i lies
        s_0 = tanh(S B(mean m) + T q)                          every state of the cell
        c_t = σ(g · h_{t−1}) attention(h_{t−1}, m)             gated soft attention
        h_t = cell([e(w_{t−1}); c_t], s_{t−1})
        p(w_t) = softmax(V dropout(tanh(L h_t) + Z c_t + e(w_{t−1})) + b)

    with N a layer normalisation and B a batch normalisation. Over the small CNN, which normalises by itself, there is
    no N and no relu: forms and colours are added, never mixed, up to the word. With `look` "after" the cell reads words
    alone, and looks when it has: h_t = cell(e(w_{t−1}), s_{t−1}), c_t = attention(h_t, m). A caption's words then
    depend on the picture through s_0 and, in the logits, by addition of what is seen.
    With `concepts` q is the chance of each word to be said, by what the places show (`hear`), else there is none: two
    colours or one then make the difference between two things and two of a kind, which no mean of places tells well.
    Without attention (NIC) there is no c: the picture is seen in s_0 alone.

    Args:
        encoder, image_size: see `encoders.make_encoder`. pool: as of `Config`.
        vocabulary: number of tokens. attention, look, attention_units, memory_units, cell, units, embedding, dropout,
        word_dropout, word_swap, coverage, concepts, scheduled_sampling, sampling_steps: as of `Config`.

    Shapes: a dict of `image` (batch, side, side, 3) with values 0 to 255, or `features` (batch, places, features), and
        `captions` (batch, captions, longest + 1) of tokens; to logits (batch, captions, longest, vocabulary).
    Reference: Xu et al. 2015, Show, attend and tell (arXiv:1502.03044); Vinyals et al. 2015 (arXiv:1411.4555).
    """

    def __init__(
        self, encoder, image_size, vocabulary, pool=1, attention=True, look="before", attention_units=64,
        memory_units=96, cell="lstm", units=128, embedding=64, dropout=0.0, word_dropout=0.0, word_swap=0.0,
        coverage=0.0, concepts=0.0, scheduled_sampling=0.0, sampling_steps=1000, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.options = {
            "encoder": encoder, "image_size": image_size, "vocabulary": vocabulary, "pool": pool,
            "attention": attention, "look": look, "attention_units": attention_units,
            "memory_units": memory_units, "cell": cell, "units": units, "embedding": embedding, "dropout": dropout,
            "word_dropout": word_dropout, "word_swap": word_swap, "coverage": coverage, "concepts": concepts,
            "scheduled_sampling": scheduled_sampling, "sampling_steps": sampling_steps,
        }  # fmt: skip
        self.encoder = make_encoder(encoder, image_size)
        side, features = self.encoder.output_shape[1] // pool, self.encoder.output_shape[3]
        self.grid, self.pool, self.vocabulary, self.attends = (side, side), pool, vocabulary, attention
        self.features = (side * side, features)
        self.word_dropout, self.word_swap, self.coverage = word_dropout, word_swap, coverage
        self.concepts = concepts if attention else 0.0
        self.drop_rate, self.sampling_steps = scheduled_sampling, sampling_steps
        self.norm = keras.layers.LayerNormalization(name="norm") if encoder != "small" else None
        self.memory = keras.layers.Dense(memory_units, None if encoder == "small" else "relu", name="memory")
        self.whole = keras.layers.BatchNormalization(momentum=0.97, name="whole")
        inner = CELLS[cell](units)
        self.state_count = len(inner.state_size)
        self.first = keras.layers.Dense(units * self.state_count, name="first")
        if self.concepts:
            self.told = keras.layers.Dense(units * self.state_count, use_bias=False, name="told")
        if attention:
            looking = BahdanauAttention(attention_units)
            self.before = look == "before"
            how = {"attend_first": self.before, "gated": self.before, "input_feeding": self.before}
            self.cell = AttentionCell(inner, looking, memory_size=memory_units, **how)
            self.shown = keras.layers.Dense(embedding, use_bias=False, name="shown")
        else:
            self.cell = inner
        self.words = keras.layers.Embedding(vocabulary, embedding, name="words")
        self.mixed = keras.layers.Dense(embedding, activation="tanh", name="mixed")
        self.logits = keras.layers.Dense(vocabulary, name="logits")
        self.drop = keras.layers.Dropout(dropout)
        self.seeds = keras.random.SeedGenerator()

    def build(self, shapes):
        o = self.options
        if self.norm is not None:
            self.norm.build((None, *self.features))
        self.memory.build((None, None, self.features[1] + 2))
        self.whole.build((None, o["memory_units"]))
        self.first.build((None, o["memory_units"]))
        self.words.build(None)
        if self.attends:
            self.cell.get_initial_state(memory=keras.KerasTensor((1, 1, o["memory_units"])))
        self.cell.build((None, o["embedding"]))
        self.cell.built = True
        self.mixed.build((None, o["units"]))
        if self.attends:
            self.shown.build((None, o["memory_units"]))
        self.logits.build((None, o["embedding"]))
        self.steps = self.add_weight((), "zeros", "float32", trainable=False, name="steps")
        if self.concepts:
            self.told.build((None, self.vocabulary))
            self.rarity = self.add_weight((self.vocabulary,), "zeros", name="rarity")
        self.built = True

    def see(self, image, training=False):
        """The features (batch, places, features) of pictures (batch, side, side, 3) with values 0 to 255."""
        grid = self.encoder(image, training=training and self.encoder.trainable)
        if self.pool > 1:
            grid = ops.average_pool(grid, self.pool, padding="valid")
        return ops.reshape(grid, (-1, *self.features))

    def remember(self, features, training=False):
        """The memory (batch, places, memory units) of features, and the first states of the cell."""
        places = ops.broadcast_to(self._places(), (*ops.shape(features)[:2], 2))
        features = features if self.norm is None else self.norm(features)
        features = self.drop(features, training=training)
        memory = self.memory(ops.concatenate([features, ops.cast(places, features.dtype)], axis=-1))
        first = self.first(self.whole(ops.mean(memory, axis=1), training=training))
        if self.concepts:
            first = first + self.told(ops.cast(ops.sigmoid(self.hear(memory)), first.dtype))
        return memory, ops.split(ops.tanh(first), self.state_count, axis=-1)

    def hear(self, memory):
        """(batch, vocabulary) log odds that the captions have each word, by what the places show alone.

            u_i = V Z m_i                         what place i adds to the logits, whatever was said before
            hear(m)_w = log mean_i exp u_iw + r_w

        Reference: Wu et al. 2016 (arXiv:1506.01144), who begin the decoder with such chances of words.
        """
        says = ops.cast(ops.matmul(self.shown(memory), self.logits.kernel), "float32")
        return ops.logsumexp(says, axis=1) - math.log(memory.shape[1]) + self.rarity

    def _places(self):
        """(1, places, 2) where each place lies, −1 to 1."""
        height, width = self.grid
        y, x = (ops.linspace(-1.0, 1.0, n) if n > 1 else ops.zeros((1,)) for n in (height, width))
        grid = ops.meshgrid(x, y)
        return ops.expand_dims(ops.reshape(ops.stack(grid, axis=-1), (-1, 2)), 0)

    def start(self, memory, first, keys=None):
        """The states before the first word."""
        if not self.attends:
            return list(first)
        if keys is None:
            return self.cell.get_initial_state(memory=memory, cell_state=list(first))
        ones = ops.ones_like(memory[..., 0])
        return [list(first), first[0] if self.before else ops.zeros_like(memory[:, 0]), ones, memory, keys, ones]

    def advance(self, tokens, states, training=False):
        """One word in: the logits of the next, the states after it."""
        embedded = self.drop(self.words(tokens), training=training)
        output, states = self.cell.step(embedded, states)
        return self.score(output, embedded, training), states

    def score(self, output, embedded, training=False):
        """The logits of the next word after the cell's output (with what was looked at) and the word fed in."""
        units = self.options["units"]
        said = self.mixed(output[..., :units]) + embedded
        said = said + self.shown(output[..., units:]) if self.attends else said
        return self.logits(self.drop(said, training=training))

    def call(self, inputs, training=False):
        features = inputs["features"] if "features" in inputs else self.see(inputs["image"], training)
        captions = inputs["captions"]
        group, longest = captions.shape[1], captions.shape[2] - 1
        memory, first = self.remember(features, training)
        if self.concepts and training:
            self._add_concepts(memory, captions)
        memory, *first = (ops.repeat(x, group, axis=0) if group > 1 else x for x in (memory, *first))
        tokens = ops.reshape(captions, (-1, longest + 1))
        states = self.start(memory, first)
        if training and self.drop_rate:
            logits = self._sampled(tokens, states)
        else:
            logits = self._forced(tokens, states, training)
        return ops.reshape(logits, (-1, group, longest, self.vocabulary))

    def _forced(self, tokens, states, training):
        """Logits (rows, longest, vocabulary) with the true words fed in."""
        fed = tokens[:, :-1]
        if training and (self.word_dropout or self.word_swap):
            fed = self._noisy(fed)
        embedded = self.drop(self.words(fed), training=training)
        outputs, looks = [], []
        for place in range(fed.shape[1]):
            output, states = self.cell.step(embedded[:, place], states)
            outputs.append(output)
            if self.attends and self.coverage and training:
                looks.append(self.cell.alignment(states))
        if looks:
            real = ops.cast(tokens[:, 1:] > 0, self.compute_dtype)
            self._add_coverage(ops.stack(looks, axis=1), real)
        return self.score(ops.stack(outputs, axis=1), embedded, training)

    def _noisy(self, fed):
        """Words (rows, longest) of which some are unknown, and some those at the same place of another row."""
        chance = keras.random.uniform(ops.shape(fed), seed=self.seeds)
        other = ops.roll(fed, ops.maximum(ops.shape(fed)[0] // 3, 1), axis=0)
        swapped = ops.logical_and(chance > 1 - self.word_swap, other > UNKNOWN)
        noisy = ops.where(swapped, other, ops.where(chance < self.word_dropout, UNKNOWN, fed))
        return ops.where(fed > UNKNOWN, noisy, fed)

    def _add_coverage(self, looks, real):
        """λ mean Σ_i (n/k − Σ_t a_ti)²: the looks of n words spread evenly over k places; a row without words is 0."""
        looks, real = (ops.cast(x, "float32") for x in (looks, real))  # as the loss that Keras adds it to
        seen = ops.sum(looks * real[..., None], axis=1)
        even = ops.sum(real, axis=1, keepdims=True) / seen.shape[1]
        self.add_loss(self.coverage * ops.mean(ops.sum(ops.square(even - seen), axis=1)))

    def _add_concepts(self, memory, captions):
        """λ times how badly each place, on its own, says the words of the picture's captions.

            p(w) = σ(hear(m)_w)                       whether some place says w
            loss = −λ Σ_w (log p(w) if a caption has w, else log(1 − p(w))) / words that the captions have

        So the output learns what a place shows apart from the words around it (Fang et al. 2015, arXiv:1411.4952).
        """
        heard = self.hear(memory)
        had = ops.max(ops.one_hot(captions, self.vocabulary, dtype=heard.dtype), axis=(1, 2))
        had = had * ops.cast(ops.arange(self.vocabulary) > UNKNOWN, heard.dtype)
        wrong = ops.softplus(heard) - had * heard
        self.add_loss(self.concepts * ops.sum(wrong) / ops.maximum(ops.sum(had), 1.0))

    def _sampled(self, tokens, states):
        """As `_forced`, with a growing share of the model's own words fed in."""
        self.steps.assign_add(1.0)
        rate = self.drop_rate * sampling_rate(self.steps, "linear", self.sampling_steps)
        step = lambda fed, states: self.advance(fed, states, True)  # noqa: E731
        start = ops.full_like(tokens[:, 0], START)
        targets = tokens[:, 1:]
        return scheduled_sampling(step, states, start, targets, targets > 0, rate=rate, seed=self.seeds)[0]

    def quiet(self) -> dict:
        """Switches off what disturbs the words fed in, and the coverage; returns what `disturb` switches on again."""
        names = ("word_dropout", "word_swap", "coverage", "concepts", "drop_rate")
        found = {name: getattr(self, name) for name in names}
        self.disturb(dict.fromkeys(names, 0.0))
        return found

    def disturb(self, rates: dict) -> None:
        """Sets the rates that `quiet` returned."""
        for name, rate in rates.items():
            setattr(self, name, rate)

    def encode(self, inputs):
        """The signature `encode`: a picture (or features) to the states before the first word, and the memory."""
        memory, first = self.remember(inputs["features"] if "features" in inputs else self.see(inputs["image"]))
        found = {f"first_{i}": state for i, state in enumerate(first)}
        if self.attends:
            return {"values": memory, "keys": self.cell.attention.keys(memory), **found}
        return found

    def step(self, inputs):
        """The signature `step`: a word and the states in; logits, the next states and where it looked out."""
        first = [inputs[f"state_{i}"] for i in range(self.state_count)]
        states = self.start(inputs.get("memory_values"), first, inputs.get("memory_keys"))
        logits, states = self.advance(inputs["tokens"], states)
        inner = states[0] if self.attends else states
        found = {"logits": logits, **{f"next_{i}": state for i, state in enumerate(inner)}}
        return {**found, "looks": self.cell.alignment(states)} if self.attends else found

    def compute_output_spec(self, inputs, training=False):
        batch, group, longest = inputs["captions"].shape
        return keras.KerasTensor((batch, group, longest - 1, self.vocabulary), dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}
