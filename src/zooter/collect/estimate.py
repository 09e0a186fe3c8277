"""Estimate what a live run would compute and cost, without asking any candidate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from rich.table import Table

from zooter.collect.respond import FillPlan, plan_responses
from zooter.collect.reward import unzip
from zooter.collect.rewarder.protocol import (
    CHARACTERS_PER_TOKEN,
    AskingRewarder,
    ComparingRewarder,
    CompositeRewarder,
    Rewarder,
)
from zooter.collect.run import Collector
from zooter.data.content_keys import reward_keys
from zooter.data.pool import Candidate
from zooter.data.shards import KEY
from zooter.data.types import Query, Response


@dataclass(frozen=True)
class StageEstimate:
    """Estimate for one stage of one candidate.

    Attributes:
        stage: "respond", or the rewarder's title, such as "reward" or "truth: PART".
        candidate: the candidate's name.
        cells: number of cells in all.
        missing: number of cells to compute now; rewards of equal responses are one cell.
        given_up: number of cells that have failed too often to be tried again.
        calls: number of calls to make; None for rewards that ask no model. A judge's calls that are repeated because
            a reply cannot be read are not known in advance.
        pairs: number of pairs that these calls compare; None without a judge of pairs.
        input_tokens: estimated sum over the calls; None without calls.
        output_tokens: estimated sum over the calls; None without calls.
        cost: in US dollars; None where a price is not known.
        guessed: whether lengths are guesses, as no response of this candidate is stored: `CHARACTERS_PER_TOKEN` for
            the input, the longest response for the output.
    """

    stage: str
    candidate: str
    cells: int
    missing: int
    given_up: int = 0
    calls: int | None = None
    pairs: int | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost: float | None = None
    guessed: bool = False


def estimate_run(collector: Collector) -> list[StageEstimate]:
    """Estimate every stage of a live run.

    Args:
        collector: the run's settings; nothing is asked.

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
    lengths = {line.candidate: (line.output_tokens or 0.0) / line.missing for line in estimates if line.missing}
    for title, rewarder in _rewarders(collector):
        planned: set[str] = set()
        if isinstance(rewarder, ComparingRewarder):
            estimates.append(_estimate_comparisons(collector, title, rewarder, queries, plans, lengths))
            continue
        for name, plan in plans.items():
            estimates.append(_estimate_rewards(collector, title, rewarder, queries, name, plan, lengths, planned))
    return estimates


def _estimate_rewards(
    collector: Collector, title: str, rewarder: Rewarder, queries: Sequence[Query], name: str, plan: FillPlan,
    lengths: Mapping[str, float], planned: set[str],
) -> StageEstimate:  # fmt: skip
    """Estimate the missing rewards of a candidate, those of responses that are still to come included.

    Args:
        lengths: candidate → expected tokens of a response, for candidates with missing ones.
        planned: reward keys of the candidates before, to which this one's are added.
    """
    pairs = [pair for pair in collector.stored_responses(queries, name, plan.keys) if pair[1].error is None]
    keys = reward_keys(rewarder.identity(), *unzip(pairs))
    absent = {keys[i]: pairs[i] for i in collector.cells.rewards.missing(keys) if keys[i] not in planned}
    planned.update(absent)
    attempts = collector.cells.failure_counts(list(absent)).tolist()
    open_pairs = [
        pair for pair, count in zip(absent.values(), attempts, strict=True) if count < collector.policy.max_attempts
    ]
    given_up = len(absent) - len(open_pairs)
    open_pairs += _missing_pairs(queries, name, plan, lengths)
    line = StageEstimate(title, name, len(plan.keys), len(open_pairs), given_up)
    if not isinstance(rewarder, AskingRewarder):
        return line
    return replace(line, **vars(rewarder.estimate_calls(*unzip(open_pairs))))


def _estimate_comparisons(
    collector: Collector, title: str, rewarder: ComparingRewarder, queries: Sequence[Query],
    plans: Mapping[str, FillPlan], lengths: Mapping[str, float],
) -> StageEstimate:  # fmt: skip
    """Estimate the comparisons of all candidates' responses, those that are still to come included."""
    pairs = []
    for name, plan in plans.items():
        stored = collector.stored_responses(queries, name, plan.keys)
        pairs += [pair for pair in stored if pair[1].error is None] + _missing_pairs(queries, name, plan, lengths)
    return StageEstimate(title, "all", len(pairs), len(pairs), **vars(rewarder.estimate_calls(*unzip(pairs))))


