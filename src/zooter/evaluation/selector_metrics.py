"""Summarise the results of selectors on the same queries, with an interval for every number.

Intervals are 95 % paired bootstrap over queries. Costs are US dollars per query. All functions return values that are
ready for JSON: `{"mean": …, "ci": [low, high]}` for numbers with an interval, None for what is undefined.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.split import normalise_text
from zooter.data.types import Floats, Rewards, Tags
from zooter.evaluation.harness import OperatingCurve
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics import cost_quality, routing
from zooter.metrics.per_tag import finite_or_none, per_tag_report

CPT_TARGETS = (0.2, 0.5, 0.8)  # shares of the gap recovered, for RouteLLM's CPT
QUERIES_PER_PRICE = 1_000  # RouterArena's prices are for a thousand queries


def summarise_selectors(
    results: Mapping[str, SelectorResults], test: Rewards, tags: Tags, single: str, oracle: str
) -> dict[str, Any]:
    """Summarise each selector: quality, cost, its place between best single candidate and oracle, and its ledger.

    Args:
        results: selector → its results on the n queries.
        test: (n, m) qualities of the candidates, NaN where not recorded. RouterArena's score needs all of them to be
            accuracies, in [0, 1].
        tags: of the n queries.
        single: name, among the selectors, of the best single candidate.
        oracle: name, among the selectors, of the oracle.

    Returns:
        Selector → its numbers; "gap_closed" is the share of the gap between `single` and `oracle`.
    """
    names, k = list(results), len(results)
    columns = np.stack([*(results[name].quality for name in names), *(results[name].cost for name in names)])
    accuracies = bool((np.nan_to_num(test.values) >= 0.0).all() and (np.nan_to_num(test.values) <= 1.0).all())
    statistic = partial(_statistics, k, names.index(single), names.index(oracle), accuracies)
    low, high = routing.paired_bootstrap(columns, statistic)
    point = statistic(*columns.mean(axis=1))
    quality, cost, closed, over, arena = (_with_intervals(point[i:], low[i:], high[i:]) for i in range(0, 5 * k, k))
    by_tag = per_tag_report({name: result.quality for name, result in results.items()}, test, tags)
    return {
        name: {
            "quality": quality[i],
            "cost": cost[i],
            "gap_closed": closed[i],
            "over_best_single": over[i],
            "arena": arena[i],
            "mean_task_rank": by_tag["mean_task_rank"][name],
            "uplift": by_tag["uplift"][name],
            **_summarise_ledger(results[name], test.candidates),
        }
        for i, name in enumerate(names)
    }


def _statistics(k: int, single: int, oracle: int, accuracies: bool, *means: Floats) -> Floats:
    """Stack k values each: mean quality, mean cost, gap closed, lead over the best single, RouterArena's score."""
    quality, cost = np.stack(means[:k]), np.stack(means[k:])
    closed = [routing.gap_closed(row, quality[single], quality[oracle]) for row in quality]
    arena = routing.arena_score(quality, QUERIES_PER_PRICE * cost) if accuracies else np.full_like(quality, np.nan)
    return np.concatenate([quality, cost, closed, quality - quality[single], arena])


def paired_differences(results: Mapping[str, SelectorResults]) -> dict[str, dict[str, Any]]:
    """Compare the quality of every two selectors.

    Returns:
        Selector → other selector → mean quality of the first less that of the second, with the interval of the paired
        difference.
    """
    names = list(results)
    first, second = np.triu_indices(len(names), 1)

    def leads(*means: Floats) -> Floats:
        quality = np.stack(means)
        return np.asarray(quality[first] - quality[second])

    columns = np.stack([results[name].quality for name in names])
    low, high = routing.paired_bootstrap(columns, leads)
    point = leads(*columns.mean(axis=1))
    differences: dict[str, dict[str, Any]] = {name: {} for name in names}
    for i, j, p, lo, hi in zip(first, second, point, low, high, strict=True):
        differences[names[i]][names[j]] = _with_interval(p, lo, hi)
        differences[names[j]][names[i]] = _with_interval(-p, -hi, -lo)
    return differences


def sample_savings(results: Mapping[str, SelectorResults], against: str) -> dict[str, Any]:
    """Compute the share of samples that each selector saves (ModelSwitch's comparison with self-consistency).

    Args:
        results: selector → its results.
        against: name of the selector whose samples are the reference: self-consistency.

    Returns:
        Selector → the share of the reference's samples that it did not draw, and its own samples per query.
    """
    reference = results[against].samples
    savings = {}
    for name, result in results.items():
        samples = result.samples.astype(float)
        columns = np.stack([samples, reference.astype(float)])
        low, high = routing.paired_bootstrap(columns, lambda used, available: (1.0 - used / available)[None])
        point = routing.samples_saved(samples, float(reference.mean()))
        savings[name] = {**_with_interval(point, low[0], high[0]), "samples": float(samples.mean())}
    return savings


def summarise_curve(curve: OperatingCurve, singles: tuple[Floats, Floats], low: float, high: float) -> dict[str, Any]:
    """Summarise an operating curve: its points, budget area, AIQ, APGR and CPT.

    Args:
        curve: p operating points on n queries.
        singles: (n,) qualities of the weak (cheapest) and of the strong candidate alone.
        low: US dollars per call of the cheapest candidate.
        high: US dollars per call of the dearest candidate.

    Returns:
        The points' means; "area" under budgets (Margin Sampling; None without budgets), "aiq" (RouterBench; undefined
        without prices), "apgr" and "cpt" (RouteLLM).
    """
    p = len(curve.quality)
    columns = np.concatenate([curve.quality, curve.cost, curve.strong, np.stack(singles)])
    statistic = partial(_curve_statistics, curve.budgets, p, (low, high))
    ends = routing.paired_bootstrap(columns, statistic)
    point = statistic(*columns.mean(axis=1)[:, None])[:, 0]
    area, aiq, apgr, *cpt = _with_intervals(point, *ends)
    return {
        "budgets": None if curve.budgets is None else curve.budgets.tolist(),
        "quality": curve.quality.mean(axis=1).tolist(),
        "cost": [finite_or_none(x) for x in curve.cost.mean(axis=1)],
        "strong": curve.strong.mean(axis=1).tolist(),
        "area": area if curve.budgets is not None else None,
        "aiq": aiq,
        "apgr": apgr,
        "cpt": {f"{target:.0%}": value for target, value in zip(CPT_TARGETS, cpt, strict=True)},
    }


