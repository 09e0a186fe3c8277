"""The list of an export's files with their hashes, and the check that nothing is missing, changed or foreign."""

import hashlib
import json
from pathlib import Path
from typing import Any

from zooter.errors import ExportError

FILE = "manifest.json"
FORMAT = 1


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Write `manifest.json`: the facts, and size and SHA-256 of every other file in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    files = {path.relative_to(folder).as_posix(): digest(path) for path in paths}
    manifest = {"format": FORMAT, **facts, "files": files}
    (folder / FILE).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of an export whose files are all there and unchanged.

    Raises:
        ExportError: it is not an export, its format is newer, or a file is missing or changed.
    """
    manifest = read_json(folder / FILE, folder)
    if manifest.get("format") != FORMAT:
        raise ExportError(
            expected=f"an export of format {FORMAT} in {folder}",
            found=f"format {manifest.get('format')}",
            do="load it with the version of zooter that wrote it, or export again",
        )
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise _broken(folder, f"no list of files in {FILE}")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise _broken(folder, f"{name} is missing")
        if digest(path) != expected:
            raise _broken(folder, f"{name} has changed since it was exported")
    return manifest


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """One JSON object of an export.

    Raises:
        ExportError: the file is not there or is not JSON.
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
        raise _broken(folder, f"{path.name} is not a JSON object ({error})") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(folder: Path, found: str) -> ExportError:
    return ExportError(
        expected=f"a whole, unchanged export in {folder}", found=found, do="copy it again or export again"
    )
