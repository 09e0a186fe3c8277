"""Decide whether a query escalates to the next, dearer tier: by a quantile of past scores, within a budget.

The rule of Margin Sampling (Ramírez, Birch & Titov, COLM 2024), as in the authors' code (guillemram97/margin_llms,
`make_cascade` and `make_hybrid`), for any score of which a low one means "unsure", and for two tiers or more. With R
dollars left, k queries left, this one included, and c_first, c_last the mean prices of one call of the first and last
tier, each query takes these steps:

1. R < c_first: no candidate is asked.
2. R ≤ k · c_first: the first tier alone; its score joins the past scores.
3. R ≥ k · c_last, and the last tier is better: the last tier at once, without the first.
4. Otherwise the first tier; its score s joins the past scores A, and with |A| > warm-up the query escalates if
   s < A[⌊|A| · rate⌋] (A sorted; rate 1 escalates everything) and R pays for the next tier.

The paper has a warm-up of 10 queries, the code one of 20. Routing (`BudgetState.route`) decides before any candidate is
asked: the last tier if s ≤ threshold, else the first, and only the chosen tier is paid for.
"""

import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import NonNegativeInt

from zooter.data.component import Fraction, TupleField, component
from zooter.data.types import Floats
from zooter.errors import ConfigError

ESCALATION_RATES = tuple(i / 10 for i in range(11))  # of the operating points
RELATIVE_TOLERANCE = 1e-9  # so that N · c dollars pay for N calls in floating point too


@component
class EscalationThreshold:
    """Settings of the escalation rule, for every selector with tiers.

    Attributes:
        escalation_rate: fraction of each tier's queries that escalate, in [0, 1]; a budget takes its place.
        warm_up: scores of a tier to be seen before any of its queries escalates.
        online_threshold: the threshold is a quantile of the stream's past scores. False uses `fixed`, for serving.
        fixed: one threshold per tier but the last; None until fitted (`fit_fixed`) or set.
    """

    escalation_rate: Fraction = 0.5
    warm_up: NonNegativeInt = 10
    online_threshold: bool = True
    fixed: TupleField[float] | None = None

    def start_stream(
        self,
        prices: Sequence[float],
        budget: float | None = None,
        queries: int | None = None,
        means: Sequence[float] | None = None,
        routing: bool = False,
    ) -> "BudgetState":
        """Start the state of one stream of queries.

        Args:
            prices: (tiers,) US dollars of one call of each tier on average; may be NaN without a budget.
            budget: US dollars per query on average; None leaves `escalation_rate` as it is.
            queries: length of the stream. The budget is a hard limit only where both are set.
            means: (tiers,) mean training rewards; None where they are not known.
            routing: whether a query is sent to one tier before any is asked.

        Raises:
            ConfigError: a budget without prices, or fixed thresholds that are missing or too few.
        """
        rate = self.escalation_rate
        if budget is not None:
            if any(math.isnan(price) for price in prices):
                raise ConfigError(
                    expected="the price of a call of every tier, for a budget", found=f"{list(prices)}",
                    do="give the candidates prices, fit the selector on recorded costs, or leave the budget out",
                )  # fmt: skip
            rate = escalation_rate_for(budget, prices, means, routing)
        if not self.online_threshold and len(self.fixed or ()) != len(prices) - 1:
            raise ConfigError(
                expected=f"{len(prices) - 1} fixed thresholds for {len(prices)} tiers", found=f"{self.fixed}",
                do="fit the selector, give threshold.fixed=[…], or set threshold.online_threshold=true",
            )  # fmt: skip
        return BudgetState(
            prices=tuple(prices),
            escalation_rate=rate,
            warm_up=self.warm_up,
            fixed=None if self.online_threshold else self.fixed,
            budget_left=None if budget is None or queries is None else budget * queries,
            queries=queries,
            last_is_better=means is None or means[-1] > means[0],
        )

    def fit_fixed(self, scores: Floats) -> "EscalationThreshold":
        """Fit fixed thresholds that escalate `escalation_rate` of these rows at each tier.

        Args:
            scores: (n, tiers − 1) scores of validation rows; NaN (not known) escalates.
        """
        fixed, reaches_tier = [], np.ones(len(scores), dtype=bool)
        for column in scores.T:
            ordered = np.sort(column[reaches_tier & ~np.isnan(column)])
            fixed.append(quantile(ordered.tolist(), self.escalation_rate) if len(ordered) else -math.inf)
            reaches_tier &= np.isnan(column) | (column < fixed[-1])
        return replace(self, online_threshold=False, fixed=tuple(fixed))


