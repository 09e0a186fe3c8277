"""What selectors did on the same queries → the numbers of a comparison, ready for JSON, with intervals on all.

Intervals are 95 % paired bootstrap over queries. Dollars are per query.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.split import normalise
from zooter.data.types import Floats, Rewards, Tags
from zooter.evaluation.harness import OperatingCurve
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics import cost_quality, routing
from zooter.metrics.per_tag import by_tag, finite_or_none

TARGETS = (0.2, 0.5, 0.8)  # RouteLLM's CPT
THOUSAND = 1_000


def selector_summaries(
    accounts: Mapping[str, SelectorResults], test: Rewards, tags: Tags, single: str, oracle: str
) -> dict[str, Any]:
    """Selector → its numbers: quality, price, what they are against the best single candidate and the oracle, calls.

    Args:
        test: (n, m) the candidates' qualities on the same queries, NaN where not recorded.
        single, oracle: the names of these two among the accounts.
    """
    names, k = list(accounts), len(accounts)
    columns = np.stack([*(accounts[name].quality for name in names), *(accounts[name].cost for name in names)])
    accuracies = bool((np.nan_to_num(test.values) >= 0.0).all() and (np.nan_to_num(test.values) <= 1.0).all())
    statistic = partial(_statistics, k, names.index(single), names.index(oracle), accuracies)
    low, high = routing.paired_bootstrap(columns, statistic)
    point = statistic(*columns.mean(axis=1))
    quality, cost, closed, over, arena = (_told(point[i:], low[i:], high[i:]) for i in range(0, 5 * k, k))
    ranks = by_tag({name: found.quality for name, found in accounts.items()}, test, tags)
    return {
        name: {
            "quality": quality[i],
            "cost": cost[i],
            "gap_closed": closed[i],
            "over_best_single": over[i],
            "arena": arena[i],
            "mean_task_rank": ranks["mean_task_rank"][name],
            "uplift": ranks["uplift"][name],
            **_ledger(accounts[name], test.candidates),
        }
        for i, name in enumerate(names)
    }


def _statistics(k: int, single: int, oracle: int, accuracies: bool, *means: Floats) -> Floats:
    """Rows of k: means of quality, of cost, shares of the gap, leads over the best single, RouterArena's scores."""
    quality, cost = np.stack(means[:k]), np.stack(means[k:])
    closed = [routing.gap_closed(row, quality[single], quality[oracle]) for row in quality]
    arena = routing.arena_score(quality, THOUSAND * cost) if accuracies else np.full_like(quality, np.nan)
    return np.concatenate([quality, cost, closed, quality - quality[single], arena])


def differences(accounts: Mapping[str, SelectorResults]) -> dict[str, dict[str, Any]]:
    """Selector → other selector → by how much its quality is higher, with the interval of the paired difference."""
    names = list(accounts)
    first, second = np.triu_indices(len(names), 1)

    def leads(*means: Floats) -> Floats:
        quality = np.stack(means)
        return np.asarray(quality[first] - quality[second])

    columns = np.stack([accounts[name].quality for name in names])
    low, high = routing.paired_bootstrap(columns, leads)
    point = leads(*columns.mean(axis=1))
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for i, j, p, lo, hi in zip(first, second, point, low, high, strict=True):
        found[names[i]][names[j]] = {"mean": finite_or_none(p), "ci": [finite_or_none(lo), finite_or_none(hi)]}
        found[names[j]][names[i]] = {"mean": finite_or_none(-p), "ci": [finite_or_none(-hi), finite_or_none(-lo)]}
    return found


def sample_savings(accounts: Mapping[str, SelectorResults], against: str) -> dict[str, Any]:
    """Selector → the share of the samples of self-consistency (`against`) that it did not draw (ModelSwitch)."""
    budget = accounts[against].samples
    found = {}
    for name, account in accounts.items():
        used = account.samples.astype(float)
        columns = np.stack([used, budget.astype(float)])
        low, high = routing.paired_bootstrap(columns, lambda mine, theirs: (1.0 - mine / theirs)[None])
        point = routing.samples_saved(used, float(budget.mean()))
        found[name] = {
            "mean": finite_or_none(point),
            "ci": [finite_or_none(low[0]), finite_or_none(high[0])],
            "samples": float(used.mean()),
        }
    return found


def summarise_curve(found: OperatingCurve, singles: tuple[Floats, Floats], low: float, high: float) -> dict[str, Any]:
    """The numbers of one curve, and its points.

    Args:
        singles: (n,) qualities of the weak (cheapest) and of the strong candidate alone.
        low, high: US dollars of a call of the cheapest and of the dearest candidate.
    """
    p = len(found.quality)
    columns = np.concatenate([found.quality, found.cost, found.strong, np.stack(singles)])
    statistic = partial(_curve_statistics, found.budgets, p, (low, high))
    ends = routing.paired_bootstrap(columns, statistic)
    point = statistic(*columns.mean(axis=1)[:, None])[:, 0]
    area, aiq, apgr, *cpt = _told(point, *ends)
    return {
        "budgets": None if found.budgets is None else found.budgets.tolist(),
        "quality": found.quality.mean(axis=1).tolist(),
        "cost": [finite_or_none(x) for x in found.cost.mean(axis=1)],
        "strong": found.strong.mean(axis=1).tolist(),
        "area": area if found.budgets is not None else None,
        "aiq": aiq,
        "apgr": apgr,
        "cpt": {f"{target:.0%}": value for target, value in zip(TARGETS, cpt, strict=True)},
    }