def _missing_pairs(
    queries: Sequence[Query], name: str, plan: FillPlan, lengths: Mapping[str, float]
) -> list[tuple[Query, Response]]:
    """Make responses that stand for those that are not there yet: of their length, and unlike any other."""
    rows = [i % len(queries) for i in plan.missing]
    texts = [plan.keys[i].as_py().ljust(round(lengths[name] * CHARACTERS_PER_TOKEN), "x") for i in plan.missing]
    return [(queries[row], Response(queries[row].id, name, 0, text)) for row, text in zip(rows, texts, strict=True)]


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
    responses = collector.cells.responses.within(plan.group)
    stored = responses.table(["query_id", "input_tokens", "output_tokens", KEY], plan.keys)
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
    cost = candidate.cost(round(tokens[0]), round(tokens[1])) if len(plan.missing) else 0.0
    guessed = stored_output is None and len(plan.missing) > 0
    return StageEstimate(
        "respond", candidate.name, len(plan.keys), len(plan.missing), plan.given_up, len(plan.missing), None, *tokens,
        cost, guessed,
    )  # fmt: skip


def estimate_table(estimates: Sequence[StageEstimate]) -> Table:
    """Lay estimates out as a table for the terminal, with a row of totals.

    Args:
        estimates: of one run; costs in US dollars, None where a price is not known.
    """
    priced = [line for line in estimates if line.calls is not None]
    table = Table(
        title="plan: nothing has been asked",
        show_footer=True,
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    at_most = "≤ " if any(line.guessed for line in priced) else ""
    columns: list[tuple[str, str, Callable[[StageEstimate], str]]] = [
        ("stage", "all", lambda line: line.stage),
        ("candidate", "", lambda line: line.candidate),
        ("cells", _total(estimates, "cells"), lambda line: _count(line.cells)),
        ("to do", _total(estimates, "missing"), lambda line: _count(line.missing)),
        ("given up", _total(estimates, "given_up"), lambda line: _count(line.given_up)),
        ("calls", _total(priced, "calls"), lambda line: _count(line.calls)),
        ("pairs", _total(priced, "pairs"), lambda line: _count(line.pairs)),
        ("tokens in", _total(priced, "input_tokens"), lambda line: _tokens(line.input_tokens)),
        ("out", at_most + _total(priced, "output_tokens"), lambda line: _at_most(line) + _tokens(line.output_tokens)),
        ("dollars", at_most + _total_dollars(priced), lambda line: "" if line.calls is None else
         _at_most(line) + _dollars(line.cost)),
    ]  # fmt: skip
    # A terminal is 80 characters wide, and a number over two lines is misread.
    empty = {"pairs": not any(line.pairs for line in priced), "given up": not any(line.given_up for line in estimates)}
    columns = [column for column in columns if not empty.get(column[0])]
    for i, (heading, footer, _) in enumerate(columns):
        table.add_column(
            heading,
            footer,
            justify="left" if i < 2 else "right",
            overflow="fold",
            no_wrap=i >= 2,
            min_width=8 if i < 2 else None,
        )
    for line in estimates:
        table.add_row(*(show(line) for _, _, show in columns))
    return table


def _total(estimates: Sequence[StageEstimate], name: str) -> str:
    show = _tokens if "tokens" in name else _count
    return show(sum(getattr(line, name) or 0 for line in estimates))


def _total_dollars(estimates: Sequence[StageEstimate]) -> str:
    """Return the sum of the known costs; "unknown" is added if some are not."""
    costs = [line.cost for line in estimates]
    total = _dollars(sum(cost or 0.0 for cost in costs))
    return total if None not in costs else f"{total} + unknown" if any(costs) else "unknown"


def _at_most(line: StageEstimate) -> str:
    return "≤ " if line.guessed else ""


def _count(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


def _tokens(number: float | None) -> str:
    """Show a number of tokens, in millions where it is large: it is an estimate."""
    return f"{number / 1e6:,.1f} M" if number is not None and number >= 1e6 else _count(number)


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:,.4f}" if cost < 1 else f"{cost:,.2f}"
