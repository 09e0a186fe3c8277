"""Estimate what a live run would compute and cost, without asking any candidate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from zooter.collect.respond import FillPlan, plan_responses
from zooter.collect.rewarder.protocol import CompositeRewarder, Rewarder
from zooter.collect.run import Collector
from zooter.data.cache import reward_keys
from zooter.data.pool import Candidate
from zooter.data.store import KEY
from zooter.data.types import Query

CHARACTERS_PER_TOKEN = 4.0  # of English text, for candidates without stored responses


@dataclass(frozen=True)
class StageEstimate:
    """Estimate for one stage of one candidate.

    Attributes:
        stage: "respond", or the rewarder's title, such as "reward" or "truth: PART".
        candidate: the candidate's name.
        cells: number of cells in all.
        missing: number of cells to compute now.
        given_up: number of cells that have failed too often to be tried again.
        input_tokens: estimated sum over the missing cells; None for rewards.
        output_tokens: estimated sum over the missing cells; None for rewards.
        cost: in US dollars; None for rewards, and where a price is not known.
        guessed: whether lengths are guesses, as no response of this candidate is stored: `CHARACTERS_PER_TOKEN` for
            the input, the longest response for the output.
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


def estimate_run(collector: Collector) -> list[StageEstimate]:
    """Estimate every stage of a live run.

    Returns:
        One estimate per candidate for its responses, then one per rewarder and candidate.

    Raises:
        ZooterError: as the run itself would, for whatever can be checked before anything is asked.
    """
    queries = collector.reader.read()
    plans = plan_responses(queries, collector.pool, collector.responder, collector.cells, collector.policy)
    estimates = [
        _estimate_responses(collector, candidate, plans[candidate.name], queries)
        for candidate in collector.pool.candidates
    ]
    for title, rewarder in _rewarders(collector):
        for name, plan in plans.items():
            stored = collector.stored_responses(queries, name, plan.keys)
            pairs = [(query, response) for query, response in stored if response.error is None]
            keys = reward_keys(rewarder.identity(), [q for q, _ in pairs], [r for _, r in pairs])
            absent = [keys[i] for i in collector.cells.rewards.missing(keys)]
            attempts = collector.cells.failure_counts(absent)
            given_up = sum(attempts[key] >= collector.policy.max_attempts for key in absent)
            missing = len(absent) - given_up + len(plan.missing)
            estimates.append(StageEstimate(title, name, len(plan.keys), missing, given_up))
    return estimates


def _rewarders(collector: Collector) -> Iterator[tuple[str, Rewarder]]:
    """Titles and rewarders, with the parts of a composite one each on its own."""
    for title, rewarder in (("reward", collector.rewarder), ("truth", collector.truth)):
        if isinstance(rewarder, CompositeRewarder):
            yield from ((f"{title}: {name}", part) for name, part in rewarder.parts.items())
        elif rewarder is not None:
            yield title, rewarder


def _estimate_responses(
    collector: Collector, candidate: Candidate, plan: FillPlan, queries: Sequence[Query]
) -> StageEstimate:
    """Scale the stored responses' mean lengths to the missing cells."""
    characters = sum(len(queries[i % len(queries)].text) for i in plan.missing)
    stored = collector.cells.responses.table(["query_id", "input_tokens", "output_tokens", KEY], pa.array(plan.keys))
    length_of = {query.id: len(query.text) for query in queries}
    stored_characters = sum(length_of.get(name, 0) for name in stored["query_id"].to_pylist()) if len(stored) else 0
    stored_output = pc.sum(stored["output_tokens"]).as_py() if len(stored) else None
    stored_input = pc.sum(stored["input_tokens"]).as_py() if len(stored) else None
    tokens_per_character = (
        stored_input / stored_characters if stored_input and stored_characters else 1.0 / CHARACTERS_PER_TOKEN
    )
    longest = collector.responder.sampling.max_new_tokens
    output_per_cell = stored_output / len(stored) if stored_output is not None else float(longest)
    tokens = characters * tokens_per_character, len(plan.missing) * output_per_cell
    cost = candidate.cost(round(tokens[0]), round(tokens[1])) if plan.missing else 0.0
    guessed = stored_output is None and bool(plan.missing)
    return StageEstimate(
        "respond", candidate.name, len(plan.keys), len(plan.missing), plan.given_up, *tokens, cost, guessed
    )


def estimate_table(estimates: Sequence[StageEstimate]) -> Table:
    """Lay estimates out as a table for the terminal, with a row of totals."""
    table = Table(title="plan: nothing has been asked", show_footer=True)
    costs = [line.cost for line in estimates if line.stage == "respond"]
    total = None if None in costs else sum(cost or 0.0 for cost in costs)
    footers = (
        "all", "", f"{sum(line.cells for line in estimates):,}", f"{sum(line.missing for line in estimates):,}",
        f"{sum(line.given_up for line in estimates):,}", _count(sum(line.input_tokens or 0.0 for line in estimates)),
        _count(sum(line.output_tokens or 0.0 for line in estimates)), _dollars(total),
    )  # fmt: skip
    headings = ("stage", "candidate", "cells", "to do", "given up", "tokens in", "out", "US dollars")
    for i, (heading, footer) in enumerate(zip(headings, footers, strict=True)):
        table.add_column(heading, footer, justify="left" if i < 2 else "right", overflow="fold")
    for line in estimates:
        at_most = "≤ " if line.guessed else ""
        table.add_row(
            line.stage, line.candidate, f"{line.cells:,}", f"{line.missing:,}", f"{line.given_up:,}",
            _count(line.input_tokens), at_most + _count(line.output_tokens),
            at_most + _dollars(line.cost) if line.stage == "respond" else "",
        )  # fmt: skip
    return table


def _count(tokens: float | None) -> str:
    return "" if tokens is None else f"{tokens:,.0f}"


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:,.4f}"
