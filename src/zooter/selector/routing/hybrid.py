"""HybridLLM (Ding et al., ICLR 2024): predict from the query whether the small candidate is good enough.

The quality gap of a query is H(q) = r(small) − r(large), over samples of both. Labels, as in the paper and
microsoft/best-route-llm:

- `det`: 1 where the first samples have H ≥ 0, else 0.
- `prob`: Pr[H ≥ 0] over all pairs of samples.
- `trans`: Pr[H ≥ −t*], which tolerates a deficit of t*: the t whose labels differ most between queries,
  argmax (1/N²) Σᵢⱼ |yᵢ(t) − yⱼ(t)| on a grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, SkipValidation

from zooter.data.component import PathField, component
from zooter.data.response_table import Cell, ResponseTable
from zooter.data.types import Floats, Query
from zooter.router.encoder import Embedder, Encoder
from zooter.selector.budget import EscalationThreshold, StreamState
from zooter.selector.protocol import Ask, Needs, Selection
from zooter.selector.routing.finetuned import FinetunedClassifier, Finetuning
from zooter.selector.routing.predicted import not_fitted_error
from zooter.selector.routing.text_classifier import TextClassifier
from zooter.selector.two_tier import TwoTier

DEFICIT_GRID_SIZE = 41  # values of t that are tried, from 0 to the largest deficit
OPERATING_POINTS = 21  # quantiles of the scores that are tried as thresholds


@dataclass(frozen=True, eq=False)
class HybridEstimator:
    """Predict the probability that the small candidate is good enough; an `Estimator`.

    Attributes:
        router: classifier of query texts.
        name: in the ledger.
        fee: US dollars per query.
    """

    router: TextClassifier | FinetunedClassifier
    name: str = "hybrid router"
    fee: float = 0.0

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """Return the probabilities (n, 1)."""
        return self.router.probability([query.text for query in queries])[:, None]


@component
class HybridSelector:
    """Ask the small candidate where its probability to be good enough is above the threshold, else the large one.

    Attributes:
        small: candidate; None is the cheapest.
        large: candidate; None is the one of the others with the best mean training reward.
        label: "det", "prob" or "trans".
        threshold: fixed, and fitted on validation rows by `drop` unless set; online under a budget.
        drop: the fitted threshold has the fewest large calls at which the mean validation reward is at most this
            fraction below that of the large candidate alone; 0 and 0.01 in the paper.
        budget: US dollars per query on average; set by `with_budget`.
        queries: length of the stream; set by `with_budget`.
        encoder: of the router.
        net: "frozen" for a linear layer on the encoder's features, or "finetune" to train the encoder too.
        finetune: how, with net=finetune.
        cache: folder for the embeddings of the rows that it is fitted on; None stores none.
        tiers: the two candidates; from `fit`.
        router: from `fit`.
        state: of the current stream; every copy made by `dataclasses.replace` starts a new one.
    """

    small: str | None = None
    large: str | None = None
    label: Literal["det", "prob", "trans"] = "trans"
    threshold: EscalationThreshold = field(default_factory=lambda: EscalationThreshold(online_threshold=False))
    drop: NonNegativeFloat = 0.01
    budget: float | None = None
    queries: int | None = None
    encoder: SkipValidation[Embedder] = field(default_factory=Encoder)
    cache: PathField | None = None
    net: Literal["frozen", "finetune"] = "frozen"
    finetune: Finetuning = field(default_factory=Finetuning)
    tiers: SkipValidation[TwoTier | None] = None
    router: SkipValidation[HybridEstimator | None] = None
    state: StreamState = field(default_factory=StreamState, init=False, repr=False, compare=False)
    needs: ClassVar[Needs] = Needs()

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask one tier by the router's score.

        Raises:
            ConfigError: the selector is not fitted.
        """
        if self.router is None or self.tiers is None:
            raise not_fitted_error("hybrid")
        tiers, score = self.tiers, float((await ask.estimate(self.router))[0])
        state = self.state.get_or_start(lambda: tiers.start_stream(self.threshold, self.budget, self.queries))
        return await tiers.route(ask, state, score)

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "HybridSelector":
        """Fit labels and router on training rows, and a fixed threshold on validation rows.

        Args:
            training: rows with rewards of both candidates; more samples of each give softer labels.
            validation: rows with rewards of both candidates.
        """
        tiers = TwoTier.choose(training, self.small, self.large)
        rows, rewards = paired_rewards(training, *tiers.names)
        texts, targets = [training.texts[i] for i in rows], soft_labels(rewards, self.label)
        router = (
            self.finetune.classifier(self.encoder, texts, targets)
            if self.net == "finetune"
            else TextClassifier.fit(self.encoder, texts, targets, self.cache)
        )
        threshold = self.threshold
        if not threshold.online_threshold and threshold.fixed is None:
            rows, rewards = paired_rewards(validation, *tiers.names)
            scores = router.probability([validation.texts[i] for i in rows], self.cache)
            means = np.array([[np.mean(small), np.mean(large)] for small, large in rewards]).reshape(-1, 2)
            threshold = replace(threshold, fixed=(cheapest_threshold(scores, means, self.drop),))
        return replace(self, tiers=tiers, threshold=threshold, router=HybridEstimator(router))

    def operating_points(self, validation: ResponseTable) -> list["HybridSelector"]:
        """Return one copy per quantile of the validation scores, from always small to always large.

        Args:
            validation: rows to score.

        Raises:
            ConfigError: the selector is not fitted.
        """
        if self.router is None:
            raise not_fitted_error("hybrid")
        scores = self.router.estimate(validation.queries)[:, 0]
        thresholds = (-np.inf, *np.unique(np.quantile(scores, np.linspace(0.0, 1.0, OPERATING_POINTS))).tolist())
        fixed = [replace(self.threshold, online_threshold=False, fixed=(threshold,)) for threshold in thresholds]
        return [replace(self, threshold=threshold) for threshold in fixed]

    @property
    def budget_candidates(self) -> tuple[str, ...]:
        """Return the two tiers, between whose prices budgets make a difference."""
        return self.tiers.names if self.tiers is not None else ()

    def with_budget(self, budget: float, queries: int) -> "HybridSelector":
        """Return a copy with an online threshold for the large calls that the budget allows.

        Args:
            budget: US dollars per query on average.
            queries: length of the stream.
        """
        threshold = replace(self.threshold, online_threshold=True)
        return replace(self, threshold=threshold, budget=budget, queries=queries)


