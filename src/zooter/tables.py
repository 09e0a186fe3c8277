"""Parquet and JSON Lines files as a stream of Arrow batches, with errors that name the file and the row.

Arrow reads; only when it refuses a JSON Lines file are its lines walked in Python, to say which one is at fault.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from zooter.errors import RecordsError

BATCH_ROWS = 65_536
JSON_BLOCK_BYTES = 64 * 2**20  # one line has to fit; a recorded response of a few megabytes does
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def files(path: Path) -> list[Path]:
    """The data files that `path` stands for: itself, or those directly inside it in the order of their names.

    Raises:
        RecordsError: nothing is there, or nothing that can be read.
    """
    if not path.exists():
        raise RecordsError(
            expected=f"a Parquet or JSON Lines file, or a folder of them, at {path}",
            found="nothing there",
            do="check the path (relative paths start at the current folder)",
        )
    inside = sorted(p for p in path.iterdir() if _is_data(p)) if path.is_dir() else [path]
    if not inside or not all(map(_is_data, inside)):
        raise RecordsError(
            expected="files that end in .parquet, .jsonl or .ndjson",
            found=f"{path}" if path.is_file() else f"no such file in {path}",
            do="convert the table or rename the file",
        )
    return inside


def columns(path: Path) -> list[str]:
    """The names of the columns of one file; of its first object for JSON Lines."""
    if path.suffix == ".parquet":
        return list(_open_parquet(path).schema_arrow.names)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                return list(_parse_line(path, number, line))
    raise RecordsError(expected=f"at least one row in {path}", found="an empty file", do="give a file with rows")


def batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches of one file with exactly the columns of `schema`; a column that the file lacks is all null.

    Raises:
        RecordsError: the file is damaged, or a value does not have its column's type.
    """
    if path.suffix == ".parquet":
        yield from _parquet_batches(path, schema)
    else:
        yield from _json_batches(path, schema)


def _is_data(path: Path) -> bool:
    return path.suffix == ".parquet" or path.suffix in JSON_SUFFIXES


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RecordsError:
    return RecordsError(
        expected=f"a whole Parquet file at {path}",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        do="write or copy it again",
    )


def _parquet_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    source = _open_parquet(path)
    present = [name for name in schema.names if name in source.schema_arrow.names]
    row = 1
    stream = source.iter_batches(batch_size=BATCH_ROWS, columns=present)
    while True:
        try:
            batch = next(stream, None)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path, error) from error
        if batch is None:
            return
        arrays = [
            _cast(batch[field.name], field, path, row) if field.name in present else pa.nulls(len(batch), field.type)
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        row += len(batch)


def _cast(array: pa.Array, field: pa.Field, path: Path, first_row: int) -> pa.Array:
    wants_text = pa.types.is_large_string(field.type)
    wants_number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    # Arrow would turn numbers into text, and text that looks like a number into one; neither is what the owner meant.
    if not (wants_text and not is_text and not pa.types.is_dictionary(array.type)) and not (wants_number and is_text):
        try:
            return array.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    elif pa.types.is_null(array.type):
        return pa.nulls(len(array), field.type)
    raise _wrong_type(path, first_row, field, str(array.type))


def _wrong_type(path: Path, row: int, field: pa.Field, found: str) -> RecordsError:
    return RecordsError(
        expected=f"{_KINDS[str(field.type)]} in column {field.name!r} of {path}",
        found=f"{found} at or after row {row}",
        do="correct the column's type",
    )


def _json_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    read = pj.ReadOptions(block_size=JSON_BLOCK_BYTES)
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        with pj.open_json(path, read_options=read, parse_options=parse) as reader:
            for batch in reader:
                batch.validate(full=True)
                yield batch.select(schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        _name_the_line(path, schema)
        raise RecordsError(
            expected=f"JSON Lines at {path}", found=str(error).splitlines()[0], do="correct the file"
        ) from error


def _name_the_line(path: Path, schema: pa.Schema) -> None:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            found = _parse_line(path, number, line)
            for field in schema:
                value = found.get(field.name)
                if value is not None and not _fits(value, field.type):
                    raise _wrong_type(path, number, field, f"{json.dumps(value)[:60]}")


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordsError(
            expected=f"UTF-8 in {path}, row {number}", found=str(error), do="write the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise RecordsError(
            expected=f"a JSON object in {path}, row {number}", found=str(error), do="correct or remove that line"
        ) from error
    if not isinstance(found, dict):
        raise RecordsError(
            expected=f"a JSON object in {path}, row {number}",
            found=type(found).__name__,
            do="write one object a line",
        )
    return found


_KINDS = {
    "large_string": "text",
    "double": "a finite number",
    "int64": "a whole number",
    "list<item: large_string>": "a list of texts",
}


def _fits(value: object, kind: pa.DataType) -> bool:
    if pa.types.is_large_string(kind):
        return isinstance(value, str)
    if pa.types.is_integer(kind):
        return isinstance(value, int)
    if pa.types.is_floating(kind):
        return isinstance(value, int | float) and abs(value) <= 1.7976931348623157e308
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
