"""Signatures: what a model offers to every container and engine, declared once. NumPy only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import ElmanError


@dataclass(frozen=True)
class Spec:
    """One input: its name, its shape (None where free, the batch first) and its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Signature:
    """A named pure function of named arrays.

    Args:
        name: how every container calls it.
        inputs: the inputs, batch first.
        outputs: output name -> what it holds.
        states: output name -> the input that it feeds at the next step.
        function: `function(dict of tensors) -> dict of tensors`; None on a device, where an engine runs it.
        fixed_batch: LiteRT runs it a row at a time (a loop over time converts only so); other containers are free.
        steps: the signature that gives the same when it is called along time, from states of zero: inputs in the same
            order, each with time after the batch. LiteRT can then run it without a loop in the file.
        collects: with `steps`, whether the outputs are those of every step (time after the batch), or of the last one.
        by_steps: whether LiteRT runs it by steps, which the export measures.
        raw: whether it takes or gives measurements, which 256 values do not hold: in full int8 its products alone are
            integers, and what lies between them is float32.
    """

    name: str
    inputs: tuple[Spec, ...]
    outputs: Mapping[str, str]
    states: Mapping[str, str] = field(default_factory=dict)
    function: Callable[[dict], dict] | None = None
    fixed_batch: bool = False
    steps: str = ""
    collects: bool = False
    by_steps: bool = False
    raw: bool = False

    def __post_init__(self):
        both = {spec.name for spec in self.inputs} & set(self.outputs)
        if both:  # ONNX has one name space for all
            raise ValueError(f"signature '{self.name}': expected distinct names of inputs and outputs, received {both}")

    def to_json(self) -> dict:
        inputs = [{"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in self.inputs]
        return {
            "inputs": inputs,
            "outputs": dict(self.outputs),
            "states": dict(self.states),
            "litert_batch": 1 if self.fixed_batch else None,
            "steps": self.steps,
            "collects": self.collects,
            "litert_by_steps": self.by_steps,
        }

    @classmethod
    def from_json(cls, name: str, value: dict) -> "Signature":
        inputs = tuple(Spec(i["name"], tuple(i["shape"]), i["dtype"]) for i in value["inputs"])
        return cls(
            name,
            inputs,
            value["outputs"],
            value["states"],
            fixed_batch=value["litert_batch"] == 1,
            steps=value.get("steps", ""),
            collects=value.get("collects", False),
            by_steps=value.get("litert_by_steps", False),
        )

    def first_states(self, rows: int, size: int | None = None) -> dict[str, np.ndarray]:
        """States of zero for so many rows, by the inputs that they feed; `size` fills in a dimension that is free."""
        fed = set(self.states.values())
        return {
            s.name: np.zeros((rows, *(size if n is None else n for n in s.shape[1:])), s.dtype)
            for s in self.inputs
            if s.name in fed
        }

    def check(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays in the order of the inputs; a wrong name, shape or dtype is refused."""
        names = [spec.name for spec in self.inputs]
        if set(arrays) != set(names):
            raise ElmanError(f"signature '{self.name}': expected inputs {names}, received {sorted(arrays)}")
        checked, batch = {}, None
        for spec in self.inputs:
            array = np.asarray(arrays[spec.name])
            fits = array.ndim == len(spec.shape) and all(
                want in (None, got) for want, got in zip(spec.shape, array.shape, strict=True)
            )
            if not fits or array.dtype != spec.dtype or batch not in (None, array.shape[0]):
                free = tuple("any" if s is None else s for s in spec.shape)
                same = "" if batch in (None, array.shape[0]) else f" with batch {batch}"
                raise ElmanError(
                    f"signature '{self.name}', input '{spec.name}': expected {spec.dtype} {free}{same}, "
                    f"received {array.dtype} {array.shape}"
                )
            batch, checked[spec.name] = array.shape[0], array
        return checked
