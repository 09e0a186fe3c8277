"""Write and check the manifest of an export: its files with their hashes, none missing or changed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zooter.data.files import sha256
from zooter.errors import ExportError

FILE = "manifest.json"
FORMAT = 1

# Paths within an export.
CARD = "README.md"
POOL = "pool.json"
REFERENCE = "reference.json"
REFERENCE_EMBEDDINGS = "reference.safetensors"
HEAD = "head.safetensors"
ENCODER = "encoder"
NGRAMS = f"{ENCODER}/ngrams.npz"  # of an encoder of n-grams; serving reads it too
ONNX = "onnx"  # serving reads this folder, the pool and the reference
WEIGHTS = {"float32": f"{ONNX}/float32.onnx", "int8": f"{ONNX}/int8.onnx"}
TOKENIZER = f"{ONNX}/tokenizer.json"
PARITY = f"{ONNX}/parity.json"
HUGGINGFACE = "huggingface"
CALIBRATION = "calibration.json"
MARGIN = "margin.json"  # a cascade's calibrated thresholds


def write(folder: Path, facts: dict[str, Any]) -> None:
    """Write `manifest.json`: the facts, and the SHA-256 of every other file in the folder.

    Args:
        folder: the export.
        facts: JSON; the keys "format" and "files" are the manifest's own.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
    write_json(folder / FILE, {"format": FORMAT, **facts, "files": files})


def facts(manifest: dict[str, Any]) -> dict[str, Any]:
    """Select what a manifest holds beside its format and the files' hashes, to write a changed export with.

    Args:
        manifest: as `verify` returns it.
    """
    return {key: value for key, value in manifest.items() if key not in ("format", "files")}


def verify(folder: Path, parts: Sequence[str] | None = None) -> dict[str, Any]:
    """Read an export's manifest and check its files against it.

    Args:
        folder: the export.
        parts: files and folders of it to check; None checks all.

    Returns:
        The manifest, with "format" and "files".

    Raises:
        ExportError: it is not an export, its format is another, or a file is missing or changed.
    """
    manifest = read_json(folder / FILE, folder)
    if manifest.get("format") != FORMAT:
        raise ExportError(
            expected=f"an export of format {FORMAT} in {folder}",
            found=f"format {manifest.get('format')}",
            do="load it with the version of zooter that wrote it, or export again",
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise _damaged(folder, f"no list of files in {FILE}")
    for name in parts or ():
        if (folder / name).is_file() and name not in files:
            raise _damaged(folder, f"{name}, which is not in the manifest")
    for name, expected in files.items():
        if parts is not None and not {name, name.partition("/")[0]} & set(parts):
            continue
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        if sha256(path) != expected:
            raise _damaged(folder, f"{name} has changed since it was exported")
    return manifest


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """Read a JSON object of an export.

    Args:
        path: the file.
        folder: the export, for messages.

    Raises:
        ExportError: the file is missing or is not a JSON object.
    """
    if not path.is_file():
        raise ExportError(
            expected=f"an export in {folder}",
            found=f"no {path.name}" if folder.is_dir() else "no such folder",
            do="give the `export` folder that train.py left in its run folder",
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _damaged(folder, f"{path.name} is not a JSON object ({error})") from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, indented, as UTF-8."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _damaged(folder: Path, reason: str) -> ExportError:
    return ExportError(
        expected=f"a whole, unchanged export in {folder}", found=reason, do="copy it again or export again"
    )
