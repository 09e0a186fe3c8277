"""Recorded responses as selectors see them: one row per query, one cell per candidate and sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zooter.data import arrow_io
from zooter.data.pool import Candidate, Pool
from zooter.data.schema import OF_RESPONSE, first_tokens, schema
from zooter.data.types import Floats, Ints, Query, Response, Rewards, query_id
from zooter.errors import RecordsError

SCHEMA = schema(
    "query", "candidate", "sample", "response", "reward", "truth", "reference", "tags", "query_id", *OF_RESPONSE
)
_RESPONSE_FIELDS = ("finish_reason", "margin", "input_tokens", "output_tokens", "seconds")


@dataclass(frozen=True, slots=True)
class Cell:
    """One recorded response and what it was worth.

    Attributes:
        reward, truth: NaN where there is none. Selectors may know rewards; truths are for measuring alone.
    """

    response: Response
    reward: float
    truth: float

    @property
    def quality(self) -> float:
        """What a selection is measured by: the truth, or the reward where no truth is recorded."""
        return self.truth if self.truth == self.truth else self.reward


@dataclass(frozen=True)
class ResponseTable:
    """n queries with the cells that are recorded of each.

    Attributes:
        cells: one mapping per query: candidate → its cells in the order of their samples. A candidate without cells is
            left out.
        prices: candidate → US dollars of one call on average; NaN where costs are not known.
    """

    queries: tuple[Query, ...]
    pool: Pool
    cells: tuple[Mapping[str, tuple[Cell, ...]], ...]
    prices: Mapping[str, float]

    def take(self, rows: Ints | Sequence[int]) -> "ResponseTable":
        """These rows; prices stay those of the whole table."""
        return ResponseTable(
            tuple(self.queries[i] for i in rows), self.pool, tuple(self.cells[i] for i in rows), self.prices
        )

    def rewards(self) -> Rewards:
        """(n, m) mean reward over the samples of each cell."""
        return self._means("reward")

    def qualities(self) -> Rewards:
        """(n, m) mean truth over the samples of each cell, or mean reward where no truth is recorded."""
        return self._means("quality")

    def _means(self, name: str) -> Rewards:
        values = np.full((len(self.queries), len(self.pool.names)), np.nan)
        for i, of_query in enumerate(self.cells):
            for j, candidate in enumerate(self.pool.names):
                found = [getattr(cell, name) for cell in of_query.get(candidate, ())]
                known = [value for value in found if not np.isnan(value)]
                if known:
                    values[i, j] = np.mean(known)
        return Rewards(values, self.pool.names)

    @cached_property
    def texts(self) -> list[str]:
        """The queries' texts."""
        return [query.text for query in self.queries]


def read(path: Path, pool: Pool | None = None) -> ResponseTable:
    """Read a recorded table, Parquet or JSON Lines or a folder of them; rows of one text are one query.

    A response's cost is the recorded one; where that is null, the candidate's price for its tokens.

    Args:
        pool: the candidates in column order with their prices, all of them in the table; others are left out. None
            takes all of the table in alphabetical order.

    Raises:
        RecordsError: the table cannot be read, a text is empty, a cell is recorded twice, or a candidate is missing.
    """
    queries: dict[str, Query] = {}
    found: dict[str, dict[str, dict[int, Cell]]] = {}
    known = {} if pool is None else {candidate.name: candidate for candidate in pool.candidates}
    names: dict[str, None] = {}
    for file in arrow_io.data_files(path):
        row = 1
        for batch in arrow_io.read_batches(file, SCHEMA):
            for told in batch.to_pylist():
                _refuse_blank(told, file, row)
                name, text, sample = told["candidate"], told["query"], told["sample"] or 0
                names[name] = None
                query = queries.setdefault(text, _query(told))
                if pool is None or name in known:
                    samples = found.setdefault(text, {}).setdefault(name, {})
                    _refuse_repeated(sample, samples, name, file, row)
                    samples[sample] = _cell(told, query, known.get(name, Candidate(name)))
                row += 1
    absent = sorted(set(known) - set(names))
    if not queries or absent:
        raise RecordsError(
            expected=f"rows of {absent} in {path}" if absent else f"at least one row in {path}",
            found=f"the candidates {sorted(names)}" if absent else "none",
            do="record them or take them out of the pool" if absent else "give a table with rows",
        )
    pool = pool or Pool.of(sorted(names))
    cells = tuple(
        {name: tuple(cell for _, cell in sorted(of.items())) for name, of in found.get(text, {}).items()}
        for text in queries
    )
    return ResponseTable(tuple(queries.values()), pool, cells, _prices(pool, cells))


def _refuse_blank(told: Mapping[str, object], file: Path, row: int) -> None:
    for name in ("query", "candidate"):
        if not str(told[name] or "").strip():
            raise RecordsError(
                expected=f"a text in column {name!r} of every row of {file}",
                found=f"an empty one at row {row}",
                do="remove that row or fill it in",
            )


def _refuse_repeated(sample: int, samples: Mapping[int, Cell], name: str, file: Path, row: int) -> None:
    if sample in samples:
        raise RecordsError(
            expected=f"every (query, candidate, sample) once in {file}",
            found=f"sample {sample} of {name!r} again at row {row}",
            do="number the samples 0, 1, 2, … or remove the repeated row",
        )


def _query(told: Mapping[str, object]) -> Query:
    text = str(told["query"])
    given = str(told["query_id"] or query_id(text))
    return Query(given, text, told["reference"], tuple(told["tags"] or ()))  # type: ignore[arg-type]


def _cell(told: dict[str, object], query: Query, candidate: Candidate) -> Cell:
    values = {name: told[name] for name in _RESPONSE_FIELDS}
    values["first_tokens"] = first_tokens(told["first_tokens"])  # type: ignore[arg-type]
    cost = told["cost"]
    if cost is None:
        cost = candidate.cost(told["input_tokens"], told["output_tokens"])  # type: ignore[arg-type]
    response = Response(
        query.id, candidate.name, told["sample"] or 0, told["response"] or "", cost=cost, **values  # type: ignore[arg-type]
    )  # fmt: skip
    return Cell(response, *(float("nan") if told[name] is None else float(told[name]) for name in ("reward", "truth")))  # type: ignore[arg-type]


def _prices(pool: Pool, cells: Sequence[Mapping[str, tuple[Cell, ...]]]) -> dict[str, float]:
    """Candidate → its calls' mean cost; NaN where one is not known."""
    costs: dict[str, list[float]] = {name: [] for name in pool.names}
    for of_query in cells:
        for name, samples in of_query.items():
            costs[name] += [np.nan if cell.response.cost is None else cell.response.cost for cell in samples]
    return {name: float(np.mean(values)) if values else float("nan") for name, values in costs.items()}


def qualities_of(rows: Sequence[Mapping[str, tuple[Cell, ...]]], responses: Sequence[Response | None]) -> Floats:
    """(n,) the quality of one response per row, of the same row's cells; 0 where there is none: it answers nothing."""
    values = np.zeros(len(rows))
    for i, (of_query, response) in enumerate(zip(rows, responses, strict=True)):
        values[i] = quality_of(of_query, response)
    return values


def quality_of(of_query: Mapping[str, tuple[Cell, ...]], response: Response | None) -> float:
    """The quality of one response among its query's cells; 0 for none."""
    if response is None:
        return 0.0
    cells, sample = of_query[response.candidate], response.sample
    if sample >= len(cells) or cells[sample].response.sample != sample:  # samples before it are missing
        sample = next(k for k, cell in enumerate(cells) if cell.response.sample == sample)
    return cells[sample].quality
