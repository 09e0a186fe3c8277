"""Look up the values of an object strictly, with errors that name the file, the row and the key."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from zooter.data.formats.protocol import ROWS
from zooter.data.formats.sources import BATCH_ROWS, read_objects
from zooter.errors import RecordsError

# What Arrow raises for a value that does not fit a type; lone surrogates cannot be encoded.
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError)
_TRUTHS = {"true": 1.0, "false": 0.0}  # as CSV files have them
_KINDS = {"large_string": "a text", "int64": "a whole number", "double": "a number"}


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a file.

    Attributes:
        path: the file.
        place: where in the file, such as "line 3".
        values: the object.
    """

    path: Path
    place: str
    values: Mapping[str, Any]

    def error(self, expected: str, actual: object, do: str = "correct or remove it") -> RecordsError:
        """Describe what is wrong with this object; the caller raises it.

        Args:
            expected: what the caller needs, for the message.
            actual: the value that is there.
            do: how to put it right.
        """
        return RecordsError(expected=f"{expected} in {self.path}, {self.place}", found=_shorten(actual), do=do)

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Join column → value with this object, which an error then names.

        Args:
            values: column → value.
        """
        return {"item": self, **values}

    def get(self, key: str) -> Any:
        """Look up a key, which may be a path such as "evaluation.score"; None if it is not there or null.

        Args:
            key: a key, or keys joined by dots.
        """
        value: Any = self.values
        for name in key.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    def text(self, key: str) -> str:
        """Look up a text that is neither missing nor blank.

        Args:
            key: as for `get`.

        Raises:
            RecordsError: it is.
        """
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"a text as {key!r}", value)
        return value

    def text_or_none(self, key: str) -> str | None:
        """Look up a text; None if it is not there.

        Args:
            key: as for `get`.

        Raises:
            RecordsError: there is something else than a text.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(f"a text as {key!r}", value)
        return value

    def number(self, key: str) -> float:
        """Look up a finite number; true and false are 1 and 0.

        Args:
            key: as for `get`.

        Raises:
            RecordsError: it is missing or not a finite number.
        """
        value = self.number_or_none(key)
        if value is None:
            raise self.error(f"a number as {key!r}", self.get(key))
        return value

    def number_or_none(self, key: str) -> float | None:
        """Look up a finite number; None if it is missing or NaN.

        Args:
            key: as for `get`.

        Raises:
            RecordsError: there is something else, or the number is infinite.
        """
        return self.as_number(self.get(key), key)

    def as_number(self, value: Any, key: str) -> float | None:
        """Convert a value of this object to a finite number; None for null and NaN.

        Args:
            value: any value; a text is read as a number, because CSV files hold nothing else.
            key: its name, for the message.

        Raises:
            RecordsError: it is not a number, or is infinite.
        """
        if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "null", "none")):
            return None
        if isinstance(value, str) and value.strip().lower() in _TRUTHS:
            return _TRUTHS[value.strip().lower()]
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise self.error(f"a number as {key!r}", value) from error
        if math.isinf(number):
            raise self.error(f"a finite number as {key!r}", value)
        return None if math.isnan(number) else number

    def count_or_none(self, key: str) -> int | None:
        """Look up a whole number, such as a count of tokens; None if it is missing.

        Args:
            key: as for `get`.

        Raises:
            RecordsError: there is something else.
        """
        value = self.number_or_none(key)
        if value is not None and value != int(value):
            raise self.error(f"a whole number as {key!r}", value)
        return None if value is None else int(value)

    def first_text(self, key: str) -> str | None:
        """Look up the first of a list of texts; None if there is no list or it is empty.

        Raises:
            RecordsError: there is something else than a list, or its first element is not a text.
        """
        values = self.get(key)
        if values is None or values == []:
            return None
        if not isinstance(values, list) or not (values[0] is None or isinstance(values[0], str)):
            raise self.error(f"a list of texts as {key!r}", values)
        return values[0]

    def inner(self, key: str) -> "Item":
        """Look up an object; an empty one if it is not there.

        Raises:
            RecordsError: there is something else.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(f"an object as {key!r}", value)
        return Item(self.path, self.place, value or {})

    def items(self, key: str) -> Iterator["Item"]:
        """Iterate over a list of objects.

        Raises:
            RecordsError: there is no list, or an element is not an object.
        """
        values = self.get(key)
        if not isinstance(values, list):
            raise self.error(f"a list as {key!r}", values)
        for number, value in enumerate(values, start=1):
            if not isinstance(value, Mapping):
                raise self.error(f"objects in the list {key!r}", value)
            yield Item(self.path, f"{self.place}, {key} {number}", value)

    def items_or_none(self, key: str) -> Iterator["Item"]:
        """Iterate over a list of objects; over none if it is not there.

        Raises:
            RecordsError: there is something else than a list, or an element is not an object.
        """
        return iter(()) if self.get(key) is None else self.items(key)


def read_items(path: Path) -> Iterator[Item]:
    """Read a file's objects.

    Args:
        path: a file of JSON, JSON Lines or a table.

    Raises:
        RecordsError: the file is damaged, or something in it is not an object.
    """
    for place, values in read_objects(path):
        yield Item(path, place, values)


def to_batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Collect rows into batches.

    Args:
        rows: of `Item.row`.

    Raises:
        RecordsError: a value does not fit its column; the message names the file and the row.
    """
    source = iter(rows)
    while block := list(islice(source, BATCH_ROWS)):
        arrays = [_column(block, field) for field in ROWS]
        yield pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def _column(block: list[Mapping[str, Any]], field: pa.Field) -> pa.Array:
    values = [row.get(field.name) for row in block]
    try:
        return pa.array(values, field.type)
    except _UNFIT:
        row = next(row for row, value in zip(block, values, strict=True) if not _fits(value, field.type))
        item: Item = row["item"]
        raise item.error(f"{_KINDS.get(str(field.type), field.type)} for {field.name!r}", row[field.name]) from None


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except _UNFIT:
        return False
    return True


def _shorten(value: object) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text[:80]) if isinstance(value, str) else text[:80]
