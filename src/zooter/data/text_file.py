"""Texts in a temporary file that is mapped into memory: a list of texts that takes eight bytes for each."""

import contextlib
import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from typing import IO, Any, overload

from zooter.data.mapped import no_room
from zooter.data.types import Ints


class _Texts(Sequence[str]):
    """A sequence of texts that is equal to a list of the same texts; pickled, it is a list."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class TextFile(_Texts):
    """A sequence of texts that grows at its end; the file (in TMPDIR) goes with it.

    Texts are decoded each time they are read.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed with this object
        weakref.finalize(self, _close, self._file)
        self._ends = array("q", [0])  # where each text ends in the file, after the start of the first
        self._mapped: mmap.mmap | None = None

    def append(self, text: str) -> None:
        """Add a text; lone surrogates are allowed.

        Raises:
            StoreError: there is no room for the file.
        """
        try:
            written = self._file.write(text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise no_room(error) from error
        self._ends.append(self._ends[-1] + written)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> list[str]: ...

    def __getitem__(self, key: int | slice) -> str | list[str]:
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        position = range(len(self))[key]
        start, end = self._ends[position], self._ends[position + 1]
        return self._bytes(end)[start:end].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} texts in a file>"

    def _bytes(self, end: int) -> mmap.mmap | bytes:
        """Return the file's content, mapped again after it has grown; an empty file cannot be mapped."""
        if end and (self._mapped is None or len(self._mapped) < end):
            try:
                self._file.flush()
            except OSError as error:
                raise no_room(error) from error
            self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._mapped or b""


class TextRows(_Texts):
    """Some texts of a sequence, selected by row number, and read from it each time.

    Args:
        texts: n texts.
        rows: (r,) row numbers.
    """

    def __init__(self, texts: Sequence[str], rows: Ints) -> None:
        self.texts = texts
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> list[str]: ...

    def __getitem__(self, key: int | slice) -> str | list[str]:
        if isinstance(key, slice):
            return [self.texts[row] for row in self.rows[key].tolist()]
        return self.texts[int(self.rows[key])]


def _close(file: IO[bytes]) -> None:
    """Close a file that nobody reads any more; that it could not be written was raised before."""
    with contextlib.suppress(OSError):
        file.close()
