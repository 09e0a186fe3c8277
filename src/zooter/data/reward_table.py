"""The public file format: one row per recorded response, read into the nouns that training needs.

Columns: `query`, `candidate` (text, required), `reward` (number, null = none), and optionally `response`, `sample`,
`tags`, `truth`, `reference`, `margin`, `first_tokens`, `input_tokens`, `output_tokens`, `cost`, `split`, `query_id`;
`data/README.md` says what each means. Files are streamed: what stays in memory is one text per distinct query and a few
numbers per row.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from zooter.data import arrow_io
from zooter.data.pool import Pool
from zooter.data.schema import schema
from zooter.data.types import Floats, Ints, Rewards, Tags, query_id
from zooter.errors import RecordsError

log = logging.getLogger(__name__)

SCHEMA = schema("query", "candidate", "reward", "truth", "sample", "tags", "query_id")
REQUIRED = ("query", "candidate", "reward")
QUERIES = schema("query", "query_id")


@dataclass(frozen=True)
class Samples:
    """Every recorded row, before averaging: arrays of equal length.

    Attributes:
        query, candidate: row and column of the cell in `Rewards`.
        sample: the sample number inside its cell.
        reward: NaN where none was given.
    """

    query: Ints
    candidate: Ints
    sample: Ints
    reward: Floats


@dataclass(frozen=True)
class RewardTable:
    """A recorded table, one row per distinct query text, in order of first appearance.

    Attributes:
        queries, query_ids: n texts and their ids.
        pool: the m candidates, in alphabetical order unless given.
        rewards: (n, m), the mean over a cell's samples.
        truth: (n, m) the same of the column `truth`, which methods are measured by; None when the table has none.
        tags: (n, t); t = 0 when the table has none.
        samples: all rows that have a query in `queries`.
        dropped: how many queries had no reward at all and were left out.
    """

    queries: list[str]
    query_ids: list[str]
    pool: Pool
    rewards: Rewards
    truth: Rewards | None
    tags: Tags
    samples: Samples
    dropped: int


def read(path: Path, prices: Mapping[str, float] | None = None) -> RewardTable:
    """Read a recorded table from one Parquet or JSON Lines file, or from a folder of them.

    Raises:
        RecordsError: a column is missing or of the wrong type, a value cannot be used, or fewer than two candidates
            have rewards.
        ConfigError: `prices` names a candidate that the table does not have.
    """
    rows = _TableBuilder()
    for file in arrow_io.data_files(path):
        require_columns(file, REQUIRED)
        first_row = 1
        for batch in arrow_io.read_batches(file, SCHEMA):
            rows.add(batch, file, first_row)
            first_row += len(batch)
    return rows.to_records(path, prices)


def read_queries(path: Path) -> tuple[list[str], list[str]]:
    """Texts and ids of a file that has a `query` column; ids default to the hash of the text.

    Raises:
        RecordsError: the file cannot be read, has no such column, or a text is empty.
    """
    texts: list[str] = []
    ids: list[str] = []
    for file in arrow_io.data_files(path):
        require_columns(file, ("query",))
        first_row = 1
        for batch in arrow_io.read_batches(file, QUERIES):
            refuse_blank(batch["query"], "query", file, first_row)
            found = batch["query"].to_pylist()
            texts += found
            ids += [given or query_id(text) for given, text in zip(batch["query_id"].to_pylist(), found, strict=True)]
            first_row += len(batch)
    return texts, ids


@dataclass
class _TableBuilder:
    """What has been read so far, in codes: a query's or candidate's code is its order of first appearance."""

    queries: list[str] = field(default_factory=list)
    query_ids: list[str] = field(default_factory=list)
    code_of_query: dict[bytes, int] = field(default_factory=dict)
    code_of_candidate: dict[str, int] = field(default_factory=dict)
    code_of_tag: dict[str, int] = field(default_factory=dict)
    # One array per batch: query, candidate, sample, reward, truth; and the (query, tag) pairs.
    cells: list[tuple[Ints, Ints, Ints, Floats, Floats]] = field(default_factory=list)
    tag_pairs: list[tuple[Ints, Ints]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch, file: Path, first_row: int) -> None:
        for name in ("query", "candidate"):
            refuse_blank(batch[name], name, file, first_row)
        reward, truth = (_finite(batch[name], name, file, first_row) for name in ("reward", "truth"))
        query = self._query_codes(batch)
        candidate = _codes(batch["candidate"], self.code_of_candidate)
        sample = pc.fill_null(batch["sample"], 0).to_numpy(zero_copy_only=False)
        self.cells.append((query, candidate, sample, reward, truth))
        tags = batch["tags"]
        if tags.null_count < len(tags):
            of_row = query[pc.list_parent_indices(tags).to_numpy()]
            names = pc.list_flatten(tags)
            if names.null_count:
                row = first_row + int(pc.list_parent_indices(tags)[pc.index(pc.is_null(names), True).as_py()].as_py())
                raise RecordsError(
                    expected=f"tags that are texts in {file}", found=f"null at row {row}", do="remove it"
                )
            self.tag_pairs.append((of_row, _codes(names, self.code_of_tag)))

    def _query_codes(self, batch: pa.RecordBatch) -> Ints:
        encoded = batch["query"].dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        _, first_rows = np.unique(indices, return_index=True)
        codes = np.empty(len(encoded.dictionary), dtype=np.int64)
        for position, (text, row) in enumerate(zip(encoded.dictionary.to_pylist(), first_rows, strict=True)):
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            code = self.code_of_query.setdefault(key, len(self.queries))
            if code == len(self.queries):
                self.queries.append(text)
                self.query_ids.append(batch["query_id"][int(row)].as_py() or key.hex())
            codes[position] = code
        return codes[indices]

    def to_records(self, path: Path, prices: Mapping[str, float] | None) -> RewardTable:
        if not self.cells:
            raise RecordsError(expected=f"at least one row in {path}", found="none", do="give a table with rows")
        query, candidate, sample, reward, truth = (np.concatenate(arrays) for arrays in zip(*self.cells, strict=True))
        self.cells.clear()
        names = sorted(self.code_of_candidate)
        column = np.empty(len(names), dtype=np.int64)
        for j, name in enumerate(names):
            column[self.code_of_candidate[name]] = j
        candidate = column[candidate]
        values = _cell_means(query, candidate, reward, (len(self.queries), len(names)))
        truths = _cell_means(query, candidate, truth, values.shape)
        _refuse_unusable(values, names, path)
        kept: NDArray[np.bool_] = np.asarray(~np.isnan(values).all(axis=1))
        dropped = int((~kept).sum())
        if dropped:
            log.warning("%d of %d queries have no reward at all and are left out", dropped, len(kept))
        row_of = np.cumsum(kept) - 1
        of_kept = kept[query]
        return RewardTable(
            queries=[text for text, keep in zip(self.queries, kept, strict=True) if keep],
            query_ids=[name for name, keep in zip(self.query_ids, kept, strict=True) if keep],
            pool=Pool.of(names, prices),
            rewards=Rewards(values[kept], tuple(names)),
            truth=Rewards(truths[kept], tuple(names)) if np.isfinite(truths).any() else None,
            tags=self._tags(kept),
            samples=Samples(row_of[query[of_kept]], candidate[of_kept], sample[of_kept], reward[of_kept]),
            dropped=dropped,
        )

    def _tags(self, kept: NDArray[np.bool_]) -> Tags:
        names = tuple(self.code_of_tag)
        if not names:
            return Tags.none(int(kept.sum()))
        of_row, code = (np.concatenate(arrays) for arrays in zip(*self.tag_pairs, strict=True))
        membership = sp.coo_array((np.ones(len(code)), (of_row, code)), shape=(len(kept), len(names))).tocsr()
        membership.data[:] = 1.0  # every row of a query repeats its tags; converting has added the repeats up
        order = np.argsort(names)
        return Tags(membership[kept][:, order], tuple(names[j] for j in order))


def _finite(values: pa.Array, name: str, file: Path, first_row: int) -> Floats:
    """The numbers, NaN where null; infinite ones are refused."""
    found: Floats = values.to_numpy(zero_copy_only=False)
    infinite = np.flatnonzero(np.isinf(found))
    if len(infinite):
        raise RecordsError(
            expected=f"finite {name}s in {file}",
            found=f"{found[infinite[0]]} at row {first_row + int(infinite[0])}",
            do=f"write null where there is no {name}",
        )
    return found


def _cell_means(query: Ints, candidate: Ints, reward: Floats, shape: tuple[int, int]) -> Floats:
    has = ~np.isnan(reward)
    cell = query[has] * shape[1] + candidate[has]
    size = shape[0] * shape[1]
    counts = np.bincount(cell, minlength=size)
    totals = np.bincount(cell, weights=reward[has], minlength=size)
    return np.divide(totals, counts, out=np.full(size, np.nan), where=counts > 0).reshape(shape)


def _codes(values: pa.Array, code_of: dict[str, int]) -> Ints:
    """Codes of the values, giving new values the next free ones."""
    encoded = values.dictionary_encode()
    codes = np.array([code_of.setdefault(v, len(code_of)) for v in encoded.dictionary.to_pylist()], dtype=np.int64)
    return codes[encoded.indices.to_numpy(zero_copy_only=False)]


def require_columns(file: Path, names: Sequence[str]) -> None:
    """Refuse a file without these columns, with a RecordsError."""
    present = arrow_io.column_names(file)
    lacking = [name for name in names if name not in present]
    if lacking:
        raise RecordsError(
            expected=f"the columns {list(names)} in {file}",
            found=f"{present}, so {lacking} missing",
            do="rename or add them (data/README.md describes the format)",
        )


def refuse_blank(texts: pa.Array, name: str, file: Path, first_row: int) -> None:
    """Refuse a column with a null or an empty text, by its row, with a RecordsError."""
    filled = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(texts, "")), "")
    bad = np.flatnonzero(~filled.to_numpy(zero_copy_only=False))
    if len(bad):
        raise RecordsError(
            expected=f"a text in column {name!r} of every row of {file}",
            found=f"an empty one at row {first_row + int(bad[0])}",
            do="remove that row or fill it in",
        )


def _refuse_unusable(values: Floats, names: list[str], path: Path) -> None:
    if np.isnan(values).all():
        raise RecordsError(expected=f"rewards in {path}", found="null in every row", do="reward the responses first")
    if len(names) < 2:
        raise RecordsError(
            expected=f"at least two candidates in {path}",
            found=f"only {names[0]!r}",
            do="record another candidate: with one there is nothing to route",
        )
    silent = [name for name, column in zip(names, values.T, strict=True) if np.isnan(column).all()]
    if silent:
        raise RecordsError(
            expected=f"at least one reward for every candidate in {path}",
            found=f"none for {silent}",
            do="reward that candidate's responses or remove its rows",
        )
