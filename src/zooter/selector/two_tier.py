"""Choose one of two tiers from the query alone (routing), or ask the large one after the small one (cascade)."""

from dataclasses import dataclass

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Response
from zooter.errors import ConfigError
from zooter.selector.budget import BudgetState, EscalationThreshold
from zooter.selector.ordering import mean_rewards, rank_by_mean_reward
from zooter.selector.protocol import Ask, Scorer, Selection, first_response


@dataclass(frozen=True)
class TwoTier:
    """A small and a large candidate.

    Attributes:
        names: of the small and the large candidate.
        prices: US dollars of one call of each on average, on training rows.
        means: mean training rewards of each.
    """

    names: tuple[str, str]
    prices: tuple[float, float]
    means: tuple[float, float]

    @classmethod
    def choose(cls, recorded: ResponseTable, small: str | None, large: str | None) -> "TwoTier":
        """Choose the two candidates on training rows.

        Args:
            recorded: training rows.
            small: a name; None is the cheapest candidate.
            large: a name; None is the one of the others with the best mean reward.

        Raises:
            ConfigError: a name is unknown, both are the same, or the pool has one candidate.
        """
        names, prices, means = recorded.pool.names, recorded.prices, mean_rewards(recorded)
        if small is None:
            smaller = [name for name in names if name != large]
            small = min(smaller, key=lambda name: np.nan_to_num(prices[name], nan=np.inf), default=None)
        larger = [name for name in rank_by_mean_reward(means) if name != small]
        large = large or next(iter(larger), None)
        if small is None or small not in names or large is None or large not in larger:
            raise ConfigError(
                expected=f"two different candidates among {list(names)} as selector.small and selector.large",
                found=f"{small!r} and {large!r}",
                do="correct the names",
            )
        return cls((small, large), (prices[small], prices[large]), (means[small], means[large]))

    def start_stream(
        self, threshold: EscalationThreshold, budget: float | None, queries: int | None, routing: bool = True
    ) -> BudgetState:
        """Start the state of a stream of queries.

        Args:
            threshold: the escalation rule.
            budget: US dollars per query on average; None is no limit.
            queries: length of the stream; None where it is not known.
            routing: True for `route`, False for `cascade`.
        """
        return threshold.start_stream(self.prices, budget, queries, self.means, routing)

    async def route(self, ask: Ask, state: BudgetState, score: float) -> Selection:
        """Ask the large tier where the score is low, else the small one; the other tier where that call fails.

        Args:
            ask: makes the calls.
            state: budget and thresholds of the stream so far.
            score: of the query; low means hard.
        """
        tier = state.route(score)
        if tier is None:
            return Selection(None, score, "no money left")
        response = await first_response(ask, [self.names[tier], self.names[1 - tier]])
        state.settle(tier, response.cost if response is not None else None)
        return Selection(response, score, ("the small tier is good enough", "the small tier may not be enough")[tier])

    async def cascade(self, ask: Ask, state: BudgetState, scorer: Scorer) -> Selection:
        """Ask the small tier, and the large one where its answer scores low or its call fails.

        Args:
            ask: makes the calls.
            state: budget and thresholds of the stream so far.
            scorer: of answers; low means doubtful.
        """
        step, small_response, score = state.step(), None, float("nan")
        if step.first is None:
            return Selection(None, why="no money left")
        if step.first == 0:
            small_response, score = await self._ask_small(ask, state, scorer)
            asks_large = step.pay_if_affordable(1) if small_response is None else step.escalates(0, score)
            if not asks_large:
                return Selection(small_response, score, "the small tier's answer")
        response = (await ask(self.names[1]))[0]
        state.settle(1, response.cost)
        return Selection(response if response.error is None else small_response, score, "the large tier")

    async def _ask_small(self, ask: Ask, state: BudgetState, scorer: Scorer) -> tuple[Response | None, float]:
        """Return the small tier's response and its score; None and NaN for a failed call."""
        response = (await ask(self.names[0]))[0]
        state.settle(0, response.cost)
        if response.error is not None:
            return None, float("nan")
        return response, float((await ask.score(scorer, [response]))[0])
