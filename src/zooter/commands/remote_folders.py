"""Let commands write their run folder to, and read exports from, fsspec URLs: they work on a local copy."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zooter.commands.config import exit_code
from zooter.data.remote import as_path, download_folder, is_remote, upload_folder


@contextmanager
def local_copies(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Replace URLs in `run_dir=` and `export=` by local folders, and upload the run folder at the end.

    A run that fails uploads nothing.

    Args:
        arguments: of the command line.

    Yields:
        The arguments with local folders.

    Raises:
        StoreError: an export is not there, or not complete.
    """
    copies: list[Path] = []
    run: tuple[Path, Path] | None = None
    local = list(arguments)
    try:
        for i, argument in enumerate(arguments):
            name, _, value = argument.partition("=")
            if name not in ("run_dir", "export") or not is_remote(path := as_path(value)):
                continue
            copy = download_folder(path) if name == "export" else Path(tempfile.mkdtemp(prefix="zooter-"))
            copies.append(copy)
            run = (copy, path) if name == "run_dir" else run
            local[i] = f"{name}={copy}"
        yield local
        if run is not None and exit_code() == 0 and any(run[0].iterdir()):
            upload_folder(*run)
    finally:
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)
