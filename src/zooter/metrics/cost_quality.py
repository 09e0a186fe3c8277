"""Quality against price: the numbers that sum up a curve of settings. Pure NumPy; every function names its source.

A point of a curve is one setting of a selector: what it pays per query on average, and the mean quality it gets. Price
and quality are arrays of equal length, in any order unless said otherwise.
"""

import numpy as np

from zooter.data.types import Floats

BUDGETS = 100  # Margin Sampling's grid


def budgets(low: float, high: float, count: int = BUDGETS) -> Floats:
    """(count,) mean prices per query, evenly spaced from the cheap candidate's to the dear one's (Margin Sampling)."""
    return np.linspace(low, high, count)


def budget_area(allowed: Floats, quality: Floats) -> float:
    """Area under quality by budget, divided by the range of budgets: a mean quality over all budgets.

    Margin Sampling's score (arXiv 2405.02134; the authors' `plots.py`): trapezoids under accuracy(b), divided by
    c_l − c_s. The authors overwrite the last point with the dear candidate's accuracy; here it is what was measured.

    Args:
        allowed: (p,) budgets, increasing, from c_s to c_l.
        quality: (p,) mean quality under each; (p, r) for r resamples gives (r,).

    Returns:
        NaN where the budgets have no range.
    """
    width = allowed[-1] - allowed[0]
    return np.trapezoid(quality, allowed, axis=0) / width if width > 0 else quality[0] * np.nan


def recovered(share: Floats, quality: Floats, weak: float, strong: float) -> tuple[Floats, Floats]:
    """RouteLLM's curve (arXiv 2406.18665 §2.2): share of strong calls → performance gap recovered, in order of share.

    PGR = (quality − weak) / (strong − weak). Always weak (0, 0) and always strong (1, 1) are settings of every router
    and are added. All of it is NaN when the strong candidate is not better.
    """
    gap = strong - weak if strong > weak else np.nan
    share = np.concatenate([[0.0], share, [1.0]])
    gained = np.concatenate([[0.0], (np.asarray(quality) - weak) / gap, [1.0]])
    order = np.lexsort((gained, share))
    return share[order], gained[order]


def apgr(share: Floats, quality: Floats, weak: float, strong: float) -> float:
    """Average performance gap recovered: ∫ PGR over the share of strong calls from 0 to 1 (RouteLLM §2.2), trapezoids.

    0.5 is the random router. The paper averages PGR at ten shares, which is the same integral with a coarser rule.
    """
    share, gained = recovered(share, quality, weak, strong)
    return float(np.trapezoid(gained, share))


def cpt(share: Floats, quality: Floats, weak: float, strong: float, target: float) -> float:
    """Call-performance threshold: the smallest share of strong calls with PGR ≥ target (RouteLLM §2.2, CPT(x %)).

    Neighbouring settings are joined by lines, for one can mix them. The authors' code reads the share off by
    interpolating over quality, which is wrong where quality falls as the share grows; this takes the first crossing.

    Args:
        target: in [0, 1], such as 0.5 for CPT(50 %).

    Returns:
        A share in [0, 1]; NaN when the strong candidate is not better.
    """
    share, gained = recovered(share, quality, weak, strong)
    if np.isnan(gained).any():
        return float("nan")
    first = int(np.argmax(gained >= target))  # always strong reaches every target of at most 1
    if first == 0 or gained[first] == gained[first - 1]:
        return float(share[first])
    part = (target - gained[first - 1]) / (gained[first] - gained[first - 1])
    return float(share[first - 1] + part * (share[first] - share[first - 1]))


def hull(price: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Prices and qualities of the non-decreasing convex hull's corners, in order of price (RouterBench §4, AIQ).

    The best that mixing settings at random reaches at each price, never falling: the upper hull (Andrew's monotone
    chain), then the largest quality so far. One or two points are a hull too, at which the authors' code fails.
    """
    order = np.lexsort((-np.asarray(quality), price))
    corners: list[tuple[float, float]] = []
    for c, q in zip(np.asarray(price)[order].tolist(), np.asarray(quality)[order].tolist(), strict=True):
        if corners and c == corners[-1][0]:
            continue  # the better one of an equal price came first
        while len(corners) > 1 and _below(corners[-2], corners[-1], (c, q)):
            corners.pop()
        corners.append((c, q))
    found = np.array(corners)
    return found[:, 0], np.maximum.accumulate(found[:, 1])


def aiq(price: Floats, quality: Floats, low: float, high: float) -> float:
    """Average improvement in quality: the mean over prices low…high of the non-decreasing hull (RouterBench §4).

    Right of its dearest point a selector keeps its best quality; left of its cheapest point it has none and counts as
    0, as in the authors' code. The zero router, which every router has to beat, is the `aiq` of the single candidates.

    Args:
        low, high: the same for all compared selectors, such as the cheapest and the dearest candidate's price.

    Returns:
        NaN where the range is empty.
    """
    if not high > low:
        return float("nan")
    prices, qualities = hull(price, quality)
    start = max(low, float(prices[0]))
    if start >= high:
        return 0.0
    inner = prices[(prices > start) & (prices < high)]
    at = np.concatenate([[start], inner, [high]])
    return float(np.trapezoid(np.interp(at, prices, qualities), at) / (high - low))


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b is on or below the line from a to c; prices grow from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
