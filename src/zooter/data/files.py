"""Write files and folders atomically, and hash a file."""

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zooter.data.remote import is_remote, upload


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if the block ends without an error.

    Where there is no rename, in an object store, the temporary path is local and is uploaded as one object.

    A reader never sees a partial file. If the block creates no file, or deletes it again, nothing is written.

    Args:
        path: the file to be written; missing parent folders are created.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            yield (local := Path(folder) / path.name)
            if local.exists():
                upload(local, path)
        return
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
    """Yield an empty temporary folder beside `folder`, and rename it to `folder` if the block ends without an error.

    Its files can be read by whoever can read the folder: some libraries (safetensors) write them for their owner alone,
    and a server may run as another user.

    Args:
        folder: the folder to be written; an existing one is replaced, and deleted only after the replacement.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        mode = temporary.stat().st_mode & 0o666  # by the umask
        for path in temporary.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(mode)
        if folder.exists():
            folder.rename(earlier := folder.parent / f".{folder.name}.{uuid.uuid4().hex}")
            temporary.rename(folder)
            shutil.rmtree(earlier)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file completely or not at all.

    Args:
        path: the file; missing parent folders are created.
        data: its content; text is encoded as UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sha256(path: Path) -> str:
    """Hash the content of a file with SHA-256.

    Args:
        path: an existing file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
