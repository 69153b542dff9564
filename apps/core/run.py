"""The run directory: everything that one training leaves, and nothing half-written."""

import os
import re
import shutil
import socket
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import backend
from .config import from_json, to_json
from .errors import ElmanError, UsageError
from .files import read_json, write_json

try:
    import fcntl
except ImportError:  # not on Windows: there nothing guards a run directory
    fcntl = None

BUNDLE = "bundle"
_LOCK = ".lock"
_HELD: dict[Path, object] = {}  # the lock files of this process, held until it ends


@dataclass(frozen=True)
class Run:
    """A run directory: `config.json codec.json model.keras history.csv metrics.json report.md plots/ bundle/`."""

    path: Path

    @property
    def metrics(self) -> dict:
        return read_json(self.path / "metrics.json")

    def config(self, app):
        """The application's configuration that the run was trained with."""
        saved = read_json(self.path / "config.json")
        if saved.get("application") != app.name:
            raise ElmanError(f"{self.path}: a run of '{saved.get('application')}', not of '{app.name}'")
        return from_json(app.config, saved["config"], where=str(self.path / "config.json"))

    def codec(self, app):
        return app.stage("codec").Codec.from_json(read_json(self.path / "codec.json"))

    def model(self, app):
        """The trained Keras model (loaded in safe mode: no code from the file runs)."""
        backend.load(f"{self.path}: the Keras model")
        import keras

        app.stage("model")  # registers its layers
        path = self.path / "model.keras"
        if not path.exists():
            raise ElmanError(f"{self.path}: no model.keras; was the training finished? go on with --resume")
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except (TypeError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ElmanError(f"{path}: {_why_not_loaded(str(error))}") from None

    def discard_empty(self) -> None:
        """Removes the directory where training has left nothing in it."""
        if {p.name for p in self.path.iterdir()} <= {"config.json", "transfer.csv", _LOCK}:
            shutil.rmtree(self.path)

    def write_metrics(self, **values) -> None:
        """Adds to metrics.json."""
        path = self.path / "metrics.json"
        write_json(path, {**(read_json(path) if path.exists() else {}), **values})


def _why_not_loaded(message: str) -> str:
    """What Keras says of a file that it does not load, in a line."""
    if foreign := re.search(r"locate (?:class|function) '([^']+)'", message):
        return f"holds '{foreign[1]}', a layer of neither Keras nor elman; it can be neither opened nor exported"
    if "`Lambda`" in message or "safe_mode" in message:
        return "holds code (a Lambda layer), which is not run from a file; build the layer from Keras or elman instead"
    return f"no Keras model that can be read ({(message.strip().splitlines() or ['no reason given'])[0][:200]})"


def default_out(app) -> Path:
    """runs/APP/DATE-TIME."""
    return Path("runs") / app.name / time.strftime("%Y%m%d-%H%M%S")


def _is_run(path: Path) -> bool:
    """Whether a directory was made here: other programs' directories have a config.json as well."""
    if not (path / "config.json").exists():
        return False
    saved = read_json(path / "config.json")
    return isinstance(saved, dict) and set(saved) == {"application", "config"}


def refuse_existing(path: Path) -> None:
    """Refuses to train into a directory that is there."""
    if path.exists():
        raise UsageError(f"--out {path} exists; choose another, or use --resume or --overwrite")


def _lock(path: Path) -> None:
    """Takes a run directory for this process; says who has it where another does."""
    if fcntl is None:
        return
    key = path.resolve()
    if held := _HELD.pop(key, None):
        held.close()
    file = (path / _LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UsageError(f"--out {path} is in use by {owner}; wait for it, or choose another") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _HELD[key] = file


def start(app, config, out: Path | None, *, resume: bool = False, overwrite: bool = False) -> Run:
    """Makes the run directory, or opens it to resume; an existing one is refused otherwise."""
    if resume and out is None:
        raise UsageError("--resume: give the run directory with --out")
    path = Path(out) if out else default_out(app)
    if resume:
        if not _is_run(path):
            raise UsageError(f"--resume: {path} is not a run directory")
        saved = Run(path).config(app)
        if saved != config:
            changed = [k for k, v in to_json(config).items() if to_json(saved)[k] != v]
            raise UsageError(f"--resume: {path} was trained with another config; these differ: {', '.join(changed)}")
        _lock(path)
        for left in path.rglob(".part-*"):  # by a killed process
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return Run(path)
    if path.exists():
        if not overwrite:
            refuse_existing(path)
        if path.is_file() or (any(path.iterdir()) and not _is_run(path)):
            raise UsageError(f"--overwrite: {path} is not a run directory; it is left as it is")
        if path.is_dir():
            _lock(path)
        shutil.rmtree(path)
    path.mkdir(parents=True)
    _lock(path)
    write_json(path / "config.json", {"application": app.name, "config": to_json(config)})
    return Run(path)
