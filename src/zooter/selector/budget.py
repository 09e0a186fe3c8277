"""Whether a query goes on to the next, dearer tier: a share of the queries, under a budget that is never exceeded.

The rule of Margin Sampling (Ramírez, Birch & Titov, COLM 2024), as the authors' code has it (guillemram97/margin_llms,
`make_cascade` and `make_hybrid`), for any score of which a low one means "unsure", and for two tiers or more. With R
dollars left and k queries to come, this one among them, and c the mean prices of one call of the first and last tier:

1. R < c_first: nobody is asked.
2. R ≤ k · c_first: the first tier alone; its score is remembered.
3. R ≥ k · c_last, and the last tier is better: the last tier at once, without the first.
4. Otherwise the first tier; its score s is remembered among all past ones A, and with |A| > warm-up the query goes on
   if s < A[⌊|A| · share⌋] (A sorted; share 1 passes everything on) and R pays for the next tier.

The paper speaks of a warm-up of 10 queries, the code has 20. A query that is routed (`route`) is judged before anybody
is asked, goes to the last tier if s ≤ threshold, and pays for the chosen tier alone.
"""

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zooter.data.types import Floats
from zooter.errors import ConfigError

SLACK = 1e-9  # relative, so that N · c dollars last for N calls in floating point too


@dataclass(frozen=True)
class EscalationThreshold:
    """Settings of the rule, for every selector that has tiers.

    Attributes:
        share: of the queries at each tier, how many go on; what a budget allows takes its place where there is one.
        warm_up: scores to be seen before any query goes on, at each tier.
        running: the threshold follows the stream. False holds those in `fixed`, for serving.
        fixed: one threshold per tier but the last; None until they are fitted (`fitted`) or given.
    """

    share: float = 0.5
    warm_up: int = 10
    running: bool = True
    fixed: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.fixed is not None:
            object.__setattr__(self, "fixed", tuple(self.fixed))  # YAML has lists
        if not 0.0 <= self.share <= 1.0:
            raise ConfigError(
                expected="threshold.share between 0 and 1", found=str(self.share), do="set the share that may go on"
            )
        if self.warm_up < 0:
            raise ConfigError(expected="threshold.warm_up of 0 or more", found=str(self.warm_up), do="set 10, say")

    def stream(
        self,
        prices: Sequence[float],
        budget: float | None = None,
        queries: int | None = None,
        means: Sequence[float] | None = None,
        routing: bool = False,
    ) -> "BudgetState":
        """The start of a stream of queries.

        Args:
            prices: US dollars of one call of each tier on average; they may be NaN without a budget.
            budget: US dollars per query on average.
            queries: how many the stream has. The guards hold the budget only where both are told.
            means: the tiers' mean rewards on training rows, where known.

        Raises:
            ConfigError: a budget without prices, or fixed thresholds that are missing or too few.
        """
        share = self.share
        if budget is not None:
            if any(math.isnan(price) for price in prices):
                raise ConfigError(
                    expected="the price of a call of every tier, for a budget",
                    found=f"{list(prices)}",
                    do="give the candidates prices, fit the selector on recorded costs, or leave the budget out",
                )
            share = share_for(budget, prices, means, routing)
        if not self.running and len(self.fixed or ()) != len(prices) - 1:
            raise ConfigError(
                expected=f"{len(prices) - 1} fixed thresholds for {len(prices)} tiers",
                found=f"{self.fixed}",
                do="fit the selector, give threshold.fixed=[…], or set threshold.running=true",
            )
        money = None if budget is None or queries is None else budget * queries
        better = means is None or means[-1] > means[0]
        return BudgetState(
            tuple(prices), share, self.warm_up, None if self.running else self.fixed, money, queries, better
        )

    def fitted(self, scores: Floats) -> "EscalationThreshold":
        """With fixed thresholds that pass on `share` of these rows at each tier.

        Args:
            scores: (n, tiers - 1) of validation rows; NaN, not known, goes on.
        """
        fixed, here = [], np.ones(len(scores), dtype=bool)
        for column in scores.T:
            known = np.sort(column[here & ~np.isnan(column)])
            fixed.append(quantile(known.tolist(), self.share) if len(known) else -math.inf)
            here &= np.isnan(column) | (column < fixed[-1])
        return replace(self, running=False, fixed=tuple(fixed))


