"""Map memory that the workers of one server share: files in a folder that exists as long as the server."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from zooter.errors import ConfigError


@dataclass(frozen=True)
class SharedMemory:
    """Memory of one worker, shared with the others.

    Attributes:
        folder: folder of the files; None for a single worker, which keeps everything to itself.
        worker: number of this worker, from 0; one that is started again has the number of the one that died.
        workers: number of workers.
    """

    folder: Path | None = None
    worker: int = 0
    workers: int = 1

    def map(self, name: str, size: int) -> mmap.mmap:
        """Map a piece of memory, which holds zeros at first.

        Args:
            name: the same name gives every worker the same memory; a file's name.
            size: number of bytes, the same in every worker.

        Raises:
            ConfigError: there is no room for it.
        """
        if self.folder is None:
            return mmap.mmap(-1, size)
        try:
            return _map_file(self.folder / name, size)
        except OSError as error:
            raise ConfigError(
                expected=f"{size} bytes for what the workers share in {self.folder}",
                found=str(error),
                do="make room, or name another folder in TMPDIR",
            ) from error


def _map_file(path: Path, size: int) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, size)  # a full disk would otherwise end the process when it writes
        return mmap.mmap(file, size)
    finally:
        os.close(file)
