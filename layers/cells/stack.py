"""Several cells as one."""

import keras
from keras import ops

from .base import Cell


@keras.saving.register_keras_serializable(package="elman")
class StackedCells(Cell):
    """Cells one on top of the other: the output of each is the input of the next.

    The states are a list with the states of each cell, the output is that of the last cell.

    Args:
        cells: a list of cells of this package, at least one.

    Call arguments: inputs (batch, features), states [[…], …]. Returns the last output and the new states.
    """

    def __init__(self, cells, **kwargs):
        cells = list(cells)
        if not cells or not all(isinstance(cell, Cell) for cell in cells):
            raise ValueError(f"expected a list of one or more cells of elman.layers, received {cells}")
        kwargs.setdefault("dtype", cells[0].dtype_policy)
        super().__init__(**kwargs)
        self.cells = cells
        self.state_size = [cell.state_size for cell in cells]
        self.output_size = cells[-1].output_size

    def build(self, input_shape):
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
                cell.built = True
            input_shape = (*input_shape[:-1], cell.output_size)

    def project(self, inputs, masks=None):
        return self.cells[0].project(inputs, masks and masks[0])

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        masks = masks or [None] * len(self.cells)
        new_states = []
        for cell, state, mask in zip(self.cells, states, masks, strict=True):
            inner = projected if not new_states else cell.project(output, mask)  # noqa: F821
            output, state = cell.recur(inner, state, mask, matmul)
            new_states.append(state)
        return output, new_states

    def draw_masks(self, batch_size):
        masks = [cell.draw_masks(batch_size) for cell in self.cells]
        return masks if any(mask is not None for mask in masks) else None

    def get_initial_state(self, batch_size=None):
        return [cell.get_initial_state(batch_size) for cell in self.cells]

    def get_config(self):
        return {**super().get_config(), "cells": [keras.saving.serialize_keras_object(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config):
        cells = [keras.saving.deserialize_keras_object(cell) for cell in config.pop("cells")]
        return cls(cells, **config)