@dataclass(slots=True)
class BudgetState:
    """The state of one stream. Selectors ask it and do what it says; it calls nobody.

    Attributes:
        prices: US dollars of one call, tier after tier.
        share, warm_up: see `EscalationThreshold`.
        fixed: thresholds that hold; None has them run.
        money: dollars left for the whole stream; None has no end.
        queries: how many the stream has.
        last_is_better: than the first tier, so that it is worth its money.
    """

    prices: tuple[float, ...]
    share: float
    warm_up: int = 10
    fixed: tuple[float, ...] | None = None
    money: float | None = None
    queries: int | None = None
    last_is_better: bool = True
    begun: int = 0
    past: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.past = [[] for _ in self.prices]

    def turn(self) -> "CascadeStep":
        """The next query's way through the tiers; its first call is paid for."""
        first, free = self._guarded()
        turn = CascadeStep(self, first, free)
        if first is not None:
            self.pay(first)
        return turn

    def route(self, score: float) -> int | None:
        """The tier that the next query is sent to, the first or the last; None where no money is left."""
        first, free = self._guarded()
        if first == 0:
            unsure = score <= self.threshold(0, score)  # never for a NaN
            if free and unsure and self.can_pay(len(self.prices) - 1):
                first = len(self.prices) - 1
        if first is not None:
            self.pay(first)
        return first

    def threshold(self, tier: int, score: float) -> float:
        """The threshold of a tier, after remembering this score; NaN scores are not remembered."""
        if self.fixed is not None:
            return self.fixed[tier]
        past = self.past[tier]
        if score == score:
            insort(past, score)
        return quantile(past, self.share) if len(past) > self.warm_up else -math.inf

    def can_pay(self, tier: int) -> bool:
        """Whether the money suffices for one call of a tier."""
        return self.money is None or self.money >= self.prices[tier] * (1 - SLACK)

    def pay(self, tier: int) -> None:
        """Take one call's mean price."""
        if self.money is not None:
            self.money -= self.prices[tier]

    def settle(self, tier: int, cost: float | None) -> None:
        """Correct what was paid for a call by what it did cost; None, as of a failed call, is nothing."""
        if self.money is not None:
            self.money += self.prices[tier] - (cost or 0.0)

    def _guarded(self) -> tuple[int | None, bool]:
        """Where the next query starts, and whether it may go on from there (steps 1 to 3)."""
        number, self.begun = self.begun, self.begun + 1
        if self.money is None or self.queries is None:
            return 0, True
        to_come = max(1, self.queries - number)
        if not self.can_pay(0):
            return None, False
        if self.money <= to_come * self.prices[0] * (1 + SLACK):
            return 0, False
        if self.last_is_better and self.money >= to_come * self.prices[-1] * (1 - SLACK):
            return len(self.prices) - 1, False
        return 0, True


@dataclass(slots=True)
class CascadeStep:
    """One query's way through the tiers.

    Attributes:
        first: the tier to ask first; None where there is no money for any.
        free: whether the query may go on.
    """

    stream: BudgetState
    first: int | None
    free: bool

    def escalates(self, tier: int, score: float) -> bool:
        """Whether the next tier is asked too, and paid for; with a NaN, not known, as with the lowest score."""
        threshold = self.stream.threshold(tier, score)
        return self.free and not score >= threshold and self.pays(tier + 1)

    def pays(self, tier: int) -> bool:
        """Pay for a call of a tier, if it exists and the money suffices."""
        if tier >= len(self.stream.prices) or not self.stream.can_pay(tier):
            return False
        self.stream.pay(tier)
        return True


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie; infinity for all of them."""
    place = int(len(ordered) * share)
    return ordered[place] if place < len(ordered) else math.inf


def share_for(
    budget: float, prices: Sequence[float], means: Sequence[float] | None = None, routing: bool = False
) -> float:
    """The share p that spends a budget per query: c₁ + p c₂ + p² c₃ + … = budget; routed, (1 - p) c_first + p c_last.

    Where the last tier is no better or no dearer than the first, there is nothing to buy, and p is the authors'
    min((1 - mean reward of the first) / 2, 0.6) (`utils_method.py`), for rewards between 0 and 1.
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
        dearer = sum(price * middle**i for i, price in enumerate(prices)) > budget
        low, high = (low, middle) if dearer else (middle, high)
    return round(low, 12)
