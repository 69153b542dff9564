import keras
import numpy as np
from keras import ops

from .base import KernelCell


@keras.saving.register_keras_serializable(package="elman")
class SpectralRadius(keras.initializers.Initializer):
    """A sparse random square matrix, scaled to a spectral radius (the largest modulus of its eigenvalues).

    Args:
        radius: the spectral radius.
        connectivity: share of the entries that are not zero.
        seed: seeds the matrix.
    """

    def __init__(self, radius=0.9, connectivity=0.1, seed=None):
        if not radius > 0 or not 0 < connectivity <= 1:
            raise ValueError(
                f"expected a spectral radius above 0 and a connectivity in (0, 1], received {radius} and {connectivity}"
            )
        self.radius = radius
        self.connectivity = connectivity
        self.seed = seed

    def __call__(self, shape, dtype=None):
        rng = np.random.default_rng(self.seed)
        for _ in range(100):
            matrix = rng.normal(size=shape) * (rng.random(shape) < self.connectivity)
            largest = np.abs(np.linalg.eigvals(matrix)).max()
            # A small matrix with hardly an entry may be nilpotent: it then has no radius to scale.
            if largest > 1e-6:
                return ops.convert_to_tensor(matrix * (self.radius / largest), dtype=dtype)
        raise ValueError(f"expected a connectivity that leaves cycles in {shape}, received {self.connectivity}")

    def get_config(self):
        return {"radius": self.radius, "connectivity": self.connectivity, "seed": self.seed}


@keras.saving.register_keras_serializable(package="elman")
class EchoStateCell(KernelCell):
    """The echo state network's reservoir: fixed random weights; only what reads its states is trained.

        h' = (1 − a) h + a · activation(x W + h U + b)

    with x the input, h the state, h' the new one (also the output), a the leak rate, and W, U, b fixed: W uniform in
    [−input_scale, input_scale], U sparse with a given spectral radius. Below a radius of 1 the state usually forgets
    where it started.

    Args:
        units: size of h.
        spectral_radius, connectivity: of U.
        leak: the rate a, in (0, 1].
        input_scale: bound of W.
        activation: of the reservoir.
        seed: seeds W and U.
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h]. Returns h' and [h'].
    Reference: Jaeger 2001, The "echo state" approach to analysing and training recurrent neural networks; leak:
    Jaeger et al. 2007.
    """

    def __init__(
        self,
        units,
        spectral_radius=0.9,
        connectivity=0.1,
        leak=1.0,
        input_scale=1.0,
        activation="tanh",
        seed=None,
        **kwargs,
    ):
        for name in ("kernel_initializer", "recurrent_initializer"):
            kwargs.pop(name, None)
        if not 0 < leak <= 1:
            raise ValueError(f"expected leak in (0, 1], received leak={leak!r}")
        super().__init__(
            units,
            kernel_initializer=keras.initializers.RandomUniform(-input_scale, input_scale, seed=seed),
            recurrent_initializer=SpectralRadius(spectral_radius, connectivity, seed),
            seed=seed,
            **kwargs,
        )
        self.spectral_radius = spectral_radius
        self.connectivity = connectivity
        self.leak = leak
        self.input_scale = input_scale
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        super().build(input_shape)
        for weight in (self.input_kernel, self.recurrent_kernel, self.bias):
            if weight is not None:
                weight.trainable = False

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        new = self.activation(projected + matmul(self.hidden(states[0], masks), self.recurrent_kernel))
        hidden = new if self.leak == 1 else (1.0 - self.leak) * states[0] + self.leak * new
        return hidden, [hidden]

    def get_config(self):
        config = super().get_config()
        for name in ("kernel_initializer", "recurrent_initializer"):
            del config[name]
        return {
            **config,
            "spectral_radius": self.spectral_radius,
            "connectivity": self.connectivity,
            "leak": self.leak,
            "input_scale": self.input_scale,
            "activation": keras.activations.serialize(self.activation),
        }
