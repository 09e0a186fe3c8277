"""Read recorded tables for selectors: the responses of each query, by candidate and sample."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zooter.data import arrow_io
from zooter.data.column_checks import reject_blank_texts
from zooter.data.pool import Candidate, Pool
from zooter.data.schema import RESPONSE_COLUMNS, parse_first_tokens, parse_references, schema
from zooter.data.types import Floats, Ints, Query, Response, Rewards, query_id
from zooter.errors import RecordsError

log = logging.getLogger(__name__)

SCHEMA = schema(
    "query", "candidate", "sample", "response", "reward", "truth", "reference", "tags", "query_id", *RESPONSE_COLUMNS
)
_RESPONSE_FIELDS = ("finish_reason", "margin", "input_tokens", "output_tokens", "seconds")


@dataclass(frozen=True, slots=True)
class Cell:
    """One recorded response with its reward and truth.

    Attributes:
        response: the recorded response.
        reward: what a selector may use; NaN for none.
        truth: what selections are measured by, hidden from selectors; NaN for none.
    """

    response: Response
    reward: float
    truth: float

    @property
    def quality(self) -> float:
        """Return the number that a selection is measured by: the truth, or the reward if no truth is recorded."""
        return self.truth if self.truth == self.truth else self.reward


@dataclass(frozen=True)
class ResponseTable:
    """Recorded responses of n queries.

    Attributes:
        queries: the n queries.
        pool: the m candidates, in column order.
        cells: per query, candidate → its cells in order of their samples; a candidate without cells is left out.
        prices: candidate → mean cost of its calls in US dollars; NaN if a cost is unknown.
    """

    queries: tuple[Query, ...]
    pool: Pool
    cells: tuple[Mapping[str, tuple[Cell, ...]], ...]
    prices: Mapping[str, float]

    def take(self, rows: Ints | Sequence[int]) -> "ResponseTable":
        """Select rows by number, in the given order; prices stay those of the whole table.

        Args:
            rows: row numbers from 0; one may repeat.
        """
        return ResponseTable(
            tuple(self.queries[i] for i in rows), self.pool, tuple(self.cells[i] for i in rows), self.prices
        )

    def rewards(self) -> Rewards:
        """Average the rewards over the samples of each cell.

        Returns:
            (n, m) means; NaN for a cell without rewards.
        """
        return self._cell_means("reward")

    def qualities(self) -> Rewards:
        """Average the qualities over the samples of each cell: truths, or rewards if no truth is recorded.

        Returns:
            (n, m) means; NaN for a cell with neither.
        """
        return self._cell_means("quality")

    def _cell_means(self, attribute: str) -> Rewards:
        means = np.full((len(self.queries), len(self.pool.names)), np.nan)
        for i, query_cells in enumerate(self.cells):
            for j, candidate in enumerate(self.pool.names):
                values = [getattr(cell, attribute) for cell in query_cells.get(candidate, ())]
                values = [value for value in values if not np.isnan(value)]
                if values:
                    means[i, j] = np.mean(values)
        return Rewards(means, self.pool.names)

    @cached_property
    def texts(self) -> list[str]:
        """Return the texts of the queries."""
        return [query.text for query in self.queries]


def read(path: Path, pool: Pool | None = None) -> ResponseTable:
    """Read a recorded table; rows with the same text are the same query, and repeated rows are further samples.

    The cost of a response is the recorded one or, if that is null, the candidate's price for its tokens.

    Args:
        path: a Parquet or JSON Lines file, or a folder of them.
        pool: the candidates in column order with their prices; each must be in the table, and others in the table are
            left out. None takes all candidates of the table in alphabetical order.

    Raises:
        RecordsError: the table cannot be read, a text is blank, or a candidate is missing.
    """
    candidates = {} if pool is None else {candidate.name: candidate for candidate in pool.candidates}
    queries: dict[str, Query] = {}
    samples_by_query: dict[str, dict[str, dict[int, Cell]]] = {}
    repeated = 0
    recorded_names: set[str] = set()
    for file in arrow_io.data_files(path):
        first_row = 1
        for batch in arrow_io.read_batches(file, SCHEMA):
            for column in ("query", "candidate"):
                reject_blank_texts(batch[column], column, file, first_row)
            for row in batch.to_pylist():
                name, text, sample = row["candidate"], row["query"], row["sample"] or 0
                recorded_names.add(name)
                query = queries.setdefault(text, _query(row))
                if pool is None or name in candidates:
                    samples = samples_by_query.setdefault(text, {}).setdefault(name, {})
                    if sample in samples:
                        sample = max(samples) + 1
                        repeated += 1
                    samples[sample] = _cell(row, query, candidates.get(name, Candidate(name)), sample)
            first_row += len(batch)
    if repeated:
        log.warning("%d rows of %s repeat a (query, candidate, sample): they count as further samples", repeated, path)
    _require_rows(path, len(queries), set(candidates), recorded_names)
    pool = pool or Pool.from_names(sorted(recorded_names))
    cells = tuple(
        {
            name: tuple(cell for _, cell in sorted(samples.items()))
            for name, samples in samples_by_query.get(text, {}).items()
        }
        for text in queries
    )
    return ResponseTable(tuple(queries.values()), pool, cells, _mean_costs(pool, cells))


def _require_rows(path: Path, n_queries: int, names: set[str], recorded_names: set[str]) -> None:
    absent = sorted(names - recorded_names)
    if absent:
        raise RecordsError(
            expected=f"rows of {absent} in {path}",
            found=f"the candidates {sorted(recorded_names)}",
            do="record them or take them out of the pool",
        )
    if not n_queries:
        raise RecordsError(expected=f"at least one row in {path}", found="none", do="give a table with rows")


def _query(row: Mapping[str, Any]) -> Query:
    text = row["query"]
    reference, others = parse_references(row["reference"])
    return Query(row["query_id"] or query_id(text), text, reference, tuple(row["tags"] or ()), others)


def _cell(row: Mapping[str, Any], query: Query, candidate: Candidate, sample: int) -> Cell:
    values = {name: row[name] for name in _RESPONSE_FIELDS}
    values["first_tokens"] = parse_first_tokens(row["first_tokens"])
    values["cost"] = row["cost"]
    if values["cost"] is None:
        values["cost"] = candidate.cost(row["input_tokens"], row["output_tokens"])
    response = Response(query.id, candidate.name, sample, row["response"] or "", **values)
    reward, truth = (float("nan") if row[name] is None else float(row[name]) for name in ("reward", "truth"))
    return Cell(response, reward, truth)


def _mean_costs(pool: Pool, cells: Sequence[Mapping[str, tuple[Cell, ...]]]) -> dict[str, float]:
    """Candidate → mean cost of its calls; NaN if a cost is unknown."""
    costs: dict[str, list[float]] = {name: [] for name in pool.names}
    for query_cells in cells:
        for name, samples in query_cells.items():
            costs[name] += [np.nan if cell.response.cost is None else cell.response.cost for cell in samples]
    return {name: float(np.mean(values)) if values else float("nan") for name, values in costs.items()}


def response_qualities(rows: Sequence[Mapping[str, tuple[Cell, ...]]], responses: Sequence[Response | None]) -> Floats:
    """Look up the quality of one selected response per query.

    Args:
        rows: the cells of n queries, as in `ResponseTable.cells`.
        responses: n responses, each among the cells of its query; None if the selector returned nothing.

    Returns:
        (n,) qualities; 0 for None.
    """
    values = np.zeros(len(rows))
    for i, (query_cells, response) in enumerate(zip(rows, responses, strict=True)):
        values[i] = response_quality(query_cells, response)
    return values


def response_quality(query_cells: Mapping[str, tuple[Cell, ...]], response: Response | None) -> float:
    """Look up the quality of a selected response.

    Args:
        query_cells: candidate → its cells, of the response's query.
        response: a response among these cells; None if the selector returned nothing.

    Returns:
        `Cell.quality`; 0 for None.
    """
    if response is None:
        return 0.0
    cells, sample = query_cells[response.candidate], response.sample
    if sample >= len(cells) or cells[sample].response.sample != sample:  # an earlier sample is missing
        sample = next(k for k, cell in enumerate(cells) if cell.response.sample == sample)
    return cells[sample].quality
