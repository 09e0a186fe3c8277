"""Read recorded tables for training: queries, a matrix of rewards, and tags.

A recorded table is the public file format, one row per recorded response. Its columns are `query`, `candidate` (text,
required), `reward` (number, required, may be null) and optionally `response`, `sample`, `tags`, `truth`, `reference`,
`margin`, `first_tokens`, `input_tokens`, `output_tokens`, `cost`, `split` and `query_id`; `data/README.md` describes
them. Files are streamed: texts go to a temporary file that is mapped into memory, which itself holds a few numbers per
row and, while a table is read, a hash of every query.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from zooter.data import arrow_io
from zooter.data.column_checks import finite_numbers, reject_blank_texts, require_columns
from zooter.data.formats import registry
from zooter.data.pool import Pool
from zooter.data.remote import as_path
from zooter.data.schema import schema
from zooter.data.text_file import TextFile, TextRows
from zooter.data.types import Floats, Ints, Rewards, Tags, query_id
from zooter.errors import RecordsError

log = logging.getLogger(__name__)

SCHEMA = schema("query", "candidate", "reward", "truth", "sample", "tags", "query_id")
REQUIRED = ("query", "candidate", "reward")
QUERIES = schema("query", "query_id")


@dataclass(frozen=True)
class Samples:
    """The recorded rows before averaging, as arrays of equal length.

    Attributes:
        query: row of the cell in `RewardTable.rewards`.
        candidate: column of the cell.
        sample: number of the sample within its cell.
        reward: the recorded reward; NaN for none.
    """

    query: Ints
    candidate: Ints
    sample: Ints
    reward: Floats


@dataclass(frozen=True)
class RewardTable:
    """A recorded table with one row per distinct query text, in order of first appearance.

    Attributes:
        queries: n texts; those of a table that was read are in a temporary file (`text_file`).
        query_ids: their ids, likewise.
        pool: the m candidates, in alphabetical order.
        rewards: (n, m) mean reward over the samples of each cell.
        truth: (n, m) mean of the column `truth`, which is used for evaluation only; None if the table has none.
        tags: (n, t); t = 0 if the table has none.
        samples: the recorded rows of these queries.
        dropped: number of queries that were left out because they have no reward at all.
    """

    queries: Sequence[str]
    query_ids: Sequence[str]
    pool: Pool
    rewards: Rewards
    truth: Rewards | None
    tags: Tags
    samples: Samples
    dropped: int


def read(
    path: Path | str,
    prices: Mapping[str, float] | None = None,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> RewardTable:
    """Read a recorded table, or evaluations of another tool.

    Args:
        path: a Parquet or JSON Lines file, or a folder of them; with a format, whatever that reads.
        prices: candidate → US dollars per million tokens.
        format: a format of docs/import.md, such as "lm-eval", or "auto" to recognise it; None for a recorded table.
        options: of the format, such as {"columns": {"query": "question"}}.

    Raises:
        RecordsError: a column is missing or of the wrong type, a value cannot be used, there are fewer than two
            candidates, or a candidate has no reward.
        ConfigError: `prices` names a candidate that the table does not have, or there is no such format or option.
    """
    path, builder = as_path(path), _TableBuilder()
    if format is not None:
        for batch in registry.read(path, format, options):
            builder.add(batch, path, 1)
        return builder.build(path, prices)
    for file in arrow_io.data_files(path):
        require_columns(file, REQUIRED)
        first_row = 1
        for batch in arrow_io.read_batches(file, SCHEMA):
            builder.add(batch, file, first_row)
            first_row += len(batch)
    return builder.build(path, prices)


def read_queries(path: Path) -> tuple[list[str], list[str]]:
    """Read queries to be routed.

    Args:
        path: a Parquet or JSON Lines file with a column `query` and optionally `query_id`, or a folder of them.

    Returns:
        Texts and ids, one of each per row; the default id is the hash of the text.

    Raises:
        RecordsError: the file cannot be read, has no column `query`, or a text is blank.
    """
    texts: list[str] = []
    ids: list[str] = []
    for file in arrow_io.data_files(path):
        require_columns(file, ("query",))
        first_row = 1
        for batch in arrow_io.read_batches(file, QUERIES):
            reject_blank_texts(batch["query"], "query", file, first_row)
            batch_texts, batch_ids = batch["query"].to_pylist(), batch["query_id"].to_pylist()
            texts += batch_texts
            ids += [stored_id or query_id(text) for stored_id, text in zip(batch_ids, batch_texts, strict=True)]
            first_row += len(batch)
    return texts, ids


@dataclass
class _TableBuilder:
    """Accumulate batches as integer codes; the code of a query, candidate or tag is its order of first appearance."""

    queries: TextFile = field(default_factory=TextFile)
    query_ids: TextFile = field(default_factory=TextFile)
    query_code: dict[bytes, int] = field(default_factory=dict)
    candidate_code: dict[str, int] = field(default_factory=dict)
    tag_code: dict[str, int] = field(default_factory=dict)
    # One tuple of arrays per batch: (query, candidate, sample, reward, truth), and (query, tag) pairs.
    cells: list[tuple[Ints, Ints, Ints, Floats, Floats]] = field(default_factory=list)
    tag_pairs: list[tuple[Ints, Ints]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch, file: Path, first_row: int) -> None:
        """Add the rows of a batch.

        Args:
            batch: has the columns query, query_id, candidate, sample, reward, truth and tags.
            file: named in error messages.
            first_row: number of the batch's first row in the file, counted from 1.

        Raises:
            RecordsError: a query or a candidate is blank, a number is not finite, or a tag is null.
        """
        for name in ("query", "candidate"):
            reject_blank_texts(batch[name], name, file, first_row)
        reward, truth = (finite_numbers(batch[name], name, file, first_row) for name in ("reward", "truth"))
        query = self._encode_queries(batch)
        candidate = _encode(batch["candidate"], self.candidate_code)
        sample = pc.fill_null(batch["sample"], 0).to_numpy(zero_copy_only=False)
        self.cells.append((query, candidate, sample, reward, truth))
        self._add_tags(batch["tags"], query, file, first_row)

    def _add_tags(self, tags: pa.Array, query: Ints, file: Path, first_row: int) -> None:
        if tags.null_count == len(tags):
            return
        row = pc.list_parent_indices(tags)
        names = pc.list_flatten(tags)
        if names.null_count:
            first_null = pc.index(pc.is_null(names), True).as_py()
            raise RecordsError(
                expected=f"tags that are texts in {file}",
                found=f"null at row {first_row + int(row[first_null].as_py())}",
                do="remove it",
            )
        self.tag_pairs.append((query[row.to_numpy()], _encode(names, self.tag_code)))

    def _encode_queries(self, batch: pa.RecordBatch) -> Ints:
        encoded = batch["query"].dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        _, first_rows = np.unique(indices, return_index=True)
        codes = np.empty(len(encoded.dictionary), dtype=np.int64)
        for position, (text, row) in enumerate(zip(encoded.dictionary.to_pylist(), first_rows, strict=True)):
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            code = self.query_code.setdefault(key, len(self.queries))
            if code == len(self.queries):
                self.queries.append(text)
                self.query_ids.append(batch["query_id"][int(row)].as_py() or key.hex())
            codes[position] = code
        return codes[indices]

    def build(self, path: Path, prices: Mapping[str, float] | None) -> RewardTable:
        """Build the table of all batches; queries without any reward are left out.

        Args:
            path: named in error messages.
            prices: candidate → US dollars per million tokens; None leaves all prices unknown.

        Raises:
            RecordsError: there is no row or no reward, fewer than two candidates, or a candidate without any reward.
        """
        if not self.cells:
            raise RecordsError(expected=f"at least one row in {path}", found="none", do="give a table with rows")
        query, code, sample, reward, truth = (np.concatenate(arrays) for arrays in zip(*self.cells, strict=True))
        self.cells.clear()
        names = sorted(self.candidate_code)
        column = np.empty(len(names), dtype=np.int64)
        for j, name in enumerate(names):
            column[self.candidate_code[name]] = j
        candidate = column[code]
        values = _cell_means(query, candidate, reward, (len(self.queries), len(names)))
        truths = _cell_means(query, candidate, truth, values.shape)
        _reject_unusable(values, names, path)
        has_reward: NDArray[np.bool_] = np.asarray(~np.isnan(values).all(axis=1))
        dropped = int((~has_reward).sum())
        if dropped:
            log.warning("%d of %d queries have no reward at all and are left out", dropped, len(has_reward))
        row_number = np.cumsum(has_reward) - 1
        mask = has_reward[query]
        return RewardTable(
            queries=TextRows(self.queries, np.flatnonzero(has_reward)) if dropped else self.queries,
            query_ids=TextRows(self.query_ids, np.flatnonzero(has_reward)) if dropped else self.query_ids,
            pool=Pool.from_names(names, prices),
            rewards=Rewards(values[has_reward], tuple(names)),
            truth=Rewards(truths[has_reward], tuple(names)) if np.isfinite(truths).any() else None,
            tags=self._tags(has_reward),
            samples=Samples(row_number[query[mask]], candidate[mask], sample[mask], reward[mask]),
            dropped=dropped,
        )

    def _tags(self, has_reward: NDArray[np.bool_]) -> Tags:
        names = tuple(self.tag_code)
        if not names:
            return Tags.empty(int(has_reward.sum()))
        query, code = (np.concatenate(arrays) for arrays in zip(*self.tag_pairs, strict=True))
        membership = sp.coo_array((np.ones(len(code)), (query, code)), shape=(len(has_reward), len(names))).tocsr()
        membership.data[:] = 1.0  # every row of a query repeats its tags, and the conversion adds up the repeats
        order = np.argsort(names)
        return Tags(membership[has_reward][:, order], tuple(names[j] for j in order))


def _cell_means(query: Ints, candidate: Ints, reward: Floats, shape: tuple[int, int]) -> Floats:
    has_reward = ~np.isnan(reward)
    cell = query[has_reward] * shape[1] + candidate[has_reward]
    size = shape[0] * shape[1]
    counts = np.bincount(cell, minlength=size)
    totals = np.bincount(cell, weights=reward[has_reward], minlength=size)
    return np.divide(totals, counts, out=np.full(size, np.nan), where=counts > 0).reshape(shape)


def _encode(values: pa.Array, codes: dict[str, int]) -> Ints:
    """Map texts to integer codes, adding new texts to `codes`."""
    encoded = values.dictionary_encode()
    mapped = np.array([codes.setdefault(v, len(codes)) for v in encoded.dictionary.to_pylist()], dtype=np.int64)
    return mapped[encoded.indices.to_numpy(zero_copy_only=False)]


def _reject_unusable(values: Floats, names: list[str], path: Path) -> None:
    if np.isnan(values).all():
        raise RecordsError(expected=f"rewards in {path}", found="null in every row", do="reward the responses first")
    if len(names) < 2:
        raise RecordsError(
            expected=f"at least two candidates in {path}",
            found=f"only {names[0]!r}",
            do="record another candidate: with one there is nothing to route",
        )
    unrewarded = [name for name, column in zip(names, values.T, strict=True) if np.isnan(column).all()]
    if unrewarded:
        raise RecordsError(
            expected=f"at least one reward for every candidate in {path}",
            found=f"none for {unrewarded}",
            do="reward that candidate's responses or remove its rows",
        )
