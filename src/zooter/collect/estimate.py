"""What a live run would compute and cost, without asking anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from zooter.collect.respond import FillPlan, plan_responses
from zooter.collect.rewarder.protocol import Combination, Rewarder
from zooter.collect.run import Collector
from zooter.data.cache import reward_keys
from zooter.data.pool import Candidate
from zooter.data.store import KEY
from zooter.data.types import Query

CHARACTERS_PER_TOKEN = 4.0  # of English, where no response tells better


@dataclass(frozen=True)
class StageEstimate:
    """One stage of one candidate.

    Attributes:
        cells: in all.
        missing: to be computed now.
        given_up: failed too often to be tried again.
        input_tokens, output_tokens: estimated, of the missing ones; the stage `reward` has none.
        cost: US dollars; None when a price is not known.
        guessed: no stored response of this candidate tells lengths: 4 letters a token in, the longest response out.
    """

    stage: str
    candidate: str
    cells: int
    missing: int
    given_up: int = 0
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None
    guessed: bool = False


def estimate_run(live: Collector) -> list[StageEstimate]:
    """A line per candidate for responses, and one per candidate and rewarder for rewards.

    Raises:
        ZooterError: as the run itself would, for what can be known before anything is asked.
    """
    queries = live.reader.read()
    found = plan_responses(queries, live.pool, live.responder, live.cells, live.rules)
    lines = [_responses(live, candidate, found[candidate.name], queries) for candidate in live.pool.candidates]
    for title, rewarder in _rewarders(live):
        for name, column in found.items():
            pairs = [pair for pair in live.answers(queries, name, column.keys) if pair[1].error is None]
            names = reward_keys(rewarder.identity(), [q for q, _ in pairs], [r for _, r in pairs])
            absent = [names[i] for i in live.cells.rewards.missing(names)]
            attempts = live.cells.attempts(absent)
            given_up = sum(attempts[key] >= live.rules.max_attempts for key in absent)
            missing = len(absent) - given_up + len(column.missing)
            lines.append(StageEstimate(title, name, len(column.keys), missing, given_up))
    return lines


def _rewarders(live: Collector) -> Iterator[tuple[str, Rewarder]]:
    for title, rewarder in (("reward", live.rewarder), ("truth", live.truth)):
        if isinstance(rewarder, Combination):
            yield from ((f"{title}: {name}", part) for name, part in rewarder.parts.items())
        elif rewarder is not None:
            yield title, rewarder


def _responses(live: Collector, candidate: Candidate, column: FillPlan, queries: Sequence[Query]) -> StageEstimate:
    letters = sum(len(queries[i % len(queries)].text) for i in column.missing)
    stored = live.cells.responses.table(["query_id", "input_tokens", "output_tokens", KEY], pa.array(column.keys))
    length_of = {query.id: len(query.text) for query in queries}
    known = [length_of.get(name, 0) for name in stored["query_id"].to_pylist()] if len(stored) else []
    answered = pc.sum(stored["output_tokens"]).as_py() if len(stored) else None
    asked = pc.sum(stored["input_tokens"]).as_py() if len(stored) else None
    per_letter = asked / sum(known) if asked and sum(known) else 1.0 / CHARACTERS_PER_TOKEN
    longest = live.responder.sampling.max_new_tokens
    each = answered / len(stored) if answered is not None else float(longest)
    tokens = letters * per_letter, len(column.missing) * each
    cost = candidate.cost(round(tokens[0]), round(tokens[1])) if column.missing else 0.0
    guessed = answered is None and bool(column.missing)
    return StageEstimate(
        "respond", candidate.name, len(column.keys), len(column.missing), column.given_up, *tokens, cost, guessed
    )


def estimate_table(lines: Sequence[StageEstimate]) -> Table:
    """The plan for people, with a total."""
    shown = Table(title="plan: nothing has been asked", show_footer=True)
    costs = [line.cost for line in lines if line.stage == "respond"]
    total = None if None in costs else sum(cost or 0.0 for cost in costs)
    footers = (
        "all", "", f"{sum(line.cells for line in lines):,}", f"{sum(line.missing for line in lines):,}",
        f"{sum(line.given_up for line in lines):,}", _count(sum(line.input_tokens or 0.0 for line in lines)),
        _count(sum(line.output_tokens or 0.0 for line in lines)), _dollars(total),
    )  # fmt: skip
    headings = ("stage", "candidate", "cells", "to do", "given up", "tokens in", "out", "US dollars")
    for i, (heading, footer) in enumerate(zip(headings, footers, strict=True)):
        shown.add_column(heading, footer, justify="left" if i < 2 else "right", overflow="fold")
    for line in lines:
        most = "≤ " if line.guessed else ""
        shown.add_row(
            line.stage, line.candidate, f"{line.cells:,}", f"{line.missing:,}", f"{line.given_up:,}",
            _count(line.input_tokens), most + _count(line.output_tokens),
            most + _dollars(line.cost) if line.stage == "respond" else "",
        )  # fmt: skip
    return shown


def _count(tokens: float | None) -> str:
    return "" if tokens is None else f"{tokens:,.0f}"


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:,.4f}"
