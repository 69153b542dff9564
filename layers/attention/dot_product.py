import keras
from keras import ops

from .base import Attention

SCORES = ("dot", "general", "concat")


@keras.saving.register_keras_serializable(package="elman")
class LuongAttention(Attention):
    """Multiplicative attention.

        dot:      eᵢ = q · mᵢ                          (query and memory of the same size)
        general:  eᵢ = q · (W mᵢ)
        concat:   eᵢ = v · tanh(W mᵢ + Q q)             (W and Q: the two parts of the kernel of [mᵢ; q])
        weights = softmax(g e),  context = Σ weightsᵢ mᵢ

    with q the query, mᵢ the memory, W the memory kernel, Q the query kernel, v the score vector and g a trained scale.

    Args:
        score: "dot", "general" or "concat".
        use_scale: whether there is a scale g; 1 otherwise. It starts at 1.
        kernel_initializer: of W, Q and v.

    Shapes, masking: see `Attention`. The hidden size of concat is that of the query.
    Reference: Luong, Pham & Manning 2015, Effective Approaches to Attention-based Neural Machine Translation
    (arXiv:1508.04025), global attention.
    """

    def __init__(self, score="general", use_scale=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        if score not in SCORES:
            raise ValueError(f"LuongAttention: expected score to be one of {SCORES}, received {score!r}")
        self.score_name = score
        self.query_size = None
        self.use_scale = use_scale
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, memory_shape):
        query, memory = query_shape[-1], memory_shape[-1]
        self.query_size = query
        if self.score_name == "dot" and query != memory:
            raise ValueError(f'score="dot": expected a memory of the size of the query, {query}, received {memory}')
        if self.score_name != "dot":
            self.memory_kernel = self.add("memory_kernel", (memory, query))
        if self.score_name == "concat":
            self.query_kernel = self.add("query_kernel", (query, query))
            self.vector = self.add("vector", (query, 1))
        if self.use_scale:
            self.scale = self.add("scale", (), "ones")
        self.built = True

    def add(self, name, shape, initializer=None):
        return self.add_weight(shape=shape, initializer=initializer or self.kernel_initializer, name=name)

    def key_size(self, memory_size):
        return memory_size if self.score_name == "dot" else self.query_size

    def keys(self, values):
        return values if self.score_name == "dot" else ops.matmul(values, self.memory_kernel)

    def score(self, query, keys, state):
        if self.score_name == "concat":
            hidden = keys + ops.expand_dims(ops.matmul(query, self.query_kernel), 1)
            scores = ops.squeeze(ops.matmul(ops.tanh(hidden), self.vector), -1)
        else:
            scores = ops.squeeze(ops.matmul(keys, ops.expand_dims(query, -1)), -1)
        return scores * self.scale if self.use_scale else scores

    def get_config(self):
        return {
            **super().get_config(),
            "score": self.score_name,
            "use_scale": self.use_scale,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
