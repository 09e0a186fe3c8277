"""Compare margin and consistency with debates at about 15 calls, live on the zoo."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from papers_switch import EXTRACT, TEMPERATURE, rank_candidates
from papers_zoo import CONF, TRUTH, collect_table, compare, draw, points, responder, sub_pool, table, verdict, zoo

from zooter.commands import config
from zooter.data.cache import ResponseCache
from zooter.data.pool import Pool
from zooter.data.types import Floats, Query
from zooter.evaluation.live import LiveEvaluator
from zooter.evaluation.replay import Replay
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import RecordedSelection
from zooter.selector.voting.consistency import ConsistencySelector
from zooter.selector.voting.self_consistency import SelfConsistencySelector

TEST_QUERIES = 300
# The authors' temperatures; AgentVerse's evaluator, which has 0.3, is asked like the others.
DEBATES = {
    "mad": (1.0, {"rounds": 5}),
    "chateval": (0.0, {"turns": 5}),
    "moa": (0.7, {"layers": 5}),
    "agentverse": (0.0, {}),
}
# Minimal prompts that still contain the others' answers: the zoo's models read 256 tokens and know only questions.
BARE: Mapping[str, Mapping[str, str]] = {
    "mad": {"first": "{query}", "own": " {answer}", "other": " {answer}", "again": "{others} {query}"},
    "chateval": {"turn": "{said} {query}", "last": "{said} {query}", "line": " {answer}"},
    "moa": {"combine": "{answers} {query}", "line": " {answer}"},
    "agentverse": {
        "assign": "{query}", "solve": "{query}", "review": "{answer} {query}", "revise": "{reviews} {query} {answer}",
        "evaluate": "{query} {answer}", "line": " {review}",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Quality, calls, failed calls and rounds, each (n,)."""

    quality: Floats
    calls: Floats
    failed: Floats
    rounds: Floats

    def row(self) -> list[str]:
        """Format accuracy, calls, rounds, and the share of calls that failed."""
        lost = self.failed.sum() / max(1.0, self.calls.sum())
        return [points(self.quality), f"{self.calls.mean():.1f}", f"{self.rounds.mean():.1f}", f"{lost:.0%}"]


def run_live(selector: Any, queries: Sequence[Query], pool: Pool, temperature: float, cache: Path) -> Outcome:
    """Run the selector live on these queries, all of them at the same time."""
    evaluator = LiveEvaluator(pool, responder(temperature), cache=ResponseCache(cache), in_flight=len(queries))
    return outcome(asyncio.run(evaluator.run(selector, queries)))


def outcome(selections: Sequence[RecordedSelection]) -> Outcome:
    """Collect the quality and the calls of selections."""
    return Outcome(
        _quality(selections),
        np.array([sum(recorded.ledger.calls.values()) for recorded in selections], dtype=float),
        np.array([recorded.ledger.failed for recorded in selections], dtype=float),
        np.array([len(recorded.ledger.rounds) for recorded in selections], dtype=float),
    )


def _quality(selections: Sequence[RecordedSelection]) -> Floats:
    values = np.zeros(len(selections))
    answered = [i for i, recorded in enumerate(selections) if recorded.selection.response is not None]
    responses = [response for recorded in selections if (response := recorded.selection.response) is not None]
    values[answered] = TRUTH.reward([selections[i].query for i in answered], responses)
    return values


def make_debate(name: str, bare: bool) -> Any:
    """Make the selector of conf/selector for about 15 calls, with its own prompts or with minimal ones."""
    node = yaml.safe_load((CONF / "selector" / f"{name}.yaml").read_text(encoding="utf-8"))
    built = config.build({**node, **DEBATES[name][1], **(BARE[name] if bare else {})})
    return replace(built, extract=EXTRACT) if hasattr(built, "extract") else built


def paper_selectors(queries: tuple[Query, ...], tiers: Pool, three: Pool, cache: Path) -> dict[str, Outcome]:
    """Run the two papers' selectors."""
    return {
        # Replayed, since a running threshold depends on the order of the stream, and live answers come in any.
        "margin, half of the queries go on": outcome(
            Replay(collect_table(queries, tiers, cache, 0.0)).run(MarginSelector(tiers.names))
        ),
        "consistency, 3 models × 5": run_live(
            ConsistencySelector(three.names, samples=5, extract=EXTRACT), queries, three, TEMPERATURE, cache
        ),
    }


def run_debates(queries: Sequence[Query], three: Pool, cache: Path) -> dict[str, Outcome]:
    """Run every debate with its own prompts and with minimal ones."""
    return {
        f"{name}, {'bare' if bare else 'its own'} prompts": run_live(
            make_debate(name, bare), queries, three, DEBATES[name][0], cache
        )
        for name in DEBATES
        for bare in (False, True)
    }


def section(cache: Path) -> list[str]:
    """Write this part's Markdown."""
    names, queries = rank_candidates(cache), draw(TEST_QUERIES, "test")
    three, best = sub_pool(zoo(), names[:3]), sub_pool(zoo(), names[:1])
    by_price = sorted(zoo().candidates, key=lambda candidate: candidate.price or 0.0)
    tiers = sub_pool(zoo(), [by_price[0].name, by_price[-1].name])
    papers, debated = paper_selectors(queries, tiers, three, cache), run_debates(queries, three, cache)
    plain = {
        f"one greedy answer of `{names[0]}`": run_live(SingleSelector(names[0]), queries, best, 0.0, cache),
        f"self-consistency of `{names[0]}`, 15": run_live(
            SelfConsistencySelector(names[0], 15, EXTRACT), queries, best, TEMPERATURE, cache
        ),
    }
    differences = {
        name: {paper: compare(papers[paper].quality, result.quality) for paper in papers}
        for name, result in {**papers, **plain, **debated}.items()
    }
    rows = [
        [name, *result.row(), *("" if name == paper else differences[name][paper][0] for paper in papers)]
        for name, result in {**papers, **plain, **debated}.items()
    ]
    short_names = {name.split(",")[0]: name for name in papers}
    return [
        "## Both against debates at about 15 calls",
        "",
        f"{TEST_QUERIES} test queries. Debates, and consistency, have {', '.join(f'`{name}`' for name in names[:3])};"
        f" margin has `{tiers.names[0]}` before `{tiers.names[1]}`. Debates have their authors' temperatures.",
        "",
        "**The zoo's models were never taught to follow such prompts, and read 256 tokens.** They answer questions in a"
        " few tokens; what a debate adds to a question they have never seen, and a prompt that is too long is a failed"
        " call. *Bare* prompts are the question with the others' answers before it, and nothing else. So these rows say"
        " how the methods' code behaves with models that cannot debate, not what debates are worth.",
        "",
        *table(
            ["selector", "accuracy", "calls", "rounds", "failed", *(f"{name} is ahead by" for name in short_names)],
            rows,
        ),
        *(f"Claim: {paper} is better than every debate. {verdict([differences[other][name][1] for other in debated])}\n"
          for paper, name in short_names.items()),
        "Neither is evidence for the claim with models that can debate.",
        "",
    ]  # fmt: skip
