"""Selectors on recorded responses, by the code that also runs live."""

import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from zooter.data.pool import Pool
from zooter.data.response_table import Cell, ResponseTable
from zooter.data.types import Floats, Response
from zooter.errors import ConfigError, RecordsError
from zooter.selector.ledger import Fee, Ledger
from zooter.selector.protocol import Estimator, RecordedSelection, SampleRequest, Scorer, Selection, Selector

T = TypeVar("T")
_COLUMN_OF = {
    "margins": "margin",
    "first_tokens": "first_tokens",
    "texts": "response",
    "rewards": "reward",
    "truths": "truth or reward",
    "tags": "tags",
    "references": "reference",
}


@dataclass(frozen=True)
class Replay:
    """A recorded table in the place of the world.

    Attributes:
        known, scored: what estimators and scorers said, kept for all selectors that ask the same one.
    """

    recorded: ResponseTable
    known: dict[int, tuple[object, list[Floats], Fee]] = field(default_factory=dict, repr=False)
    scored: dict[tuple[int, str, int], tuple[object, dict[int, float], float]] = field(default_factory=dict, repr=False)

    def run(self, selector: Selector, order: Sequence[int] | None = None) -> list[RecordedSelection]:
        """One decision per query, in the stream's `order` of rows (all, as recorded, unless given).

        Raises:
            RecordsError: the table lacks what the selector needs; nothing has run.
        """
        self.refuse_lack(selector)
        return self.stream(selector, range(len(self.recorded.queries)) if order is None else order)

    def stream(self, selector: Selector, order: Sequence[int]) -> list[RecordedSelection]:
        """`run` for a selector whose needs were checked already: many settings of one need one check."""
        queries = self.recorded.queries
        return [
            RecordedSelection(queries[row], *found)
            for row, found in zip(order, self.each(selector, order), strict=True)
        ]

    def each(self, selector: Selector, order: Sequence[int]) -> Iterator[tuple[Selection, Ledger]]:
        """`stream`, one selection after the other with its account: curves keep neither."""
        for row in order:
            ask = ReplayedAsk(self, row)
            yield run_now(selector.select(self.recorded.queries[row], ask)), ask.ledger

    def refuse_lack(self, selector: Selector) -> None:
        """Say which row lacks what the selector needs."""
        needs = selector.needs
        if needs.live:
            raise ConfigError(
                expected="live candidates for a selector that writes messages of its own",
                found=f"recorded responses for {type(selector).__name__}",
                do="evaluate it with pool=… responder=…, or leave it out",
            )
        unknown = sorted(set(needs.candidates or ()) - set(self.recorded.pool.names))
        if unknown:
            raise ConfigError(
                expected=f"candidates among {list(self.recorded.pool.names)} for {type(selector).__name__}",
                found=f"{unknown}",
                do="correct the names",
            )
        for name, column in _COLUMN_OF.items():
            if getattr(needs, name) and (row := self._lacks(name, needs.candidates)) is not None:
                query = self.recorded.queries[row]
                raise RecordsError(
                    expected=f"{column} in every row for {type(selector).__name__}",
                    found=f"none for the query {query.text[:60]!r} (query {row + 1})",
                    do=f"record the column {column.split()[0]!r}, or leave the selector out",
                )
        who = needs.candidates
        fewest = [
            min(map(len, of.values() if who is None else (of.get(name, ()) for name in who)), default=0)
            for of in self.recorded.cells
        ]
        short = next((i for i, count in enumerate(fewest) if count < needs.samples), None)
        if needs.samples > 1 and short is not None:
            raise RecordsError(
                expected=f"{needs.samples} samples of {'every candidate' if who is None else list(who)} "
                f"for {type(selector).__name__}",
                found=f"fewer for the query {self.recorded.queries[short].text[:60]!r} (query {short + 1})",
                do="record more (cells.samples=…), or ask for fewer (selector.samples=…)",
            )

    def _lacks(self, name: str, who: Sequence[str] | None) -> int | None:
        """The first row that lacks it, in the cells of these candidates; failed calls have nothing and lack nothing."""
        for i, (query, of) in enumerate(zip(self.recorded.queries, self.recorded.cells, strict=True)):
            every = [cell for candidate in (of if who is None else who) for cell in of.get(candidate, ())]
            cells = [cell for cell in every if cell.response.error is None]
            if not cells and name not in ("tags", "references"):
                continue
            lacking = {
                "tags": not query.tags,
                "references": query.reference is None,
                "margins": any(cell.response.margin is None for cell in cells),
                "first_tokens": any(cell.response.first_tokens is None for cell in cells),
                "texts": all(not cell.response.text for cell in cells),
                "rewards": all(np.isnan(cell.reward) for cell in cells),
                "truths": all(np.isnan(cell.quality) for cell in cells),
            }
            if lacking[name]:
                return i
        return None

    def of_all(self, who: Estimator) -> tuple[list[Floats], Fee]:
        """n rows (k,) of what an estimator expects of every query, computed once, and what it takes for one query."""
        known = self.known.get(id(who))
        if known is None:
            started = time.perf_counter()
            values = who.estimate(self.recorded.queries)
            fee = Fee(who.name, who.fee, (time.perf_counter() - started) / max(1, len(values)))
            known = self.known[id(who)] = (who, list(values), fee)
        return known[1], known[2]

    def scores(self, who: Scorer, candidate: str, sample: int) -> tuple[dict[int, float], float]:
        """Row → score of every recorded response with this sample number, computed once; and seconds per response."""
        key = id(who), candidate, sample
        if key not in self.scored:
            cells = [
                (i, cell.response)
                for i, of in enumerate(self.recorded.cells)
                for cell in of.get(candidate, ())
                if cell.response.sample == sample
            ]
            started = time.perf_counter()
            values = who.score([self.recorded.queries[i] for i, _ in cells], [response for _, response in cells])
            each = (time.perf_counter() - started) / max(1, len(cells))
            self.scored[key] = who, {i: float(v) for (i, _), v in zip(cells, values, strict=True)}, each
        _, found, each = self.scored[key]
        return found, each


