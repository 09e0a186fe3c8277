"""Parquet and JSON Lines files as a stream of Arrow batches, with errors that name the file and the row.

Arrow reads; only when it refuses a JSON Lines file are its lines walked in Python, to say which one is at fault.
"""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from zooter.data.schema import FIRST_TOKENS
from zooter.errors import RecordsError

BATCH_ROWS = 65_536
JSON_BLOCK_BYTES = 64 * 2**20  # one line has to fit; a recorded response of a few megabytes does
OBJECTS_WITH_ALL_COLUMNS = 100
LARGEST = sys.float_info.max
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def data_files(path: Path) -> list[Path]:
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
    inside = sorted(p for p in path.iterdir() if _is_data(p) and p.is_file()) if path.is_dir() else [path]
    if not inside or not all(map(_is_data, inside)):
        raise RecordsError(
            expected="files that end in .parquet, .jsonl or .ndjson",
            found=f"{path}" if path.is_file() else f"no such file in {path}",
            do="convert the table or rename the file",
        )
    return inside


def column_names(path: Path) -> list[str]:
    """The names of the columns of one file; of its first objects for JSON Lines, which may leave nulls out."""
    if path.suffix == ".parquet":
        return list(_open_parquet(path).schema_arrow.names)
    objects = [_parse_line(path, number, line) for number, line in islice(_lines(path), OBJECTS_WITH_ALL_COLUMNS)]
    if not objects:
        raise RecordsError(expected=f"at least one row in {path}", found="an empty file", do="give a file with rows")
    return list(dict.fromkeys(name for found in objects for name in found))


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
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
    names = source.schema_arrow.names
    present = [name for name in schema.names if name in names]
    repeated = [name for name in present if names.count(name) > 1]
    if repeated:
        raise RecordsError(
            expected=f"every column once in {path}", found=f"{repeated} twice", do="remove or rename one"
        )
    row = 1
    stream = source.iter_batches(batch_size=BATCH_ROWS, columns=present)
    while True:
        try:
            batch = next(stream, None)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path, error) from error
        if batch is None:
            return
        yield _cast_batch(batch, schema, path, row)
        row += len(batch)


def _cast_batch(batch: pa.RecordBatch, schema: pa.Schema, path: Path, row: int) -> pa.RecordBatch:
    present = batch.schema.names
    arrays = [
        _cast(batch[field.name], field, path, row) if field.name in present else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: pa.Array, field: pa.Field, path: Path, first_row: int) -> pa.Array:
    if _same_kind(array.type, field.type):
        try:
            cast = array.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _wrong_type(path, f"at or after row {first_row}", field, str(array.type)) from error
        try:
            cast.validate(full=True)  # Parquet does not promise that its texts are UTF-8
        except pa.ArrowInvalid as error:
            raise RecordsError(
                expected=f"UTF-8 in column {field.name!r} of {path}",
                found=f"{error} counted from row {first_row}",
                do="write the file as UTF-8",
            ) from error
        return cast
    raise _wrong_type(path, f"at or after row {first_row}", field, str(array.type))


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast keeps the meaning: Arrow would also turn numbers into text, texts and truths into numbers."""
    if pa.types.is_dictionary(found):
        return _same_kind(found.value_type, wanted)
    if pa.types.is_null(found):
        return True
    if pa.types.is_list(wanted):
        return hasattr(found, "value_type") and _same_kind(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(found) and all(
            found.get_field_index(part.name) >= 0 and _same_kind(found.field(part.name).type, part.type)
            for part in wanted
        )
    if pa.types.is_large_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    return pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)


def _wrong_type(path: Path, where: str, field: pa.Field, found: str) -> RecordsError:
    return RecordsError(
        expected=f"{_KINDS[str(field.type)]} in column {field.name!r} of {path}",
        found=f"{found} {where}",
        do="correct the column's type",
    )


def _json_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    row = 1
    try:
        # Arrow's JSON reader does not check that a file is UTF-8; decoding it on the way in does.
        with pa.OSFile(str(path)) as file:
            for batch in _open_json(pa.transcoding_input_stream(file, "utf-8-sig", "utf-8"), schema):
                yield _cast_batch(batch, schema, path, row)
                row += len(batch)
    except RecordsError:
        _name_the_line(path, schema)
        raise
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        _name_the_line(path, schema)
        raise RecordsError(
            expected=f"JSON Lines at {path}", found=str(error).splitlines()[0], do="correct the file"
        ) from error


def _open_json(source: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    # Whole numbers are read as numbers, for pandas writes 1 as 1.0; casting them refuses 1.5.
    kinds = [(f.name, pa.float64() if pa.types.is_integer(f.type) else f.type) for f in schema]
    parse = pj.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    return iter(pj.open_json(source, pj.ReadOptions(block_size=JSON_BLOCK_BYTES), parse))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank with their numbers."""
    try:
        with path.open("rb") as lines:
            yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    except OSError as error:
        raise RecordsError(
            expected=f"a file to read at {path}", found=str(error), do="check its permissions"
        ) from error


def _name_the_line(path: Path, schema: pa.Schema) -> None:
    for number, line in _lines(path):
        found = _parse_line(path, number, line)
        for field in schema:
            value = found.get(field.name)
            if value is not None and not _fits(value, field.type):
                raise _wrong_type(path, f"in line {number}", field, json.dumps(value)[:60])
        if len(line) > JSON_BLOCK_BYTES:
            raise RecordsError(
                expected=f"lines of at most {JSON_BLOCK_BYTES:,} bytes in {path}",
                found=f"{len(line):,} bytes in line {number}",
                do="shorten it or write Parquet",
            )
    # What only Arrow objects to, such as a key given twice, is found by giving it few lines, and then each alone.
    lines = _lines(path)
    while block := list(islice(lines, 1_000)):
        if _objection(b"".join(line for _, line in block), schema):
            for number, line in block:
                if objection := _objection(line, schema):
                    raise _not_json(path, number, objection)


def _objection(lines: bytes, schema: pa.Schema) -> str:
    try:
        for _ in _open_json(pa.BufferReader(lines), schema):
            pass
    except pa.ArrowInvalid as error:
        return str(error).removesuffix(" in row 0")
    return ""


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecordsError(
            expected=f"UTF-8 in {path}, line {number}", found=str(error), do="write the file as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(path, number, str(error)) from error
    if not isinstance(found, dict):
        raise _not_json(path, number, type(found).__name__)
    return found


def _not_json(path: Path, number: int, found: str) -> RecordsError:
    return RecordsError(
        expected=f"a JSON object in {path}, line {number}", found=found, do="correct or remove that line"
    )


_KINDS = {
    "large_string": "text",
    "double": "a finite number",
    "int64": "a whole number",
    "list<item: large_string>": "a list of texts",
    str(FIRST_TOKENS): "a list of objects with a text `token` and a finite number `logprob`",
}


def _fits(value: object, kind: pa.DataType) -> bool:
    if pa.types.is_large_string(kind):
        return isinstance(value, str)
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(item is None or _fits(item, kind.value_type) for item in value)
    if pa.types.is_struct(kind):
        return isinstance(value, dict) and all(_fits(value.get(part.name), part.type) for part in kind)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**63 and value == int(value) if pa.types.is_integer(kind) else abs(value) <= LARGEST