def _curve_statistics(budgets: Floats | None, p: int, prices: tuple[float, float], *means: Floats) -> Floats:
    """Compute (6, r) numbers of r resamples: budget area, AIQ, APGR, and CPT at the targets."""
    quality, cost, strong = np.split(np.stack(means[: 3 * p]), 3)
    weak, best = means[3 * p], means[3 * p + 1]
    statistics = np.full((3 + len(CPT_TARGETS), quality.shape[1]), np.nan)
    if budgets is not None:
        statistics[0] = cost_quality.budget_area(budgets, quality)
    priced = not np.isnan(cost).any()
    for r in range(quality.shape[1]):
        if priced:
            statistics[1, r] = cost_quality.aiq(cost[:, r], quality[:, r], *prices)
        ends = float(weak[r]), float(best[r])
        statistics[2, r] = cost_quality.apgr(strong[:, r], quality[:, r], *ends)
        statistics[3:, r] = [cost_quality.cpt(strong[:, r], quality[:, r], *ends, target) for target in CPT_TARGETS]
    return statistics


def _with_interval(point: float, low: float, high: float) -> dict[str, Any]:
    return {"mean": finite_or_none(point), "ci": [finite_or_none(low), finite_or_none(high)]}


def _with_intervals(point: Floats, low: Floats, high: Floats) -> list[dict[str, Any]]:
    return [_with_interval(*ends) for ends in zip(point, low, high, strict=False)]


def _summarise_ledger(result: SelectorResults, names: tuple[str, ...]) -> dict[str, Any]:
    """Average calls, tokens, fees and seconds per query, and count whose responses were returned."""
    return {
        "calls": dict(zip(names, result.calls.mean(axis=0).tolist(), strict=True)),
        "samples": float(result.samples.mean()),
        "tokens": result.tokens.mean(axis=0).tolist(),
        "fees": finite_or_none(result.fees.mean()),
        "rounds": float(result.rounds.mean()),
        "seconds": float(result.seconds.mean()),
        "failed": int(result.failed.sum()),
        "unanswered": int((result.chosen < 0).sum()),
        "chosen": {name: float(np.mean(result.chosen == j)) for j, name in enumerate(names)},
    }


def summarise_candidates(test: Rewards, prices: Mapping[str, float]) -> dict[str, Any]:
    """Summarise the single candidates, and the zero router: the hull of their mixtures (RouterBench).

    Args:
        test: (n, m) qualities.
        prices: candidate → US dollars per call; NaN where unknown.

    Returns:
        Mean quality and cost of each candidate; the hull as its costs and its qualities, and its AIQ, both None unless
        all prices and qualities are known.
    """
    quality = test.column_means()
    cost = np.array([prices[name] for name in test.candidates])
    singles = {
        name: {"quality": finite_or_none(q), "cost": finite_or_none(c)}
        for name, q, c in zip(test.candidates, quality, cost, strict=True)
    }
    if np.isnan(quality).any() or np.isnan(cost).any():
        return {"singles": singles, "hull": None, "aiq": None}
    corners = cost_quality.hull(cost, quality)
    aiq = cost_quality.aiq(cost, quality, float(cost.min()), float(cost.max()))
    return {"singles": singles, "hull": [row.tolist() for row in corners], "aiq": finite_or_none(aiq)}


def summarise_consistency(test: ResponseTable, bins: int = 6) -> dict[str, Any] | None:
    """Relate the entropy of each candidate's sampled answers to their quality (ModelSwitch).

    An answer is the response's normalised text.

    Args:
        test: the recorded responses; only queries with two or more samples of a candidate count for it.
        bins: number of bins of equal count.

    Returns:
        Candidate → Pearson correlation, and mean entropy in bits and mean quality per bin; None if no query has two
        samples of a candidate.
    """
    summaries: dict[str, Any] = {}
    for name in test.pool.names:
        cells = [row.get(name, ()) for row in test.cells]
        several = [samples for samples in cells if len(samples) > 1 and any(cell.response.text for cell in samples)]
        if not several:
            continue
        bits = routing.answer_entropy([[normalise_text(cell.response.text) for cell in samples] for samples in several])
        quality = np.array([np.mean([cell.quality for cell in samples]) for samples in several])
        low, high = routing.paired_bootstrap(_moments(bits, quality), _correlation)
        parts = [part for part in np.array_split(np.argsort(bits, kind="stable"), bins) if len(part)]
        summaries[name] = {
            "queries": len(several),
            "pearson": _with_interval(routing.pearson(bits, quality), low[0], high[0]),
            "bits": [float(bits[part].mean()) for part in parts],
            "quality": [float(quality[part].mean()) for part in parts],
        }
    return summaries or None


def _moments(x: Floats, y: Floats) -> Floats:
    """Stack (5, n) values whose means determine the correlation."""
    return np.stack([x, y, x * x, y * y, x * y])


def _correlation(x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
    spread = np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0.0))
    return np.divide(xy - x * y, spread, out=np.full(np.shape(spread), np.nan), where=spread > routing.TOLERANCE)[None]
