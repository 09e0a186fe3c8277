"""HybridLLM (Ding et al., ICLR 2024): a router that says from the query whether the small candidate is good enough.

Quality gap H(q) = r(small) − r(large), over samples of both. Labels, as in the paper and microsoft/best-route-llm:
`det` is 1 where the first samples have H ≥ 0; `prob` is Pr[H ≥ 0] over all pairs of samples; `trans` is Pr[H ≥ −t*],
which forgives a deficit of t*, the t that spreads labels most: argmax (1/N²) Σᵢⱼ |yᵢ(t) − yⱼ(t)| on a grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from zooter.data.response_table import Cell, ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.router.encoder import Embedder, Encoder
from zooter.selector.budget import BudgetState, EscalationThreshold
from zooter.selector.protocol import Ask, Needs, Selection
from zooter.selector.routing.predicted import not_fitted_error
from zooter.selector.routing.text_classifier import TextClassifier
from zooter.selector.two_tier import TwoTier

LABELS = ("det", "prob", "trans")
GRID = 41  # values of t that are looked at, from 0 to the largest deficit
SETTINGS = 21  # thresholds of the curve


@dataclass(frozen=True, eq=False)
class HybridEstimator:
    """Queries → (n, 1) probability that the small candidate is good enough, an `Estimator`."""

    router: TextClassifier
    name: str = "hybrid router"
    fee: float = 0.0

    def estimate(self, queries: Sequence[Query]) -> Floats:
        return self.router.probability([query.text for query in queries])[:, None]


@dataclass(frozen=True)
class HybridSelector:
    """Asks the small candidate where its chance to be good enough is above the threshold, else the large one.

    Attributes:
        small, large: candidates; None is the cheapest, and the one of the others with the best mean training reward.
        label: "det", "prob" or "trans".
        threshold: fixed, and fitted on validation rows by `drop` unless given; under a budget it runs with the stream.
        drop: the fitted threshold has the fewest large calls whose mean validation reward is at most this share below
            that of the large candidate alone; the paper's are 0 and 0.01.
        budget, queries: US dollars per query on average, and queries of the stream; set by `at`.
        encoder: frozen, of the router.
        cache: folder for the embeddings of the rows that it is fitted on; None keeps none.
        tiers, router: once fitted.
    """

    small: str | None = None
    large: str | None = None
    label: str = "trans"
    threshold: EscalationThreshold = field(default_factory=lambda: EscalationThreshold(running=False))
    drop: float = 0.01
    budget: float | None = None
    queries: int | None = None
    encoder: Embedder = field(default_factory=Encoder)
    cache: Path | None = None
    tiers: TwoTier | None = None
    router: HybridEstimator | None = None
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise ConfigError(expected=f"selector.label among {LABELS}", found=repr(self.label), do="correct it")
        if not self.drop >= 0.0:
            raise ConfigError(expected="selector.drop of 0 or more", found=str(self.drop), do="set 0.01, say")

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "HybridSelector":
        """Labels and router on training rows, the threshold on validation rows."""
        tiers = TwoTier.of(training, self.small, self.large)
        rows, samples = pairs(training, *tiers.names)
        router = TextClassifier.fit(
            self.encoder, [training.texts[i] for i in rows], labels(samples, self.label), self.cache
        )
        threshold = self.threshold
        if not threshold.running and threshold.fixed is None:
            held, of_held = pairs(validation, *tiers.names)
            scores = router.probability([validation.texts[i] for i in held], self.cache)
            means = np.array([[np.mean(small), np.mean(large)] for small, large in of_held]).reshape(-1, 2)
            threshold = replace(threshold, fixed=(lowest_threshold(scores, means, self.drop),))
        return replace(self, tiers=tiers, threshold=threshold, router=HybridEstimator(router))

    def settings(self, validation: ResponseTable) -> list["HybridSelector"]:
        """From always small to always large, by quantiles of the validation rows' scores."""
        if self.router is None:
            raise not_fitted_error("hybrid")
        scores = self.router.estimate(validation.queries)[:, 0]
        levels = (-np.inf, *np.unique(np.quantile(scores, np.linspace(0.0, 1.0, SETTINGS))).tolist())
        return [replace(self, threshold=replace(self.threshold, running=False, fixed=(t,))) for t in levels]

    def at(self, budget: float, queries: int) -> "HybridSelector":
        """A running threshold for the share of large calls that the budget allows."""
        return replace(self, threshold=replace(self.threshold, running=True), budget=budget, queries=queries)

    @cached_property
    def _stream(self) -> BudgetState:
        assert self.tiers is not None
        return self.tiers.stream(self.threshold, self.budget, self.queries)

    async def select(self, query: Query, ask: Ask) -> Selection:
        if self.router is None or self.tiers is None:
            raise not_fitted_error("hybrid")
        score = float((await ask.estimate(self.router))[0])
        return await self.tiers.route(ask, self._stream, score)


def pairs(recorded: ResponseTable, small: str, large: str) -> tuple[list[int], list[tuple[Floats, Floats]]]:
    """Rows on which both have rewards, and the rewards of their samples."""
    rows, found = [], []
    for i, of in enumerate(recorded.cells):
        both = _rewards(of.get(small, ())), _rewards(of.get(large, ()))
        if all(map(len, both)):
            rows.append(i)
            found.append(both)
    return rows, found


def labels(samples: Sequence[tuple[Floats, Floats]], kind: str) -> Floats:
    """(n,) soft labels of queries with these rewards of the small and the large candidate."""
    if kind == "det":
        return np.array([float(small[0] >= large[0]) for small, large in samples])
    if kind == "prob":
        return share_within(samples, 0.0)
    return share_within(samples, widest_deficit(samples))


def share_within(samples: Sequence[tuple[Floats, Floats]], deficit: float) -> Floats:
    """(n,) Pr[r(small) ≥ r(large) − deficit] over all pairs of a query's samples."""
    return np.array([float(np.mean(small[:, None] >= large[None, :] - deficit)) for small, large in samples])


def widest_deficit(samples: Sequence[tuple[Floats, Floats]]) -> float:
    """t*: the deficit whose labels differ most between queries; the smallest of several."""
    largest = max((float(large.max() - small.min()) for small, large in samples), default=0.0)
    grid = np.linspace(0.0, max(largest, 0.0), GRID)
    return float(max(grid, key=lambda t: spread(share_within(samples, t))))


def spread(values: Floats) -> float:
    """(1/N²) Σᵢⱼ |yᵢ − yⱼ|, by sorting: the k-th of n sorted values (from 0) is counted 2(2k − n + 1) times."""
    n = len(values)
    return float(2.0 * np.sum((2 * np.arange(n) - n + 1) * np.sort(values)) / n**2) if n else 0.0


def lowest_threshold(scores: Floats, means: Floats, drop: float) -> float:
    """The lowest threshold at which the mean reward is at most `drop` below the large candidate's.

    Args:
        scores: (n,) of which those above a threshold go to the small candidate.
        means: (n, 2) rewards of the small and the large candidate.
        drop: as a share of the large candidate's mean.

    Returns:
        -inf is always small; inf, always large, without rows.
    """
    whole = float(means[:, 1].mean()) if len(means) else 0.0
    for threshold in (-np.inf, *np.unique(scores).tolist()):
        earned = np.where(scores > threshold, means[:, 0], means[:, 1])
        if len(means) and earned.mean() >= whole - drop * abs(whole):
            return float(threshold)
    return float("inf")


def _rewards(cells: Sequence[Cell]) -> Floats:
    return np.array([cell.reward for cell in cells if not np.isnan(cell.reward)])
