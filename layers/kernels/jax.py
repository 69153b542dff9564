"""The loop over time on JAX."""

import jax
import jax.numpy as jnp
import keras
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


def compiles(cell, training):
    """Whether `compiled_scan` is to be preferred; it is traced again after Keras has ceased to cast the weights."""
    return training and cell.variable_dtype == cell.compute_dtype


def _masked_step(cell, masks, zero_output):
    """The cell's step as a function of its weights, holding the states and the output where `keep` is false."""

    def step(x, keep, last, states, params, product):
        with keras.StatelessScope(zip(cell.weights, params, strict=True)):
            output, new = cell.recur(x, states, masks, product)
        if keep is None:
            return output, output, new
        held = jnp.where(keep, output, last)
        emitted = jnp.where(keep, output, 0) if zero_output else held
        return emitted, held, [jnp.where(keep, n, s) for n, s in zip(new, states, strict=True)]

    return step


def _kernels(step, params, x, last, states):
    """What the products of a step are with, in their order."""
    kernels = []

    def product(part, kernel):
        kernels.append(jnp.asarray(kernel))
        return part @ kernels[-1]

    step(x, None, last, states, params, product)
    return kernels


def compiled_scan(cell, sequences, last, states, keep, masks, zero_output, collect):
    """The sequence with a backward pass of its own.

    It takes the products with the recurrent kernels from the forward pass, differentiates one step at a time, and gets
    the gradient of each kernel as one product over all steps. Arguments and results are those of the TensorFlow loop.
    """

    step = _masked_step(cell, masks, zero_output)

    def forward(projected, last, states, params):
        def body(carry, x):
            products = []

            def product(part, kernel):
                products.append(part @ jnp.asarray(kernel))
                return products[-1]

            emitted, held, new = step(*x, *carry, params, product)
            return (held, new), (emitted if collect else None, carry[1], products)

        (last, states), (outputs, before, products) = lax.scan(body, (last, states), (projected, keep))
        return (outputs, last, states), (projected, last, before, products, params)

    def backward(saved, upstream):
        projected, last, before, products, params = saved
        first = jax.tree.map(lambda x: x[0], (projected, before))
        kernels, to_params = jax.vjp(lambda p: _kernels(step, p, first[0], last, first[1]), params)

        def body(carry, now):
            (x, keep, states, products), upward = now
            dlast, dstates, dparams = carry

            def replayed(x, last, states, products, params):
                parts = []

                def product(part, _):
                    parts.append(part)
                    return _replay(part, kernels[len(parts) - 1], products[len(parts) - 1])

                return step(x, keep, last, states, params, product), parts

            _, back, parts = jax.vjp(replayed, x, last, states, products, params, has_aux=True)
            upward = jnp.zeros_like(dlast) if upward is None else upward
            dx, dlast, dstates, dproducts, more = back((upward, dlast, dstates))
            return (dlast, dstates, jax.tree.map(jnp.add, dparams, more)), (dx, dproducts, parts)

        outputs, dlast, dstates = upstream
        start = (dlast, dstates, jax.tree.map(jnp.zeros_like, params))
        xs = ((projected, keep, before, products), outputs)
        (dlast, dstates, dparams), (dx, risen, parts) = lax.scan(body, start, xs, reverse=True)
        (more,) = to_params([jnp.einsum("tbi,tbo->io", p, r) for p, r in zip(parts, risen, strict=True)])
        return dx, dlast, dstates, jax.tree.map(jnp.add, dparams, more)

    run = jax.custom_vjp(lambda *arguments: forward(*arguments)[0])
    run.defvjp(forward, backward)
    return run(cell.project(sequences, masks), last, states, [jnp.asarray(w.value) for w in cell.weights])


@jax.custom_vjp
def _replay(part, kernel, value):
    """`value`, known from the forward pass, as the product of part and kernel."""
    return value


_replay.defvjp(
    lambda part, kernel, value: (value, kernel),
    lambda kernel, d: (d @ kernel.T, jnp.zeros_like(kernel), d),
)