@dataclass(slots=True)
class ReplayedAsk:
    """One row of the table, asked by one selector."""

    replay: Replay
    row: int
    ledger: Ledger = field(default_factory=Ledger)
    taken: dict[str, int] = field(default_factory=dict)

    @property
    def pool(self) -> Pool:
        return self.replay.recorded.pool

    @property
    def _cells(self) -> Mapping[str, tuple[Cell, ...]]:
        return self.replay.recorded.cells[self.row]

    def price(self, candidate: str) -> float:
        return self.replay.recorded.prices[candidate]

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        found = self._take(candidate, samples, text)
        self.ledger.rounds.append(found)
        return found

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        found = [self._take(want.candidate, want.samples, want.text) for want in wants]
        self.ledger.rounds.append([response for part in found for response in part])
        return found

    def _take(self, candidate: str, samples: int, text: str | None) -> list[Response]:
        """The next samples; one that is not recorded is a failed call."""
        if text is not None:
            raise ConfigError(
                expected="live candidates for messages of a selector's own", found="recorded responses",
                do="evaluate with pool=… responder=…",
            )  # fmt: skip
        start = self.taken.get(candidate, 0)
        self.taken[candidate] = start + samples
        cells = self._cells.get(candidate, ())[start : start + samples]
        if len(cells) == samples:
            return [cell.response for cell in cells]
        query = self.replay.recorded.queries[self.row]
        absent = range(start + len(cells), start + samples)
        lost = [Response(query.id, candidate, i, "", error="not recorded") for i in absent]
        return [cell.response for cell in cells] + lost

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        self.ledger.fees.append(Fee("rewarder", fee * sum(response.error is None for response in responses)))
        return np.array([self._reward(response) for response in responses])

    def _reward(self, response: Response) -> float:
        of = self._cells.get(response.candidate, ())
        return next((cell.reward for cell in of if cell.response.sample == response.sample), float("nan"))

    async def truth(self) -> Floats:
        first = [self._cells.get(name, ()) for name in self.pool.names]
        return np.array([cells[0].quality if cells else np.nan for cells in first])

    async def estimate(self, estimator: Estimator) -> Floats:
        rows, fee = self.replay.of_all(estimator)
        self.ledger.fees.append(fee)
        return rows[self.row]

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        values, answered, seconds = [], 0, 0.0
        for response in responses:
            value = float("nan")
            if response.error is None:
                of_candidate, each = self.replay.scores(scorer, response.candidate, response.sample)
                value = of_candidate[self.row]
                answered += value == value
                seconds += each
            values.append(value)
        self.ledger.fees.append(Fee(scorer.name, scorer.fee * answered, seconds))
        return np.array(values)


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits for anything, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a replayed selection waited for something that is not in the table")
