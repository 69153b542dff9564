"""A search space: what an application's `sample` names, and the domains that the user puts in place of its own."""

import contextlib
import dataclasses
import importlib
import json
import tomllib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ..apps.core.config import did_you_mean, from_json, to_json
from ..apps.core.errors import UsageError


class Range(NamedTuple):
    """Every number from low to high; one that spans a factor of ten is searched by its logarithm."""

    low: float
    high: float

    @property
    def sampling(self) -> str:
        return "log" if self.low > 0 and self.high >= 10 * self.low else "linear"


class Hyperparameters:
    """What `sample` sees of keras-tuner's HyperParameters: names are fields of the configuration.

    The base configuration's value is the default of each; it joins a domain of the space, not one that the user gave.

    Args:
        hp: keras_tuner.HyperParameters, with the values of a trial or without any.
        base: the configuration that the search starts from.
        domains: of the user, by name: a tuple of values or a Range.
    """

    def __init__(self, hp, base, domains=None):
        self.hp, self.base, self.domains = hp, base, domains or {}
        self.names: list[str] = []
        self.open = False
        """Whether any hyperparameter has more than one value."""
        self.excluded: list[str] = []
        """Names whose domain leaves the base configuration's value out."""
        self._chosen = {}

    def choice(self, name: str, *values) -> None:
        """One of some values."""
        base = getattr(self.base, name)
        self._take(name, values if base in values else tuple(sorted((*values, base))))

    def range(self, name: str, low, high) -> None:
        """A number from low to high."""
        base = getattr(self.base, name)
        self._take(name, Range(min(low, base), max(high, base)))

    @contextlib.contextmanager
    def when(self, name: str, *values):
        """What is named in this block matters only where `name` has one of the values."""
        with self.hp.conditional_scope(name, list(values)):
            yield

    def config(self):
        """The base configuration with the values of all active hyperparameters."""
        return dataclasses.replace(self.base, **self._chosen)

    def _take(self, name, own) -> None:
        domain, base = self.domains.get(name, own), getattr(self.base, name)
        self.names.append(name)
        self.open |= isinstance(domain, Range) or len(domain) > 1
        if isinstance(domain, Range):
            inside = domain.low <= base <= domain.high
            kind = self.hp.Int if isinstance(base, int) else self.hp.Float
            value = kind(name, *domain, sampling=domain.sampling, default=base if inside else domain.low)
        else:
            inside = base in domain
            value = self.hp.Choice(name, list(domain), default=base if inside else domain[0])
        if value is None:  # not active
            return
        if not inside:
            self.excluded.append(name)
        self._chosen[name] = float(f"{value:.3g}") if isinstance(value, float) and value != base else value


def find(app, name: str = "") -> ModuleType:
    """The module of an application's space."""
    try:
        return importlib.import_module(name or f"{__package__}.spaces.{app.name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.endswith(app.name):
            raise UsageError(f"{app.name}: there is no search space (tuning/spaces/{app.name}.py)") from None
        raise


def parse(app, base, entries) -> dict:
    """Domains from `name=value,value`, `name=low..high`, or TOML files of the same."""
    found = {}
    for entry in entries:
        if "=" in entry:
            name, text = entry.split("=", 1)
            given = {name.strip().replace("-", "_"): text if ".." in text else [_value(v) for v in _words(text)]}
        else:
            given = _toml(Path(entry))
        found |= {name: _domain(app, base, name, value) for name, value in given.items()}
    return found


def to_domains(values: dict) -> dict:
    """Domains as JSON keeps them."""
    return {name: Range(**v) if isinstance(v, dict) else tuple(v) for name, v in values.items()}


def from_domains(domains: dict) -> dict:
    return {name: d._asdict() if isinstance(d, Range) else list(d) for name, d in domains.items()}


def _toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"--space: expected name=value,value, name=low..high or a TOML file; received '{path}'"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--space {path}: not valid TOML ({error})") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _value(text: str):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _domain(app, base, name: str, given):
    """A domain whose values the configuration takes."""
    fields = [f.name for f in dataclasses.fields(base)]
    if name not in fields:
        raise UsageError(f"--space: unknown hyperparameter '{name}'{did_you_mean(name, fields)}")

    def checked(value):
        return getattr(from_json(app.config, {**to_json(base), name: value}, where="--space"), name)

    if isinstance(given, str) and ".." in given:
        low, high = (checked(_value(end)) for end in given.split("..", 1))
        if isinstance(low, str | bool) or not low < high:
            raise UsageError(f"--space {name}: expected low..high, two numbers, received {given}")
        return Range(low, high)
    values = tuple(dict.fromkeys(checked(v) for v in (given if isinstance(given, list) else [given])))
    if not values:
        raise UsageError(f"--space {name}: expected one value or more, received none")
    return values
