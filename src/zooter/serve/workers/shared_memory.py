"""Map memory that the workers of one server share: files in a folder that exists as long as the server."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path


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
            OSError: there is no room for it.
        """
        if self.folder is None:
            return mmap.mmap(-1, size)
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, size)
            return mmap.mmap(file, size)
        finally:
            os.close(file)
