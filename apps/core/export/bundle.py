"""The bundle's manifest: what is in it, how to call it, and a checksum of every file. No runtime is imported here."""

import hashlib
import itertools
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from ..errors import ElmanError
from ..files import read_json, sha256, write_json
from ..signature import Signature

MANIFEST = "bundle.json"
FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: configuration, codec and signatures as its manifest gives them."""

    path: Path
    config: dict
    codec: dict
    signatures: Mapping[str, Signature]
    manifest: dict


def write_manifest(
    path: Path,
    app: str,
    config: dict,
    codec: dict,
    signatures: list[Signature],
    license: str,
    opset: int,
    weights: Mapping[str, Mapping[str, int]],
) -> None:
    """Writes `bundle.json` over the files that lie in `path`.

    Args:
        opset: of the ONNX files.
        weights: engine -> signature -> the bytes of weights that a call reads.
    """
    manifest = {
        "format": FORMAT,
        "application": app,
        "config": config,
        "codec": codec,
        "signatures": {s.name: s.to_json() for s in signatures},
        "onnx_opset": opset,
        "weight_bytes": weights,
        "data_license": license,
        "versions": _versions(),
        "files": {str(f.relative_to(path)): sha256(f) for f in sorted(path.rglob("*")) if f.is_file()},
    }
    write_json(path / MANIFEST, {**manifest, "digest": _digest(manifest)})


def read_bundle(path: Path, app: str) -> Bundle:
    """Reads and verifies a bundle: its format, its application, and the checksum of every file."""
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise ElmanError(f"{path / MANIFEST}: not a bundle's manifest")
    if manifest["format"] > FORMAT:
        raise ElmanError(
            f"{path}: bundle format {manifest['format']} is newer than this elman reads ({FORMAT}); upgrade"
        )
    if manifest.get("digest") != _digest({k: v for k, v in manifest.items() if k != "digest"}):
        raise ElmanError(f"{path / MANIFEST}: its checksum does not match; copy the bundle again")
    if manifest["application"] != app:
        raise ElmanError(f"{path}: a bundle of '{manifest['application']}', not of '{app}'")
    for name, digest in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise ElmanError(f"{path}: '{name}' is missing; copy the whole bundle again")
        if sha256(file) != digest:
            raise ElmanError(f"{file}: its checksum does not match the manifest's; copy the bundle again")
    signatures = {name: Signature.from_json(name, value) for name, value in manifest["signatures"].items()}
    return Bundle(path, manifest["config"], manifest["codec"], signatures, manifest)


def read_samples(path: Path) -> dict[str, tuple[dict, dict]]:
    """Signature -> (inputs, Keras's outputs) of the bundle's test vectors."""
    if not path.exists():
        raise ElmanError(f"{path}: no such file")
    with np.load(path, allow_pickle=False) as file:
        names = sorted(key.split("/") for key in file.files)
        groups = itertools.groupby(names, key=lambda key: key[0])
        found = {}
        for signature, keys in groups:
            sides: dict[str, dict] = {"in": {}, "out": {}}
            for _, side, name in keys:
                sides[side][name] = file[f"{signature}/{side}/{name}"]
            found[signature] = (sides["in"], sides["out"])
    return found


def _digest(manifest: dict) -> str:
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _versions() -> dict:
    names = ("elman", "keras", "tensorflow", "numpy", "ai-edge-litert", "onnxruntime", "tf2onnx")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
