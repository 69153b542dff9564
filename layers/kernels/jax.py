"""The loop over time on JAX."""

import jax
import jax.numpy as jnp
from jax import lax


def scan(step, xs, states, collect, training=False):
    """Run `step(x, states) -> (output, states)` over the leading axis of every leaf of xs.

    Args:
        step: a pure function; a state that it returns untouched is a constant of the loop.
        xs: tree of arrays, time first.
        states: tree of arrays.
        collect: whether to return every output.
        training: not used on this backend.

    Returns:
        (outputs, time first, or None; last output, zeros where there are no steps; states).
    """
    first = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), xs)
    leaves, structure = jax.tree.flatten(states)
    output, probe = step(first, states)
    moving = [i for i, (old, new) in enumerate(zip(leaves, jax.tree.leaves(probe), strict=True)) if new is not old]

    def body(carry, x):
        full = list(leaves)
        for i, value in zip(moving, carry[1:], strict=True):
            full[i] = value
        y, new = step(x, jax.tree.unflatten(structure, full))
        new = jax.tree.leaves(new)
        return (y, *(new[i] for i in moving)), (y if collect else None)

    (last, *final), outputs = lax.scan(body, (jnp.zeros_like(output), *(leaves[i] for i in moving)), xs)
    for i, value in zip(moving, final, strict=True):
        leaves[i] = value
    return outputs, last, jax.tree.unflatten(structure, leaves)


def compiles(training):
    """Whether there is a compiled loop to prefer over `scan`: not here, JAX compiles `scan` as it is."""
    return False


compiled_scan = None
