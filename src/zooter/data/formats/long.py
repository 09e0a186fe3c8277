"""Tables with one row per response: zooter's own recorded format, and others with the same columns by other names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from zooter.data.column_checks import reject_blank_texts
from zooter.data.formats.columns import to_column
from zooter.data.formats.protocol import ROWS, Note, Preview
from zooter.data.formats.sources import column_names, kind, list_files, read_objects, read_tables
from zooter.errors import ConfigError, RecordsError

OBJECT_ROWS = 8_192  # rows of a JSON file that become one batch
# Names by which a column is recognised, the best first.
ALIASES = {
    "query": ("query", "prompt", "question", "instruction", "input"),
    "candidate": ("candidate", "model", "model_name", "model_id"),
    "reward": ("reward", "score"),
    "response": ("response", "output", "completion", "answer"),
    "tags": ("tags", "tag", "category", "task", "subject", "eval_name"),
}


@dataclass(frozen=True)
class Long:
    """Read a table with one row per response, from Parquet, CSV, TSV, Feather, Arrow or JSON.

    Attributes:
        columns: recorded column → its name in the file, such as {query: question}; a column that is left out goes by
            its own name or a usual one (`ALIASES`).
    """

    name: ClassVar[str] = "long"
    columns: Mapping[str, str] = field(default_factory=dict)

    def recognises(self, preview: Preview) -> bool:
        """Tell whether there are columns for query, candidate, and a reward or response."""
        names = name_columns(ROWS.names, self.columns, preview.columns)
        return {"query", "candidate"} <= names.keys() and bool({"reward", "response"} & names.keys())

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file at the path; see `Format`."""
        unknown = sorted(set(self.columns) - set(ROWS.names))
        if unknown:
            raise ConfigError(
                expected=f"columns.NAME with a NAME among {ROWS.names}", found=f"{unknown}", do="correct it"
            )
        for file in list_files(path):
            names = self._required_names(file)
            renamed = {ours: theirs for ours, theirs in names.items() if ours != theirs}
            if renamed:
                note(
                    f"{file.name}: " + ", ".join(f"{ours} is read from {theirs!r}" for ours, theirs in renamed.items())
                )
            if "reward" not in names:
                note(f"{file.name} has no column for rewards; its responses are to be rewarded")
            first_row = 1
            for batch in column_batches(file, list(dict.fromkeys(names.values()))):
                yield _rows(batch, names, file, first_row, split_of(path, file))
                first_row += len(batch)

    def _required_names(self, file: Path) -> dict[str, str]:
        present = column_names(file)
        names = name_columns(ROWS.names, self.columns, present)
        absent = sorted(set(self.columns.values()) - set(present))
        lacking = [name for name in ("query", "candidate") if name not in names]
        if not {"reward", "response"} & names.keys():
            lacking.append("reward")
        if absent or lacking:
            raise RecordsError(
                expected=f"columns for {absent or lacking} in {file}",
                found=f"the columns {present[:30]}",
                do="name them, as in columns.query=question columns.candidate=model columns.reward=score",
            )
        return names


def name_columns(columns: Sequence[str], given: Mapping[str, str], present: Sequence[str]) -> dict[str, str]:
    """Find the file's column that each recorded column is read from.

    Args:
        columns: recorded columns.
        given: recorded column → its name in the file, as the user named it.
        present: the file's columns.

    Returns:
        Recorded column → its name in the file: the given one, or the first usual one; absent ones are left out.
    """
    names: dict[str, str] = {}
    for ours in columns:
        choices = (given[ours],) if ours in given else ALIASES.get(ours, (ours,))
        theirs = next((name for name in choices if name in present), None)
        if theirs is not None:
            names[ours] = theirs
    return names


def column_batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of a table of any kind in batches; values keep the types that they have in the file.

    Args:
        file: Parquet, Arrow, CSV, TSV, JSON or JSON Lines, compressed or not.
        columns: names of columns that the file has.

    Raises:
        RecordsError: the file is damaged, or values of a JSON column are of types that do not go together.
    """
    if kind(file) not in ("json", "json lines"):
        yield from read_tables(file, columns)
        return
    block: list[dict[str, object]] = []
    first_row = 1
    for _, row in read_objects(file):
        block.append(row)
        if len(block) == OBJECT_ROWS:
            yield _object_batch(block, columns, file, first_row)
            first_row += len(block)
            block = []
    if block:
        yield _object_batch(block, columns, file, first_row)


def split_of(path: Path, file: Path) -> str | None:
    """Name the part of a split that a file belongs to: its folder in a saved Hugging Face DatasetDict, else None.

    Args:
        path: the imported file or folder.
        file: a data file in it.
    """
    if path.is_dir() and (path / "dataset_dict.json").exists():
        return file.relative_to(path).parts[0]
    return None


def _object_batch(rows: list[dict[str, object]], columns: list[str], file: Path, first_row: int) -> pa.RecordBatch:
    arrays = []
    for name in columns:
        values = [row.get(name) for row in rows]
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            row = _first_unlike(values)
            raise RecordsError(
                expected=f"values of one type in column {name!r} of {file}",
                found=f"{json.dumps(values[row])[:80]} at row {first_row + row}",
                do="correct it",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, columns)


def _first_unlike(values: list[object]) -> int:
    """Index of the first value that does not go with those before it."""
    good, bad = 0, len(values)  # the first `good` values go together, the first `bad` do not
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            pa.array(values[:middle])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            bad = middle
        else:
            good = middle
    return bad - 1


def _rows(
    batch: pa.RecordBatch, names: Mapping[str, str], file: Path, first_row: int, split: str | None
) -> pa.RecordBatch:
    arrays = [
        to_column(batch[names[column.name]], names[column.name], column.type, file, first_row)
        if column.name in names
        else pa.nulls(len(batch), column.type)
        for column in ROWS
    ]
    if split is not None and "split" not in names:
        arrays[-1] = pa.array([split] * len(batch), ROWS.field("split").type)
    rows = pa.RecordBatch.from_arrays(arrays, schema=ROWS)
    for name in ("query", "candidate"):
        reject_blank_texts(rows[name], names[name], file, first_row)
    return rows