def paired_rewards(recorded: ResponseTable, small: str, large: str) -> tuple[list[int], list[tuple[Floats, Floats]]]:
    """Collect the rewards of all samples of two candidates.

    Args:
        recorded: the rows.
        small: name of the small candidate.
        large: name of the large candidate.

    Returns:
        The rows on which both have rewards, and for each of them the rewards of the small and the large candidate.
    """
    rows, rewards = [], []
    for i, cells in enumerate(recorded.cells):
        pair = _rewards(cells.get(small, ())), _rewards(cells.get(large, ()))
        if all(map(len, pair)):
            rows.append(i)
            rewards.append(pair)
    return rows, rewards


def soft_labels(rewards: Sequence[tuple[Floats, Floats]], kind: str) -> Floats:
    """Compute the labels (n,) in [0, 1] of queries.

    Args:
        rewards: n pairs of the rewards of the small and the large candidate's samples.
        kind: "det", "prob" or "trans".
    """
    if kind == "det":
        return np.array([float(small[0] >= large[0]) for small, large in rewards])
    if kind == "prob":
        return probability_within(rewards, 0.0)
    return probability_within(rewards, best_deficit(rewards))


def probability_within(rewards: Sequence[tuple[Floats, Floats]], deficit: float) -> Floats:
    """Compute Pr[r(small) ≥ r(large) − deficit] (n,) over all pairs of a query's samples.

    Args:
        rewards: n pairs: rewards of the small and of the large candidate's samples.
        deficit: t ≥ 0, in units of reward.
    """
    return np.array([float(np.mean(small[:, None] >= large[None, :] - deficit)) for small, large in rewards])


def best_deficit(rewards: Sequence[tuple[Floats, Floats]]) -> float:
    """Find t*, the deficit whose labels differ most between queries; the smallest of several.

    Args:
        rewards: n pairs, as of `probability_within`.
    """
    largest = max((float(large.max() - small.min()) for small, large in rewards), default=0.0)
    grid = np.linspace(0.0, max(largest, 0.0), DEFICIT_GRID_SIZE)
    return float(max(grid, key=lambda t: label_spread(probability_within(rewards, t))))


def label_spread(values: Floats) -> float:
    """Compute (1/N²) Σᵢⱼ |yᵢ − yⱼ| by sorting: the k-th of N sorted values (from 0) has the weight 2(2k − N + 1).

    Args:
        values: (N,) labels in [0, 1].
    """
    n = len(values)
    return float(2.0 * np.sum((2 * np.arange(n) - n + 1) * np.sort(values)) / n**2) if n else 0.0


def cheapest_threshold(scores: Floats, means: Floats, drop: float) -> float:
    """Find the lowest threshold at which the mean reward is at most `drop` below the large candidate's.

    Args:
        scores: (n,); queries above a threshold go to the small candidate.
        means: (n, 2) mean rewards of the small and the large candidate.
        drop: fraction of the large candidate's mean reward, in [0, 1].

    Returns:
        −inf is always small; inf, always large, without rows.
    """
    large_mean = float(means[:, 1].mean()) if len(means) else 0.0
    for threshold in (-np.inf, *np.unique(scores).tolist()):
        rewards = np.where(scores > threshold, means[:, 0], means[:, 1])
        if len(means) and rewards.mean() >= large_mean - drop * abs(large_mean):
            return float(threshold)
    return float("inf")


def _rewards(cells: Sequence[Cell]) -> Floats:
    return np.array([cell.reward for cell in cells if not np.isnan(cell.reward)])
