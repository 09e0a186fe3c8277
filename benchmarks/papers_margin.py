"""Test Margin Sampling's claims on the zoo: a cascade by the small model's margin against selectors that learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from papers_zoo import CachedEncoder, collect_table, compare, draw, points, sub_pool, table, verdict, zoo

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.evaluation.curves import operating_curve
from zooter.evaluation.harness import with_prices
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
    """Two candidates' greedy answers for training (the first half, or all, of the rows), validation and test."""

    training: ResponseTable
    validation: ResponseTable
    test: ResponseTable

    @property
    def names(self) -> tuple[str, str]:
        small, large = self.test.pool.names
        return small, large


def make_tables(cache: Path) -> Tables:
    """Collect the answers of the cheapest and of the dearest candidate of the zoo."""
    pool = zoo()
    by_price = sorted(pool.candidates, key=lambda candidate: candidate.price or 0.0)
    pair = sub_pool(pool, [by_price[0].name, by_price[-1].name])
    drawn = draw(2 * ROWS + HELD, "train")
    training, validation = drawn[: 2 * ROWS], drawn[2 * ROWS :]
    return Tables(*(collect_table(queries, pair, cache, 0.0) for queries in (training, validation, draw(TEST, "test"))))


def fit_selectors(tables: Tables, rows: int, cache: Path) -> dict[str, Any]:
    """Fit the selectors on some training rows, all with the same net and an online threshold."""
    small, large = tables.names
    training = with_prices(tables.training.take(range(rows)), {small: 1.0, large: 2.0})
    encoder = CachedEncoder(shared_cache=cache)
    learners = {
        "predicted (Routing)": PredictedSelector(small=small, large=large, encoder=encoder),
        "hybrid (HybridLLM, prob)": HybridSelector(small=small, large=large, label="prob", encoder=encoder),
        "frugal (FrugalGPT)": FrugalSelector(rule="running", small=small, large=large, encoder=encoder),
        "margin": MarginSelector((small, large)),
    }
    validation = with_prices(tables.validation, {small: 1.0, large: 2.0})
    return {name: learner.fit(training, validation) for name, learner in learners.items()}


def with_new_prices(selector: Any, prices: Mapping[str, float]) -> Any:
    """Replace the prices of a fitted selector: nothing that it has learned depends on them."""
    if isinstance(selector, MarginSelector):
        return replace(selector, prices=prices)
    small, large = selector.tiers.names
    return replace(selector, tiers=replace(selector.tiers, prices=(prices[small], prices[large])))


def areas(
    tables: Tables, selectors: Mapping[str, Any], ratio: float, streams: Sequence[Sequence[int]]
) -> dict[str, Floats]:
    """Compute each selector's (n,) parts of the area under quality by budget; their mean is the area.

    Random is the mixture of both candidates: (q_small + q_large) / 2 is its mean over all budgets.
    """
    small, large = tables.names
    prices = {small: 1.0, large: ratio}
    table = with_prices(tables.test, prices)
    values = {"random": table.qualities().values.mean(axis=1)}
    for name, selector in selectors.items():
        values[name], repriced = np.empty(len(table.queries)), with_new_prices(selector, prices)
        for rows in streams:
            curve = operating_curve(Replay(table.take(rows)), repriced, tables.validation, large)
            values[name][list(rows)] = cost_quality.budget_area(curve.budgets, curve.quality)
    return values


def section(cache: Path) -> list[str]:
    """Write this part's Markdown."""
    tables = make_tables(cache)
    test, (small, large) = tables.test, tables.names
    skills = sorted({query.tags[0] for query in test.queries})
    rows_of = {skill: [i for i, query in enumerate(test.queries) if query.tags[0] == skill] for skill in skills}
    trained_once, trained_twice = fit_selectors(tables, ROWS, cache), fit_selectors(tables, 2 * ROWS, cache)
    everything = [list(range(len(test.queries)))]
    one_stream = {ratio: areas(tables, trained_once, ratio, everything) for ratio in RATIOS}
    trained_twice.pop("margin")  # learns nothing
    doubled = {**areas(tables, trained_twice, 5.0, everything), "margin": one_stream[5.0]["margin"]}
    by_skill = areas(tables, trained_once, 5.0, list(rows_of.values()))
    quality = test.qualities().values
    return [
        "## Margin Sampling: a cascade by the small model's margin",
        "",
        f"`{small}` ({points(quality[:, 0])} % right) before `{large}` ({points(quality[:, 1])} %), greedy; {TEST:,}"
        f" test queries of {len(skills)} skills, {ROWS:,} training queries for those that learn, all by one net on a"
        " frozen MiniLM; one greedy answer each, so that HybridLLM's labels det and prob are one. Area under accuracy"
        " by budget, divided by the range of budgets, in percent: 100 budgets × 3 orders.",
        "",
        *_one_stream(one_stream),
        *_by_skill(by_skill, rows_of),
        *_robust(one_stream, doubled),
    ]  # fmt: skip


