"""Arrays in temporary files that are mapped into memory: the operating system keeps of them what fits."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Ints
from zooter.errors import StoreError

CHUNK_ROWS = 16_384  # rows that are computed on at a time


def mapped_array(rows: int, columns: int) -> NDArray[np.float32]:
    """Make an array of zeros in a temporary file (in TMPDIR), which goes when nothing refers to the array any more.

    Args:
        rows, columns: the shape.

    Raises:
        StoreError: there is no room for the file.
    """
    with tempfile.TemporaryFile() as file:
        size = max(rows * columns, 1) * np.dtype(np.float32).itemsize
        try:
            if hasattr(os, "posix_fallocate"):  # a disk that is full later would end the process (SIGBUS)
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise no_room(error) from error
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, columns)))


def no_room(error: OSError) -> StoreError:
    """Make the error to raise when a temporary file cannot be written.

    Args:
        error: what the operating system says.
    """
    return StoreError(
        expected=f"room for temporary files in {tempfile.gettempdir()}",
        found=error.strerror or str(error),
        do="free some space there, or set TMPDIR to a folder on another disk",
    )


def mapped_rows(values: NDArray[np.float32], rows: Ints) -> NDArray[np.float32]:
    """Copy some rows of an array into a mapped one.

    Args:
        values: (n, d).
        rows: (k,) row numbers.

    Returns:
        (k, d).
    """
    copy = mapped_array(len(rows), values.shape[1])
    for chunk in chunks(len(rows)):
        copy[chunk] = values[rows[chunk]]
    return copy


def chunks(count: int) -> Iterator[slice]:
    """Divide row numbers 0…count−1 into slices of `CHUNK_ROWS`; one empty slice where there are none."""
    for start in range(0, max(count, 1), CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, count))