def _curve_statistics(budgets: Floats | None, p: int, prices: tuple[float, float], *means: Floats) -> Floats:
    """Six numbers of each resample: budget area, AIQ, APGR, and CPT at the targets."""
    quality, cost, strong = np.split(np.stack(means[: 3 * p]), 3)
    weak, best = means[3 * p], means[3 * p + 1]
    found = np.full((3 + len(TARGETS), quality.shape[1]), np.nan)
    if budgets is not None:
        found[0] = cost_quality.budget_area(budgets, quality)
    priced = not np.isnan(cost).any()
    for r in range(quality.shape[1]):
        if priced:
            found[1, r] = cost_quality.aiq(cost[:, r], quality[:, r], *prices)
        ends = float(weak[r]), float(best[r])
        found[2, r] = cost_quality.apgr(strong[:, r], quality[:, r], *ends)
        found[3:, r] = [cost_quality.cpt(strong[:, r], quality[:, r], *ends, target) for target in TARGETS]
    return found


def _told(point: Floats, low: Floats, high: Floats) -> list[dict[str, Any]]:
    return [
        {"mean": finite_or_none(p), "ci": [finite_or_none(lo), finite_or_none(hi)]}
        for p, lo, hi in zip(point, low, high, strict=False)
    ]


def _ledger(account: SelectorResults, names: tuple[str, ...]) -> dict[str, Any]:
    """Means per query of what it cost, and which candidates' responses were returned."""
    return {
        "calls": dict(zip(names, account.calls.mean(axis=0).tolist(), strict=True)),
        "samples": float(account.samples.mean()),
        "tokens": account.tokens.mean(axis=0).tolist(),
        "fees": finite_or_none(account.fees.mean()),
        "rounds": float(account.rounds.mean()),
        "seconds": float(account.seconds.mean()),
        "failed": int(account.failed.sum()),
        "unanswered": int((account.chosen < 0).sum()),
        "chosen": {name: float(np.mean(account.chosen == j)) for j, name in enumerate(names)},
    }


def candidates(test: Rewards, prices: Mapping[str, float]) -> dict[str, Any]:
    """The single candidates: mean quality and price, and the zero router that one makes of them (RouterBench).

    Args:
        test: (n, m) qualities.
        prices: US dollars of a call; NaN where not known.
    """
    quality = test.column_means()
    cost = np.array([prices[name] for name in test.candidates])
    singles = {
        name: {"quality": finite_or_none(q), "cost": finite_or_none(c)}
        for name, q, c in zip(test.candidates, quality, cost, strict=True)
    }
    known = ~(np.isnan(quality) | np.isnan(cost))
    if not known.all():
        return {"singles": singles, "hull": None, "aiq": None}
    corners = cost_quality.hull(cost, quality)
    aiq = cost_quality.aiq(cost, quality, float(cost.min()), float(cost.max()))
    return {"singles": singles, "hull": [row.tolist() for row in corners], "aiq": finite_or_none(aiq)}


def consistency_accuracy(test: ResponseTable, bins: int = 6) -> dict[str, Any] | None:
    """Candidate → how the entropy of its sampled answers goes with their quality (ModelSwitch's consistency).

    An answer is the response's normalised text. None where no query has two samples of a candidate.
    """
    found: dict[str, Any] = {}
    for name in test.pool.names:
        cells = [of.get(name, ()) for of in test.cells]
        several = [samples for samples in cells if len(samples) > 1 and any(cell.response.text for cell in samples)]
        if not several:
            continue
        bits = routing.answer_entropy([[normalise(cell.response.text) for cell in samples] for samples in several])
        quality = np.array([np.mean([cell.quality for cell in samples]) for samples in several])
        low, high = routing.paired_bootstrap(_moments(bits, quality), _correlation)
        parts = [part for part in np.array_split(np.argsort(bits, kind="stable"), bins) if len(part)]
        found[name] = {
            "queries": len(several),
            "pearson": {
                "mean": finite_or_none(routing.pearson(bits, quality)),
                "ci": [finite_or_none(low[0]), finite_or_none(high[0])],
            },
            "bits": [float(bits[part].mean()) for part in parts],
            "quality": [float(quality[part].mean()) for part in parts],
        }
    return found or None


def _moments(x: Floats, y: Floats) -> Floats:
    """(5, n) of which the means give a correlation."""
    return np.stack([x, y, x * x, y * y, x * y])


def _correlation(x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
    spread = np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0.0))
    return np.divide(xy - x * y, spread, out=np.full(np.shape(spread), np.nan), where=spread > routing.ROUNDING)[None]