def _one_stream(one_stream: Mapping[float, Mapping[str, Floats]]) -> list[str]:
    names = [name for name in one_stream[5.0] if name != "margin"]
    differences = {
        ratio: {name: compare(curve["margin"], curve[name]) for name in names} for ratio, curve in one_stream.items()
    }
    rows = [["margin", *(points(curve["margin"]) for curve in one_stream.values())]]
    rows += [
        [name, *(f"{points(curve[name])}; {differences[ratio][name][0]}" for ratio, curve in one_stream.items())]
        for name in names
    ]
    outcomes = [differences[ratio][name][1] for ratio in one_stream for name in names]
    return [
        "### All skills in one stream, by price of the large model",
        "",
        *table(["selector", *(f"{ratio:.0f}×" for ratio in one_stream)], rows),
        "Behind the semicolon: how far margin is ahead. A query's words tell its skill, and with it how good each model"
        " will be, which selectors that learn from queries can use in a stream of all skills.",
        "",
        f"Claim: margin is better than all of them at all prices. {verdict(outcomes)}",
        "",
    ]


def _by_skill(values: Mapping[str, Floats], rows_of: Mapping[str, Sequence[int]]) -> list[str]:
    means = {
        skill: {name: float(curve[list(rows)].mean()) for name, curve in values.items()}
        for skill, rows in rows_of.items()
    }
    lines = []
    for skill, curve in means.items():
        best = max(curve.values())
        lines.append([skill, *(f"**{100 * x:.1f}**" if x == best else f"{100 * x:.1f}" for x in curve.values())])
    first = {name: sum(curve[name] == max(curve.values()) for curve in means.values()) for name in values}
    second = {name: sum(curve[name] >= sorted(curve.values())[-2] for curve in means.values()) for name in values}
    ranks = {
        name: np.mean([1 + sum(other > curve[name] for other in curve.values()) for curve in means.values()])
        for name in values
    }
    lines.append(["all", *(points(curve) for curve in values.values())])
    lines.append(["average rank", *(f"{rank:.2f}" for rank in ranks.values())])
    outcomes = [compare(values["margin"], curve)[1] for name, curve in values.items() if name != "margin"]
    return [
        "### Every skill a stream of its own, 5×",
        "",
        *table(["skill", *values], lines),
        "Claim: margin is best in class in 25 of 27 setups (9 tasks × 3 pairs of models), by the abstract; by a digest"
        " of the paper, the best or the second best, which is less. Here, with one"
        f" pair, it is one of the best two in **{second['margin']} of {len(means)}** tasks and the best in"
        f" {first['margin']}; the others are the best in "
        + ", ".join(f"{count} ({name})" for name, count in first.items() if name != "margin")
        + f". On all skills together, better than each other selector: {verdict(outcomes)}",
        "",
    ]


def _robust(one_stream: Mapping[float, Mapping[str, Floats]], doubled: Mapping[str, Floats]) -> list[str]:
    learned = [name for name in doubled if name not in ("margin", "random")]
    differences = {name: compare(doubled["margin"], doubled[name]) for name in learned}
    lines = [[name, points(one_stream[5.0][name]), points(doubled[name]), differences[name][0]] for name in learned]
    best = [max(curve, key=lambda name: float(curve[name].mean())) for curve in one_stream.values()]
    frugal = [
        sorted(curve, key=lambda name: -curve[name].mean()).index("frugal (FrugalGPT)") + 1
        for curve in one_stream.values()
    ]
    return [
        "### Twice the training data, one stream, 5×",
        "",
        *table(["selector", f"{ROWS:,}", f"{2 * ROWS:,}", "margin is ahead of the latter by"], lines),
        "Claim: margin is still competitive when the others have twice the data. How far behind that may be, the paper"
        " does not say. Here it is ahead of them by"
        f" **{', '.join(differences[name][0].split()[0] for name in learned)} points**.",
        "",
        f"Claim: the price of the large model changes little. The best at {', '.join(f'{r:.0f}×' for r in one_stream)}:"
        f" {', '.join(best)}. Claim: FrugalGPT is second on average. Its places: {', '.join(map(str, frugal))}.",
        "",
    ]
