"""Read tables with one row per query and one column per model, such as RouterBench's."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.data.column_checks import reject_blank_texts
from zooter.data.formats.columns import is_empty, is_numeric, to_column
from zooter.data.formats.long import ALIASES, column_batches, name_columns, split_of
from zooter.data.formats.protocol import ROWS, Note, Preview
from zooter.data.formats.sources import column_names, list_files
from zooter.data.schema import TEXT
from zooter.errors import ConfigError, RecordsError

RESPONSE_SUFFIX, COST_SUFFIX = "|model_response", "|total_cost"  # RouterBench's
# What describes a query; other columns of numbers are candidates.
QUERY_COLUMNS = ("query", "query_id", "tags", "reference", "split")
OTHER_NUMBERS = {
    "", "id", "idx", "index", "__index_level_0__", "sample_id", "question_id", "row", "seed", "sample", "label",
    "oracle_model_to_route_to", "difficulty", "level", "year", "turn", "length",
}  # fmt: skip


@dataclass(frozen=True)
class Wide:
    """Read a table with a column of rewards per model.

    Attributes:
        columns: query, query_id, tags, reference or split → its name in the file; by default a usual one.
        candidates: the columns of the candidates' rewards; by default those of numbers, or in RouterBench's form those
            that have a column of costs or responses beside them.
    """

    name: ClassVar[str] = "wide"
    columns: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()

    def recognises(self, preview: Preview) -> bool:
        """Tell whether there is a column of queries and two columns of numbers or more."""
        if "query" not in name_columns(QUERY_COLUMNS, self.columns, preview.columns):
            return False
        batch = next(column_batches(preview.file, list(preview.columns)), None)
        return batch is not None and len(self._candidates(preview.columns, batch)) >= 2

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file at the path; see `Format`."""
        unknown = sorted(set(self.columns) - set(QUERY_COLUMNS))
        if unknown:
            raise ConfigError(
                expected=f"columns.NAME with a NAME among {QUERY_COLUMNS}", found=f"{unknown}", do="correct it"
            )
        for file in list_files(path):
            yield from self._read_file(file, split_of(path, file), note)

    def _read_file(self, file: Path, split: str | None, note: Note) -> Iterator[pa.RecordBatch]:
        present = column_names(file)
        names = name_columns(QUERY_COLUMNS, self.columns, present)
        if "query" not in names or not set(self.columns.values()) <= set(present):
            raise RecordsError(
                expected=f"a column of queries in {file}",
                found=f"the columns {present[:30]}",
                do="name it with columns.query=…",
            )
        candidates: list[str] = []
        first_row = 1
        for batch in column_batches(file, present):
            if not candidates:
                candidates = self._checked_candidates(file, present, batch)
                note(f"{file.name}: queries from {names['query']!r}, candidates {candidates}")
                empty = [name for name in present if name not in candidates and is_empty(batch[name])]
                if empty and not self.candidates:
                    note(f"{file.name}: {empty} are empty in the first rows and left out (candidates=… names them)")
            yield _unpivot(batch, names, candidates, file, first_row, split)
            first_row += len(batch)

    def _candidates(self, present: tuple[str, ...] | list[str], batch: pa.RecordBatch) -> list[str]:
        if self.candidates:
            return list(self.candidates)
        paired = [name for name in present if {name + RESPONSE_SUFFIX, name + COST_SUFFIX} & set(present)]
        if paired:
            return paired
        reserved = set(name_columns(QUERY_COLUMNS, self.columns, present).values()) | {
            name for names in ALIASES.values() for name in names
        }
        return [
            name for name in present
            if name not in reserved and name.lower() not in OTHER_NUMBERS and not name.startswith("Unnamed:")
            and is_numeric(batch[name])
        ]  # fmt: skip

    def _checked_candidates(self, file: Path, present: list[str], batch: pa.RecordBatch) -> list[str]:
        candidates = self._candidates(present, batch)
        absent = sorted(set(candidates) - set(present))
        if absent or len(candidates) < 2:
            raise RecordsError(
                expected=f"the candidates' columns {absent} in {file}" if absent
                else f"two columns of numbers or more in {file}, one per candidate",
                found=f"the columns {present[:30]}" if absent else f"{candidates}",
                do="name them with candidates=[A,B,…]",
            )  # fmt: skip
        return candidates


def _unpivot(
    batch: pa.RecordBatch, names: Mapping[str, str], candidates: list[str], file: Path, first_row: int,
    split: str | None,
) -> pa.RecordBatch:  # fmt: skip
    """Turn n queries × m candidates into a row for each cell that has a reward or a response."""
    n, m = len(batch), len(candidates)
    present = batch.schema.names
    row = np.repeat(np.arange(n), m)
    columns: dict[str, pa.Array] = {}
    for ours, theirs in names.items():
        column = to_column(batch[theirs], theirs, ROWS.field(ours).type, file, first_row)
        if ours == "query":
            reject_blank_texts(column, theirs, file, first_row)
            column = _join_messages(column) if _is_router_bench(present) else column
        columns[ours] = column.take(pa.array(row))
    columns["candidate"] = pa.array(candidates, TEXT).take(pa.array(np.tile(np.arange(m), n)))
    for ours, suffix in (("reward", ""), ("response", RESPONSE_SUFFIX), ("cost", COST_SUFFIX)):
        cells = [
            to_column(batch[name + suffix], name + suffix, ROWS.field(ours).type, file, first_row)
            if name + suffix in present
            else pa.nulls(n, ROWS.field(ours).type)
            for name in candidates
        ]
        # Column after column, as they stand; then cell (i, j) is at j·n + i.
        columns[ours] = pa.concat_arrays(cells).take(pa.array(np.tile(np.arange(m), n) * n + row))
    if split is not None and "split" not in columns:
        columns["split"] = pa.array([split] * (n * m), TEXT)
    arrays = [columns.get(column.name, pa.nulls(n * m, column.type)) for column in ROWS]
    rows = pa.RecordBatch.from_arrays(arrays, schema=ROWS)
    return rows.filter(pc.or_(pc.is_valid(rows["reward"]), pc.is_valid(rows["response"])))


def _is_router_bench(names: list[str]) -> bool:
    return any(name.endswith((RESPONSE_SUFFIX, COST_SUFFIX)) for name in names)


def _join_messages(queries: pa.Array) -> pa.Array:
    """Turn RouterBench's prompts, which are lists written as text, into the text of their parts."""
    return pa.array([_join_parts(text) for text in queries.to_pylist()], TEXT)


def _join_parts(text: str) -> str:
    if not (text.startswith("[") and text.endswith("]")):
        return text
    try:
        parts = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return "\n".join(parts) if all(isinstance(part, str) for part in parts) and parts else text
