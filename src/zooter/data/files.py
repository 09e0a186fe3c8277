"""Files and folders that are written whole or not at all, and the hash of a file."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block ends without an error.

    A reader never sees half a file. The block may remove the temporary file to write nothing.

    Args:
        path: the file to be written; folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        if temporary.exists():
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`, and put it in its place when the block ends without an error.

    Args:
        folder: the folder to be written; an earlier one is removed once the new one stands.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(earlier := folder.parent / f".{folder.name}.{uuid.uuid4().hex}")
            temporary.rename(folder)
            shutil.rmtree(earlier)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all.

    Args:
        path: the file; folders above it are made.
        data: its content; text is written as UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sha256(path: Path) -> str:
    """Hash the content of a file with SHA-256.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
