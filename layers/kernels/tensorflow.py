"""The loop over time on TensorFlow."""

import tensorflow as tf


def scan(step, xs, states, collect, training=False):
    """Run `step(x, states) -> (output, states)` over the leading axis of every leaf of xs.

    Args:
        step: a pure function; a state that it returns untouched is a constant of the loop.
        xs: tree of tensors, time first.
        states: tree of tensors.
        collect: whether to return every output.
        training: whether the loop will be differentiated: where not, outputs of an unknown batch size are gathered
            without a list of tensors, which has no built-in LiteRT op.

    Returns:
        (outputs, time first, or None; last output, zeros where there are no steps; states).
    """
    flat = tf.nest.flatten(xs)
    length = tf.shape(flat[0])[0]
    leaves = tf.nest.flatten(states)
    output, probe = step(tf.nest.map_structure(_zeros_of_a_step, xs), states)
    probe = tf.nest.flatten(probe)
    moving = [i for i, (old, new) in enumerate(zip(leaves, probe, strict=True)) if new is not old]
    portable = collect and not training and not output.shape.is_fully_defined()
    if training:
        arrays = [tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in flat]

    def body(i, last, carry, outputs):
        full = list(leaves)
        for k, value in zip(moving, carry, strict=True):
            full[k] = value
        now = [a.read(i) for a in arrays] if training else [tf.gather(x, i) for x in flat]
        y, new = step(tf.nest.pack_sequence_as(xs, now), tf.nest.pack_sequence_as(states, full))
        new = tf.nest.flatten(new)
        if portable:
            outputs = (tf.tensor_scatter_nd_update(outputs[0], [[i]], y[None]),)
        elif collect:
            outputs = (outputs[0].write(i, y),)
        return i + 1, y, tuple(new[k] for k in moving), outputs

    gathered = ()
    if portable:
        gathered = (tf.zeros(tf.concat([[length], tf.shape(output)], 0), output.dtype),)
    elif collect:
        gathered = (tf.TensorArray(output.dtype, length, element_shape=output.shape),)
    carry = tuple(leaves[k] for k in moving)
    shapes = tuple(_common_shape(leaves[k], probe[k]) for k in moving)
    gathered_shapes = tuple(g.shape if portable else tf.TensorShape(None) for g in gathered)
    _, last, final, gathered = tf.while_loop(
        lambda i, *_: i < length,
        body,
        (tf.constant(0), tf.zeros_like(output), carry, gathered),
        shape_invariants=(tf.TensorShape([]), output.shape, shapes, gathered_shapes),
    )
    for k, value in zip(moving, final, strict=True):
        leaves[k] = value
    outputs = gathered[0] if portable else gathered[0].stack() if collect else None
    if collect:
        outputs.set_shape([flat[0].shape[0], *output.shape])
    return outputs, last, tf.nest.pack_sequence_as(states, leaves)


def _zeros_of_a_step(x):
    return tf.zeros(tf.shape(x)[1:], x.dtype)


def _common_shape(a, b):
    return tf.TensorShape([m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)])
