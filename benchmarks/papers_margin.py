"""Margin Sampling's claims on the zoo: a cascade by the small model's margin against those that learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from papers_zoo import KeptEncoder, ahead, asked, draw, points, some, table, verdict, zoo

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.evaluation.harness import operating_curve, with_prices
from zooter.evaluation.replay import Replay
from zooter.metrics import cost_quality
from zooter.selector.cascade.frugal import FrugalSelector
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.routing.hybrid import HybridSelector
from zooter.selector.routing.predicted import PredictedSelector

ROWS, HELD, TEST = 2_100, 500, 1_050  # 100 training queries a skill, which are doubled once, and 50 to test
RATIOS = (3.0, 5.0, 10.0)  # what a call of the large candidate costs, in calls of the small one


@dataclass(frozen=True)
class Tables:
    """Two candidates' greedy answers: rows to train on (the first half of them are once, all are twice), to validate
    on and to test on."""

    training: ResponseTable
    validation: ResponseTable
    test: ResponseTable

    @property
    def names(self) -> tuple[str, str]:
        small, large = self.test.pool.names
        return small, large


def tables(cache: Path) -> Tables:
    """The cheapest and the dearest candidate of the zoo."""
    pool = zoo()
    of_price = sorted(pool.candidates, key=lambda candidate: candidate.price or 0.0)
    pair = some(pool, [of_price[0].name, of_price[-1].name])
    drawn = draw(2 * ROWS + HELD, "train")
    training, validation = drawn[: 2 * ROWS], drawn[2 * ROWS :]
    return Tables(*(asked(queries, pair, cache, 0.0) for queries in (training, validation, draw(TEST, "test"))))


def fitted(found: Tables, rows: int, cache: Path) -> dict[str, Any]:
    """The selectors that learn, on so many training rows, all by one net; each under a running threshold."""
    small, large = found.names
    training = with_prices(found.training.take(range(rows)), {small: 1.0, large: 2.0})
    encoder = KeptEncoder(folder_of_all=cache)
    learners = {
        "predicted (Routing)": PredictedSelector(small=small, large=large, encoder=encoder),
        "hybrid (HybridLLM, prob)": HybridSelector(small=small, large=large, label="prob", encoder=encoder),
        "frugal (FrugalGPT)": FrugalSelector(rule="running", small=small, large=large, encoder=encoder),
        "margin": MarginSelector((small, large)),
    }
    validation = with_prices(found.validation, {small: 1.0, large: 2.0})
    return {name: learner.fit(training, validation) for name, learner in learners.items()}


def at_prices(selector: Any, prices: Mapping[str, float]) -> Any:
    """The fitted selector for other prices: nothing that it has learned depends on them."""
    if isinstance(selector, MarginSelector):
        return replace(selector, prices=prices)
    small, large = selector.tiers.names
    return replace(selector, tiers=replace(selector.tiers, prices=(prices[small], prices[large])))


def areas(
    found: Tables, selectors: Mapping[str, Any], ratio: float, streams: Sequence[Sequence[int]]
) -> dict[str, Floats]:
    """Selector → (n,) parts of the area under quality by budget, each query in its stream; their mean is the area.

    Random is the mixture of both candidates: (q_small + q_large) / 2 is its mean over all budgets.
    """
    small, large = found.names
    prices = {small: 1.0, large: ratio}
    table = with_prices(found.test, prices)
    values = {"random": table.qualities().values.mean(axis=1)}
    for name, selector in selectors.items():
        values[name], there = np.empty(len(table.queries)), at_prices(selector, prices)
        for rows in streams:
            of = operating_curve(Replay(table.take(rows)), there, found.validation, large)
            values[name][list(rows)] = cost_quality.budget_area(of.budgets, of.quality)
    return values


def section(cache: Path) -> list[str]:
    """Markdown."""
    found = tables(cache)
    test, (small, large) = found.test, found.names
    skills = sorted({query.tags[0] for query in test.queries})
    rows_of = {skill: [i for i, query in enumerate(test.queries) if query.tags[0] == skill] for skill in skills}
    once, twice = fitted(found, ROWS, cache), fitted(found, 2 * ROWS, cache)
    everything = [list(range(len(test.queries)))]
    whole = {ratio: areas(found, once, ratio, everything) for ratio in RATIOS}
    twice.pop("margin")  # learns nothing
    doubled = {**areas(found, twice, 5.0, everything), "margin": whole[5.0]["margin"]}
    by_skill = areas(found, once, 5.0, list(rows_of.values()))
    quality = test.qualities().values
    return [
        "## Margin Sampling: a cascade by the small model's margin",
        "",
        f"`{small}` ({points(quality[:, 0])} % right) before `{large}` ({points(quality[:, 1])} %), greedy; {TEST:,}"
        f" test queries of {len(skills)} skills, {ROWS:,} training queries for those that learn, all by one net on a"
        " frozen MiniLM; one greedy answer each, so that HybridLLM's labels det and prob are one. Area under accuracy"
        " by budget, divided by the range of budgets, in percent: 100 budgets × 3 orders.",
        "",
        *_one_stream(whole),
        *_by_skill(by_skill, rows_of),
        *_robust(whole, doubled),
    ]  # fmt: skip


def _one_stream(whole: Mapping[float, Mapping[str, Floats]]) -> list[str]:
    names = [name for name in whole[5.0] if name != "margin"]
    told = {ratio: {name: ahead(of["margin"], of[name]) for name in names} for ratio, of in whole.items()}
    rows = [["margin", *(points(of["margin"]) for of in whole.values())]]
    rows += [[name, *(f"{points(of[name])}; {told[ratio][name][0]}" for ratio, of in whole.items())] for name in names]
    outcomes = [told[ratio][name][1] for ratio in whole for name in names]
    return [
        "### All skills in one stream, by price of the large model",
        "",
        *table(["selector", *(f"{ratio:.0f}×" for ratio in whole)], rows),
        "Behind the semicolon: how far margin is ahead. A query's words tell its skill, and with it how good each model"
        " will be, which selectors that learn from queries can use in a stream of all skills.",
        "",
        f"Claim: margin is better than all of them at all prices. {verdict(outcomes)}",
        "",
    ]


def _by_skill(values: Mapping[str, Floats], rows_of: Mapping[str, Sequence[int]]) -> list[str]:
    means = {
        skill: {name: float(of[list(rows)].mean()) for name, of in values.items()} for skill, rows in rows_of.items()
    }
    lines = []
    for skill, of in means.items():
        best = max(of.values())
        lines.append([skill, *(f"**{100 * x:.1f}**" if x == best else f"{100 * x:.1f}" for x in of.values())])
    first = {name: sum(of[name] == max(of.values()) for of in means.values()) for name in values}
    second = {name: sum(of[name] >= sorted(of.values())[-2] for of in means.values()) for name in values}
    lines.append(["all", *(points(of) for of in values.values())])
    outcomes = [ahead(values["margin"], of)[1] for name, of in values.items() if name != "margin"]
    return [
        "### Every skill a stream of its own, 5×",
        "",
        *table(["skill", *values], lines),
        f"Claim: margin is the best in 25 of 27 tasks. Here it is the best in **{first['margin']} of {len(means)}**"
        f" and one of the best two in {second['margin']}; the others are the best in "
        + ", ".join(f"{count} ({name})" for name, count in first.items() if name != "margin")
        + f". On all skills together, better than each other selector: {verdict(outcomes)}",
        "",
    ]


def _robust(whole: Mapping[float, Mapping[str, Floats]], doubled: Mapping[str, Floats]) -> list[str]:
    learned = [name for name in doubled if name not in ("margin", "random")]
    told = {name: ahead(doubled["margin"], doubled[name]) for name in learned}
    lines = [[name, points(whole[5.0][name]), points(doubled[name]), told[name][0]] for name in learned]
    best = [max(of, key=lambda name: float(of[name].mean())) for of in whole.values()]
    frugal = [sorted(of, key=lambda name: -of[name].mean()).index("frugal (FrugalGPT)") + 1 for of in whole.values()]
    return [
        "### Twice the training data, one stream, 5×",
        "",
        *table(["selector", f"{ROWS:,}", f"{2 * ROWS:,}", "margin is ahead of the latter by"], lines),
        "Claim: margin stays ahead when the others have twice the data. " + verdict([told[n][1] for n in learned]),
        "",
        f"Claim: the price of the large model changes little. The best at {', '.join(f'{r:.0f}×' for r in whole)}: "
        f"{', '.join(best)}. Claim: FrugalGPT is second on average. Its places: {', '.join(map(str, frugal))}.",
        "",
    ]
