"""Files of any supported kind, whole or compressed, as a stream of objects: JSON, JSON Lines, CSV, Parquet, Arrow."""

import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from zooter.errors import RecordsError

KINDS = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "tsv", ".feather": "arrow", ".arrow": "arrow",
    ".jsonl": "json lines", ".ndjson": "json lines", ".json": "json", ".eval": "archive",
}  # fmt: skip
COMPRESSIONS = (".gz", ".zst")
# Written by Hugging Face `save_to_disk` beside the data.
_HUGGING_FACE_FILES = ("dataset_info.json", "state.json", "dataset_dict.json")
BATCH_ROWS = 8_192
CSV_BLOCK_BYTES = 4 * 2**20  # a row has to fit; memory is some twenty blocks
CHUNK_CHARACTERS = 2**20
MAX_OBJECT_CHARACTERS = 256 * 2**20  # of one element of a JSON array


def kind(path: Path) -> str | None:
    """Classify a file by its suffix, without that of a compression.

    Args:
        path: a file that need not exist.

    Returns:
        A value of `KINDS`; None for another suffix.
    """
    return KINDS.get(path.with_suffix("").suffix if path.suffix in COMPRESSIONS else path.suffix)


def list_files(path: Path) -> list[Path]:
    """List the data files at a path.

    Args:
        path: a file, or a folder, which is searched with its sub-folders; hidden files are left out.

    Returns:
        The files in order of their paths.

    Raises:
        RecordsError: nothing is there, or no file of a supported kind.
    """
    if not path.exists():
        raise RecordsError(
            expected=f"a file or folder of evaluations at {path}",
            found="nothing there",
            do="check the path (relative paths start at the current folder; hf:ORG/NAME is a data set of the hub)",
        )
    candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
    hidden = [p for p in candidates if any(part.startswith(".") for part in p.relative_to(path).parts)]
    files = [p for p in candidates if kind(p) and p.is_file() and p.name not in _HUGGING_FACE_FILES and p not in hidden]
    if not files:
        raise RecordsError(
            expected=f"a file that ends in {', '.join(KINDS)} (also with {' or '.join(COMPRESSIONS)})",
            found=f"{path}" if path.is_file() else f"no such file in {path}",
            do="write the table as CSV, JSON Lines or Parquet (in pandas: frame.to_parquet), or rename the file",
        )
    return files


def damaged(path: Path, reason: object, where: str = "") -> RecordsError:
    """Describe a file that cannot be read to its end.

    Args:
        path: the file.
        reason: an exception or text; its first line is shown.
        where: the place in the file, such as "line 3".

    Returns:
        The error, to be raised by the caller.
    """
    first_line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return RecordsError(
        expected=f"a whole {kind(path) or 'data'} file at {path}" + (f", {where}" if where else ""),
        found=first_line[:300],
        do="write or copy it again, or correct that place",
    )


def open_stream(path: Path) -> pa.NativeFile:
    """Open a file for reading, decompressed where its suffix says that it is compressed.

    Raises:
        RecordsError: it cannot be opened.
    """
    try:
        return pa.input_stream(str(path), compression="detect")
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error


def read_tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a Parquet, CSV, TSV, Feather or Arrow file in batches; the columns of a CSV file are texts.

    Args:
        path: the file.
        columns: the columns to read; None reads all.

    Raises:
        RecordsError: the file is damaged.
    """
    batches = _table_batches(path, columns)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise damaged(path, error) from error
        if batch is None:
            return
        yield batch if columns is None else batch.select(columns)


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a file of any kind as objects, one at a time.

    Args:
        path: a file, compressed or not.

    Yields:
        The place in the file, such as "line 3", and the object: a line of JSON Lines, an element of a JSON array, the
        whole of another JSON file, or a row of a table.

    Raises:
        RecordsError: the file is damaged, or something in it is not a JSON object.
    """
    if kind(path) in ("json", "json lines"):
        for place, value in _json_values(path):
            if not isinstance(value, dict):
                raise damaged(path, f"{type(value).__name__} instead of a JSON object", place)
            yield place, value
        return
    number = 0
    for batch in read_tables(path):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


