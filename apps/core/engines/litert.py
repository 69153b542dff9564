"""LiteRT: one file, all signatures. Needs `numpy` and `ai-edge-litert` only."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..backend import quiet_stderr
from ..errors import ElmanError
from ..signature import Signature


def load(directory: Path, pattern: str, signatures: Mapping[str, Signature], threads: int = 1) -> Callable:
    """A runner over the `.tflite` file; memory is allocated on the first call of each shape."""
    path = directory / pattern
    try:
        with quiet_stderr():
            interpreter = Interpreter(str(path), num_threads=threads)
            there = interpreter.get_signature_list()
            calls = {name: _Call(interpreter.get_signature_runner(name)) for name in there}
    except (ValueError, RuntimeError) as error:
        raise ElmanError(f"{path}: LiteRT refuses the file: {str(error).splitlines()[0]}") from None
    for name, signature in signatures.items():
        if name not in there and signature.steps not in there:
            raise ElmanError(f"{path}: has no signature '{name}'")

    def run(signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature.name not in there or signature.by_steps:
            return _by_steps(calls[signature.steps], signature, signatures[signature.steps], arrays)
        call = calls[signature.name]
        return _row_by_row(call, arrays) if signature.fixed_batch else call(arrays)

    return run


class _Call:
    """A signature of the file. Where the shapes are those of the call before, nothing is allocated again: for a small
    step that is half of the time."""

    def __init__(self, runner: Callable):
        self.runner, self.shapes = runner, None
        try:
            self.core, self.graph = runner._interpreter_wrapper, runner._subgraph_index
            self.inputs, self.outputs = runner._inputs, dict(runner._outputs)
        except AttributeError:  # another version of the interpreter: its public call, which allocates every time
            self.core = None

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shapes = {name: array.shape for name, array in arrays.items()}
        if self.core is None or shapes != self.shapes:
            self.shapes = None  # a call that fails leaves nothing to rely on
            with quiet_stderr():  # allocating, it says so
                answer = self.runner(**arrays)
            self.shapes = shapes
            return answer
        for name, array in arrays.items():
            self.core.SetTensor(self.inputs[name], array, self.graph)
        self.core.Invoke(self.graph)
        return {name: self.core.GetTensor(index, self.graph) for name, index in self.outputs.items()}

    def along(self, told: dict[str, np.ndarray], states: dict[str, np.ndarray], feeds: Mapping[str, str], kept: list):
        """Calls the signature once for each step, states fed back.

        Args:
            told: inputs, time first. states: those of the first step. feeds: output -> the state that it becomes.
            kept: outputs of every step that are wanted.

        Returns: a list for each step of those kept, and all outputs of the last step.
        """
        rows = list(zip(*told.values(), strict=True))
        answer = self(dict(zip(told, rows[0], strict=True)) | states)
        gathered = [[answer[name] for name in kept]]
        if self.core is None:
            for row in rows[1:]:
                states = {into: answer[output] for output, into in feeds.items()}
                answer = self(dict(zip(told, row, strict=True)) | states)
                gathered.append([answer[name] for name in kept])
            return gathered, answer
        put, run, get, graph = self.core.SetTensor, self.core.Invoke, self.core.GetTensor, self.graph
        wires = [(self.outputs[output], self.inputs[into]) for output, into in feeds.items()]
        places, wanted = [self.inputs[name] for name in told], [self.outputs[name] for name in kept]
        for row in rows[1:]:
            for output, into in wires:
                put(into, get(output, graph), graph)
            for place, value in zip(places, row, strict=True):
                put(place, value, graph)
            run(graph)
            gathered.append([get(output, graph) for output in wanted])
        return gathered, {name: get(index, graph) for name, index in self.outputs.items()}


def _row_by_row(call: _Call, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    batch = len(next(iter(arrays.values())))
    rows = [call({name: array[i : i + 1] for name, array in arrays.items()}) for i in range(batch)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _by_steps(step: _Call, whole: Signature, declared: Signature, arrays: dict) -> dict[str, np.ndarray]:
    """A whole sequence, every row at once, by calls of its step from states of zero."""
    fed = set(declared.states.values())
    names = [spec.name for spec in declared.inputs if spec.name not in fed]
    batch, length = next(iter(arrays.values())).shape[:2]
    if not length:
        raise ElmanError(f"signature '{whole.name}': expected one step or more, received none")
    told = {n: np.ascontiguousarray(np.swapaxes(a, 0, 1)) for n, a in zip(names, arrays.values(), strict=True)}
    kept = list(whole.outputs) if whole.collects else []
    gathered, last = step.along(told, declared.first_states(batch), declared.states, kept)
    if whole.collects:
        return {name: np.stack(v, axis=1) for name, v in zip(kept, zip(*gathered, strict=True), strict=True)}
    return {name: last[name] for name in whole.outputs}
