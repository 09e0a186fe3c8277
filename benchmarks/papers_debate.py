"""Margin and consistency against debates at about 15 calls, live on the zoo."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from papers_switch import EXTRACT, TEMPERATURE, order
from papers_zoo import CONF, TRUTH, ahead, asked, draw, points, responder, some, table, verdict, zoo

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

TEST = 300
# The authors' temperatures; AgentVerse's evaluator, which has 0.3, is asked like the others.
DEBATES = {
    "mad": (1.0, {"rounds": 5}),
    "chateval": (0.0, {"turns": 5}),
    "moa": (0.7, {"layers": 5}),
    "agentverse": (0.0, {}),
}
# The least that tells a model what the others said: the zoo's models read 256 tokens and know questions alone.
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
    """(n,) quality of what was returned, calls, those of them that failed, and calls one after the other."""

    quality: Floats
    calls: Floats
    failed: Floats
    rounds: Floats

    def row(self) -> list[str]:
        """Accuracy, calls, rounds, and the share of calls that failed."""
        lost = self.failed.sum() / max(1.0, self.calls.sum())
        return [points(self.quality), f"{self.calls.mean():.1f}", f"{self.rounds.mean():.1f}", f"{lost:.0%}"]


def held(selector: Any, queries: Sequence[Query], pool: Pool, temperature: float, cache: Path) -> Outcome:
    """The selector live on these queries, all of them in flight together."""
    flight = LiveEvaluator(pool, responder(temperature), cells=ResponseCache(cache), in_flight=len(queries))
    return outcome(asyncio.run(flight.run(selector, queries)))


def outcome(decided: Sequence[RecordedSelection]) -> Outcome:
    """What these decisions were worth and cost."""
    return Outcome(
        _quality(decided),
        np.array([sum(one.ledger.calls.values()) for one in decided], dtype=float),
        np.array([one.ledger.failed for one in decided], dtype=float),
        np.array([len(one.ledger.rounds) for one in decided], dtype=float),
    )


def _quality(decided: Sequence[RecordedSelection]) -> Floats:
    values = np.zeros(len(decided))
    there = [i for i, one in enumerate(decided) if one.selection.response is not None]
    responses = [response for one in decided if (response := one.selection.response) is not None]
    values[there] = TRUTH.reward([decided[i].query for i in there], responses)
    return values


def debate(name: str, bare: bool) -> Any:
    """The selector of conf/selector with about 15 calls, with its own prompts or with bare ones."""
    node = yaml.safe_load((CONF / "selector" / f"{name}.yaml").read_text(encoding="utf-8"))
    built = config.build({**node, **DEBATES[name][1], **(BARE[name] if bare else {})})
    return replace(built, extract=EXTRACT) if hasattr(built, "extract") else built


def mine(queries: tuple[Query, ...], tiers: Pool, three: Pool, cache: Path) -> dict[str, Outcome]:
    """The two papers' selectors."""
    return {
        # Replayed, since a running threshold depends on the order of the stream, and live answers come in any.
        "margin, half of the queries go on": outcome(
            Replay(asked(queries, tiers, cache, 0.0)).run(MarginSelector(tiers.names))
        ),
        "consistency, 3 models × 5": held(
            ConsistencySelector(three.names, samples=5, extract=EXTRACT), queries, three, TEMPERATURE, cache
        ),
    }


def debates(queries: Sequence[Query], three: Pool, cache: Path) -> dict[str, Outcome]:
    """Every debate with its own prompts and with bare ones."""
    return {
        f"{name}, {'bare' if bare else 'its own'} prompts": held(
            debate(name, bare), queries, three, DEBATES[name][0], cache
        )
        for name in DEBATES
        for bare in (False, True)
    }


def section(cache: Path) -> list[str]:
    """Markdown."""
    names, queries = order(cache), draw(TEST, "test")
    three, best = some(zoo(), names[:3]), some(zoo(), names[:1])
    by_price = sorted(zoo().candidates, key=lambda candidate: candidate.price or 0.0)
    tiers = some(zoo(), [by_price[0].name, by_price[-1].name])
    ours, others = mine(queries, tiers, three, cache), debates(queries, three, cache)
    plain = {
        f"one greedy answer of `{names[0]}`": held(SingleSelector(names[0]), queries, best, 0.0, cache),
        f"self-consistency of `{names[0]}`, 15": held(
            SelfConsistencySelector(names[0], 15, EXTRACT), queries, best, TEMPERATURE, cache
        ),
    }
    told = {
        name: {our: ahead(ours[our].quality, of.quality) for our in ours}
        for name, of in {**ours, **plain, **others}.items()
    }
    rows = [
        [name, *of.row(), *("" if name == our else told[name][our][0] for our in ours)]
        for name, of in {**ours, **plain, **others}.items()
    ]
    short = {name.split(",")[0]: name for name in ours}
    return [
        "## Both against debates at about 15 calls",
        "",
        f"{TEST} test queries. Debates, and consistency, have {', '.join(f'`{name}`' for name in names[:3])}; margin"
        f" has `{tiers.names[0]}` before `{tiers.names[1]}`. Debates have their authors' temperatures.",
        "",
        "**The zoo's models were never taught to follow such prompts, and read 256 tokens.** They answer questions in a"
        " few tokens; what a debate adds to a question they have never seen, and a prompt that is too long is a failed"
        " call. *Bare* prompts are the question with the others' answers before it, and nothing else. So these rows say"
        " how the methods' code behaves with models that cannot debate, not what debates are worth.",
        "",
        *table(["selector", "accuracy", "calls", "rounds", "failed", *(f"{name} is ahead by" for name in short)], rows),
        *(f"Claim: {our} is better than every debate. {verdict([told[other][name][1] for other in others])}\n"
          for our, name in short.items()),
        "Neither is evidence for the claim with models that can debate.",
        "",
    ]  # fmt: skip