@dataclass(slots=True)
class BudgetState:
    """Past scores and budget of one stream of queries. It asks no candidate: selectors do as it decides.

    Attributes:
        prices: (tiers,) US dollars of one call.
        escalation_rate, warm_up: see `EscalationThreshold`.
        fixed: (tiers − 1,) thresholds; None takes quantiles of the past scores.
        budget_left: US dollars left for the whole stream; None is no limit.
        queries: length of the stream; None where it is not known.
        last_is_better: whether the last tier has a larger mean reward than the first.
        queries_started: queries of the stream so far.
        past_scores: per tier, in ascending order.
    """

    prices: tuple[float, ...]
    escalation_rate: Fraction
    warm_up: NonNegativeInt = 10
    fixed: tuple[float, ...] | None = None
    budget_left: float | None = None
    queries: int | None = None
    last_is_better: bool = True
    queries_started: int = 0
    past_scores: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.past_scores = [[] for _ in self.prices]

    def step(self) -> "CascadeStep":
        """Start the next query's way through the cascade, and pay for its first call."""
        first, may_escalate = self._apply_guards()
        if first is not None:
            self.pay(first)
        return CascadeStep(self, first, may_escalate)

    def route(self, score: float) -> int | None:
        """Choose the next query's tier before any is asked, and pay for it.

        Args:
            score: NaN (not known) stays with the first tier.

        Returns:
            The first tier (0) or the last; None where the budget pays for no call.
        """
        tier, may_escalate = self._apply_guards()
        if tier == 0:
            is_unsure = score <= self.update_threshold(0, score)
            if may_escalate and is_unsure and self.can_afford(len(self.prices) - 1):
                tier = len(self.prices) - 1
        if tier is not None:
            self.pay(tier)
        return tier

    def update_threshold(self, tier: int, score: float) -> float:
        """Add a score to the past ones, unless it is NaN, and return the tier's threshold."""
        if self.fixed is not None:
            return self.fixed[tier]
        past = self.past_scores[tier]
        if score == score:
            insort(past, score)
        return quantile(past, self.escalation_rate) if len(past) > self.warm_up else -math.inf

    def can_afford(self, tier: int) -> bool:
        """Return whether the budget pays for one call of a tier."""
        return self.budget_left is None or self.budget_left >= self.prices[tier] * (1 - RELATIVE_TOLERANCE)

    def pay(self, tier: int) -> None:
        """Subtract the mean price of one call of a tier from the budget."""
        if self.budget_left is not None:
            self.budget_left -= self.prices[tier]

    def settle(self, tier: int, cost: float | None) -> None:
        """Replace the mean price paid for a call by its cost in US dollars; None (a failed call) is free."""
        if self.budget_left is not None:
            self.budget_left += self.prices[tier] - (cost or 0.0)

    def _apply_guards(self) -> tuple[int | None, bool]:
        """Steps 1 to 3: the tier to ask first, None for no tier, and whether the query may escalate from it."""
        position = self.queries_started
        self.queries_started += 1
        if self.budget_left is None or self.queries is None:
            return 0, True
        queries_left = max(1, self.queries - position)
        if not self.can_afford(0):
            return None, False
        if self.budget_left <= queries_left * self.prices[0] * (1 + RELATIVE_TOLERANCE):
            return 0, False
        if self.last_is_better and self.budget_left >= queries_left * self.prices[-1] * (1 - RELATIVE_TOLERANCE):
            return len(self.prices) - 1, False
        return 0, True


@dataclass(slots=True)
class CascadeStep:
    """One query's way through the tiers of a cascade.

    Attributes:
        state: of the query's stream.
        first: the tier to ask first; None where the budget pays for no call.
        may_escalate: whether the query may go beyond it.
    """

    state: BudgetState
    first: int | None
    may_escalate: bool

    def escalates(self, tier: int, score: float) -> bool:
        """Decide, in step 4, whether the next tier is asked too, and pay for it; NaN counts as the lowest score."""
        threshold = self.state.update_threshold(tier, score)
        return self.may_escalate and not score >= threshold and self.pay_if_affordable(tier + 1)

    def pay_if_affordable(self, tier: int) -> bool:
        """Pay for a call of a tier if there is one and the budget suffices; return whether it was paid."""
        if tier >= len(self.state.prices) or not self.state.can_afford(tier):
            return False
        self.state.pay(tier)
        return True


@dataclass(slots=True)
class StreamState:
    """What a selector remembers from query to query of one stream.

    A frozen selector holds it in a field with `init=False`, so that each copy made by `dataclasses.replace` starts a
    new stream.

    Attributes:
        tiers: past scores and budget of the selector's tiers; None before the first query.
    """

    tiers: BudgetState | None = None

    def get_or_start(self, start: Callable[[], BudgetState]) -> BudgetState:
        """Return the state of the tiers, which the first call starts."""
        if self.tiers is None:
            self.tiers = start()
        return self.tiers


def quantile(ordered: Sequence[float], rate: float) -> float:
    """Return the value below which the fraction `rate` of the sorted values lies; infinity for all of them.

    Args:
        ordered: values, ascending.
        rate: fraction in [0, 1].
    """
    place = int(len(ordered) * rate)
    return ordered[place] if place < len(ordered) else math.inf


def escalation_rate_for(
    budget: float, prices: Sequence[float], means: Sequence[float] | None = None, routing: bool = False
) -> float:
    """Compute the escalation rate p that spends a budget.

    A cascade spends c₁ + p c₂ + p² c₃ + … = b, routing (1 − p) c₁ + p c_last = b, with c the prices.

    Where the last tier is no better or no dearer than the first, there is nothing to buy, and p is the authors'
    min((1 − mean reward of the first) / 2, 0.6) (`utils_method.py`), for rewards in [0, 1].

    Args:
        budget: b, US dollars per query on average.
        prices: (tiers,) US dollars of one call.
        means: (tiers,) mean rewards; None where they are not known.
        routing: whether only the chosen tier is asked.

    Returns:
        p in [0, 1].
    """
    first, last = prices[0], prices[-1]
    if last <= first or (means is not None and means[-1] <= means[0]):
        mean = 0.5 if means is None else min(max(means[0], 0.0), 1.0)
        return min((1.0 - mean) / 2, 0.6)
    if routing:
        return min(max((budget - first) / (last - first), 0.0), 1.0)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        exceeds_budget = sum(price * middle**i for i, price in enumerate(prices)) > budget
        low, high = (low, middle) if exceeds_budget else (middle, high)
    return round(low, 12)
