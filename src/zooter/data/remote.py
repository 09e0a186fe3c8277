"""Keep files at fsspec URLs (s3://, gs://, abfs://, …): paths that behave as local ones, and folders with a marker.

An object store has no rename. A single object appears whole or not at all, so that a shard needs nothing more; a folder
is complete once the object `COMPLETE` is in it, which is written last.
"""

import tempfile
from pathlib import Path
from typing import Any, cast

from zooter.errors import ConfigError, StoreError

COMPLETE = "_SUCCESS"  # the name that Hadoop and Spark use too


def as_path(value: Any) -> Path:
    """Make a path of a text; one with "://" in it is a URL of fsspec, and its path has the methods of `Path`.

    Args:
        value: a text, or a path, which is returned.

    Raises:
        ConfigError: the package for such URLs is not installed.
    """
    if not isinstance(value, str):
        return cast(Path, value)
    if value.startswith("file://"):
        return Path(value.removeprefix("file://"))
    if "://" not in value:
        return Path(value)
    try:
        from upath import UPath

        # A cached listing would hide what other processes have written.
        return cast(Path, UPath(value, use_listings_cache=False))
    except (ImportError, ValueError) as error:
        raise ConfigError(
            expected=f"a package for {value}", found=str(error), do="pip install 'zooter[s3]', or gcsfs or adlfs"
        ) from error


def is_remote(path: Path) -> bool:
    """Return whether a path is a URL of fsspec."""
    return not isinstance(path, Path)


def upload(file: Path, path: Path) -> None:
    """Upload a file as one object.

    Args:
        file: local.
        path: a remote path.
    """
    cast(Any, path).fs.put_file(str(file), cast(Any, path).path)


def create(path: Path, data: bytes) -> None:
    """Create an object that no other process has created.

    Args:
        path: a remote path.
        data: its content.

    Raises:
        FileExistsError: it is there.
    """
    cast(Any, path).fs.pipe_file(cast(Any, path).path, data, mode="create")


def upload_folder(folder: Path, path: Path) -> None:
    """Upload all files of a folder, then the marker of completeness; what was there before is incomplete meanwhile.

    Args:
        folder: local.
        path: a remote path.
    """
    (path / COMPLETE).unlink(missing_ok=True)
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        upload(file, path / file.relative_to(folder).as_posix())
    (path / COMPLETE).write_bytes(b"")


def download_folder(path: Path) -> Path:
    """Download a complete folder into a new temporary one.

    Args:
        path: a remote path: a folder that `upload_folder` wrote, or one inside it.

    Raises:
        StoreError: it is not there, or not complete.
    """
    if not any((folder / COMPLETE).exists() for folder in (path, path.parent)):
        raise StoreError(
            expected=f"a complete folder at {path}, with {COMPLETE} in it or beside it",
            found="no such object",
            do="check the address, or upload it again: the last upload did not end",
        )
    folder = Path(tempfile.mkdtemp(prefix="zooter-"))
    cast(Any, path).fs.get(cast(Any, path).path.rstrip("/") + "/", f"{folder}/", recursive=True)
    return folder
