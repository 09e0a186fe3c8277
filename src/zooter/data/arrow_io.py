"""Read Parquet and JSON Lines files as a stream of Arrow batches, with errors that name the file and the row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zooter.data import json_lines
from zooter.data.arrow_cast import cast_batch
from zooter.data.remote import is_remote
from zooter.data.schema import REFERENCE_LISTS
from zooter.errors import RecordsError

BATCH_ROWS = 65_536
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def data_files(path: Path) -> list[Path]:
    """List the data files of a table.

    Args:
        path: a Parquet or JSON Lines file, or a folder of them; sub-folders are not searched.

    Returns:
        The file itself, or the folder's data files in order of their names.

    Raises:
        RecordsError: the path does not exist, or there is no file of a supported format.
    """
    if not path.exists():
        raise RecordsError(
            expected=f"a Parquet or JSON Lines file, or a folder of them, at {path}",
            found="nothing there",
            do="check the path (relative paths start at the current folder)",
        )
    files = sorted(p for p in path.iterdir() if _is_data(p) and p.is_file()) if path.is_dir() else [path]
    if not files or not all(map(_is_data, files)):
        raise RecordsError(
            expected="files that end in .parquet, .jsonl or .ndjson",
            found=f"{path}" if path.is_file() else f"no such file in {path}",
            do="turn it into a recorded table: zooter import auto PATH (docs/import.md)",
        )
    return files


def column_names(path: Path) -> list[str]:
    """List the columns of a file.

    Args:
        path: a Parquet file, or a JSON Lines file, whose first objects are inspected.

    Raises:
        RecordsError: the file is damaged, or is a JSON Lines file without a row.
    """
    if path.suffix == ".parquet":
        return list(_open_parquet(path).schema_arrow.names)
    return json_lines.column_names(path)


def read_batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Read a file in batches with exactly the columns of a schema.

    Args:
        path: a Parquet or JSON Lines file.
        schema: the columns; others are ignored, and a column that the file lacks is null. The column `reference` is a
            list of texts in the batches if it is one in the file.

    Yields:
        Batches in the order of the file.

    Raises:
        RecordsError: the file is damaged, or a value does not have its column's type.
    """
    if "reference" in schema.names and _has_reference_lists(path):
        schema = schema.set(schema.get_field_index("reference"), pa.field("reference", REFERENCE_LISTS))
    if path.suffix == ".parquet":
        yield from _parquet_batches(path, schema)
    else:
        yield from json_lines.read_batches(path, schema)


def _has_reference_lists(path: Path) -> bool:
    """Return whether the column `reference` holds lists; of JSON Lines, the first objects tell."""
    if path.suffix != ".parquet":
        return json_lines.holds_lists(path, "reference")
    present = _open_parquet(path).schema_arrow
    return "reference" in present.names and hasattr(present.types[present.names.index("reference")], "value_field")


def _is_data(path: Path) -> bool:
    return path.suffix == ".parquet" or path.suffix in JSON_SUFFIXES


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path.open("rb") if is_remote(path) else path)
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
    first_row = 1
    stream = source.iter_batches(batch_size=BATCH_ROWS, columns=present)
    while True:
        try:
            batch = next(stream, None)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(path, error) from error
        if batch is None:
            return
        yield cast_batch(batch, schema, path, first_row)
        first_row += len(batch)