def column_names(path: Path) -> list[str]:
    """List a file's columns, or the keys of its first 100 objects.

    Args:
        path: a file, compressed or not.

    Raises:
        RecordsError: the file is damaged, has no row, or has two columns of one name.
    """
    names = _column_names(path)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RecordsError(
            expected=f"every column once in {path}", found=f"{repeated} twice", do="remove or rename one"
        )
    return names


def _column_names(path: Path) -> list[str]:
    if kind(path) in ("json", "json lines"):
        rows = [row for _, (_, row) in zip(range(100), read_objects(path), strict=False)]
        if not rows:
            raise damaged(path, "an empty file")
        return list(dict.fromkeys(name for row in rows for name in row))
    if kind(path) == "parquet":
        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error
    for batch in read_tables(path):
        return list(batch.schema.names)
    raise damaged(path, "an empty file")


def _table_batches(path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    match kind(path):
        case "parquet":
            yield from pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=columns)
        case "csv" | "tsv" as name:
            yield from _csv_batches(path, "," if name == "csv" else "\t")
        case _:
            yield from _arrow_batches(path)


def _csv_batches(path: Path, delimiter: str) -> Iterator[pa.RecordBatch]:
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with open_stream(path) as source:
        # The first block only names the columns: types that Arrow guesses there may be wrong later on.
        names = pacsv.open_csv(source, pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False), parse).schema
    with open_stream(path) as source:
        convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names.names, pa.large_string()))
        options = pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)
        for batch in pacsv.open_csv(source, options, parse, convert):
            for start in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with open_stream(path) as source:
        is_file = source.read(6) == b"ARROW1"
    if is_file and path.suffix not in COMPRESSIONS:
        with pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield from _slices(reader.get_batch(i))
        return
    with open_stream(path) as source:
        for batch in pa.ipc.open_stream(source):
            yield from _slices(batch)


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(batch), BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _json_values(path: Path) -> Iterator[tuple[str, Any]]:
    with TextIOWrapper(open_stream(path), encoding="utf-8-sig") as text:
        try:
            if kind(path) == "json":
                yield from _documents(path, text)
                return
            empty = True
            for number, line in enumerate(text, start=1):
                if line.strip():
                    empty = False
                    yield f"line {number}", _parse(path, line, f"line {number}")
            if empty:
                raise damaged(path, "an empty file")
        except UnicodeDecodeError as error:
            raise damaged(path, f"not UTF-8: {error}") from error
        except (OSError, EOFError, pa.ArrowException) as error:
            raise damaged(path, error) from error


def _parse(path: Path, text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, place) from error


def _documents(path: Path, text: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield a JSON array's elements one at a time, or the objects that follow each other in the file."""
    decoder = json.JSONDecoder()
    buffer = text.read(CHUNK_CHARACTERS).lstrip()
    is_array, number = buffer.startswith("["), 0
    position = int(is_array)
    while True:
        position = _skip_separators(buffer, position)
        if is_array and buffer[position : position + 1] == "]":
            return
        try:
            value, position = decoder.raw_decode(buffer, position)
        except (ValueError, RecursionError) as error:
            more = text.read(max(CHUNK_CHARACTERS, len(buffer) - position))  # doubles, so that a long object is cheap
            buffer, position = buffer[position:] + more, 0
            if more and len(buffer) <= MAX_OBJECT_CHARACTERS:
                continue
            if not buffer and not is_array and number:
                return
            raise damaged(path, error if buffer else "the file ends here", f"row {number + 1}") from error
        number += 1
        yield f"row {number}", value


def _skip_separators(buffer: str, position: int) -> int:
    while buffer[position : position + 1] in (" ", "\t", "\r", "\n", ","):
        position += 1
    return position
