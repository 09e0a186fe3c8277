"""Convert columns of any type to numbers, texts or tags, with errors that name the file, the row and the column."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.data.schema import COLUMNS, TEXT
from zooter.errors import RecordsError

NULL_TEXTS = ["", "nan", "null", "none", "na", "n/a"]


def to_column(array: pa.Array, name: str, target: pa.DataType, path: Path, first_row: int) -> pa.Array:
    """Convert a column to a type of the recorded format.

    Args:
        array: as it is in the file; numbers and booleans may be texts, and tags may be one text or a JSON list.
        name: its name in the file, for messages.
        target: TEXT, float64, int64, a list of texts, or any other type that Arrow casts to.
        path: the file, for messages.
        first_row: number of the array's first row in the file, from 1.

    Raises:
        RecordsError: a value does not fit; the message names the first such row.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if target in (pa.float64(), pa.int64()):
        return _numbers(array, name, target, path, first_row)
    if target == COLUMNS["tags"]:
        return _tags(array, name, path, first_row)
    # Ids and names are often whole numbers.
    is_text = _is_text(array.type) or pa.types.is_null(array.type) or pa.types.is_integer(array.type)
    if target == TEXT and not is_text:
        raise _wrong_type(array, "text", name, path, first_row)
    try:
        column = array.cast(target)
        column.validate(full=True)  # a Parquet file may hold text that is not UTF-8
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RecordsError(
            expected=f"{target} in column {name!r} of {path}, at or after row {first_row}",
            found=str(error).splitlines()[0],
            do="correct the column",
        ) from error
    return column


def is_numeric(array: pa.Array) -> bool:
    """Tell whether a column is of numbers or booleans, or of texts that are ones or missing, and not all missing."""
    return _is_number(array.type) or (_is_text(array.type) and not is_empty(array) and _parse_numbers(array)[1] is None)


def is_empty(array: pa.Array) -> bool:
    """Tell whether a column of texts, or of no type, has no value; texts such as NA are none."""
    if pa.types.is_null(array.type):
        return True
    if not _is_text(array.type):
        return False
    values, bad = _parse_numbers(array)
    return bad is None and values.null_count == len(values)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return any(
        check(kind) for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    )


def _wrong_type(array: pa.Array, expected: str, name: str, path: Path, first_row: int) -> RecordsError:
    valid = np.flatnonzero(pc.is_valid(array).to_numpy(zero_copy_only=False))
    row = int(valid[0]) if len(valid) else 0
    return RecordsError(
        expected=f"a {expected} in column {name!r} of {path}",
        found=f"{json.dumps(array[row].as_py(), default=str)[:80]} at row {first_row + row}",
        do="correct the column, or name another one with columns.…=",
    )


def _numbers(array: pa.Array, name: str, target: pa.DataType, path: Path, first_row: int) -> pa.Array:
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    if not (_is_number(array.type) or _is_text(array.type)):
        raise _wrong_type(array, "number", name, path, first_row)
    values, bad = _parse_numbers(array)
    if bad is None:
        numbers = values.to_numpy(zero_copy_only=False)
        refused = np.isinf(numbers) if target == pa.float64() else np.isfinite(numbers) & (numbers % 1 != 0)
        refused |= np.isinf(numbers)
        bad = int(np.flatnonzero(refused)[0]) if refused.any() else None
    if bad is not None:
        expected = "finite number" if target == pa.float64() else "whole number"
        raise _wrong_type(array.slice(bad), expected, name, path, first_row + bad)
    return values.cast(target)


def _parse_numbers(array: pa.Array) -> tuple[pa.Array, int | None]:
    """Convert to float64 with null for NaN; also the index of the first value that is not a number, if there is one."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if not _is_text(array.type):
        values = array.cast(pa.float64())
        return pc.if_else(pc.is_nan(values), None, values), None
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(array.cast(TEXT)))
    texts = pc.if_else(pc.is_in(texts, pa.array(NULL_TEXTS, TEXT)), None, texts)
    texts = pc.if_else(pc.equal(texts, "true"), "1", pc.if_else(pc.equal(texts, "false"), "0", texts))
    try:
        return texts.cast(pa.float64()), None
    except pa.ArrowInvalid:
        return texts, next(i for i, text in enumerate(texts.to_pylist()) if text is not None and not _is_float(text))


def _is_float(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _tags(array: pa.Array, name: str, path: Path, first_row: int) -> pa.Array:
    target = COLUMNS["tags"]
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    if _is_text(array.type):
        return pa.array([_parse_tags(text) for text in array.to_pylist()], target)
    if pa.types.is_integer(array.type):  # the number of a class
        return pa.array([None if value is None else [str(value)] for value in array.to_pylist()], target)
    try:
        return array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _wrong_type(array, "text or list of texts", name, path, first_row) from error


def _parse_tags(text: str | None) -> list[str] | None:
    if text is None or not text.strip():
        return None
    if text.startswith("["):
        try:
            values = json.loads(text)
        except ValueError:
            return [text]
        return [str(value) for value in values]
    return [text]
