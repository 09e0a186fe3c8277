"""Two tiers: one chosen from the query alone, or the large one after the small one's answer."""

from dataclasses import dataclass

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Response
from zooter.errors import ConfigError
from zooter.selector.budget import BudgetState, EscalationThreshold
from zooter.selector.ordering import mean_rewards, strong_first
from zooter.selector.protocol import Ask, Scorer, Selection, first_response


@dataclass(frozen=True)
class TwoTier:
    """A small and a large candidate, with what a call of each costs and earns on average in training rows."""

    names: tuple[str, str]
    prices: tuple[float, float]
    means: tuple[float, float]

    @classmethod
    def of(cls, recorded: ResponseTable, small: str | None, large: str | None) -> "TwoTier":
        """Those named; else the cheapest candidate, and the one of the others with the best mean reward.

        Raises:
            ConfigError: a name is unknown, both are one, or there is one candidate only.
        """
        names, prices, means = recorded.pool.names, recorded.prices, mean_rewards(recorded)
        if small is None:
            others = [name for name in names if name != large]
            small = min(others, key=lambda name: np.nan_to_num(prices[name], nan=np.inf), default=None)
        rest = [name for name in strong_first(means) if name != small]
        large = large or next(iter(rest), None)
        if small is None or small not in names or large is None or large not in rest:
            raise ConfigError(
                expected=f"two different candidates among {list(names)} as selector.small and selector.large",
                found=f"{small!r} and {large!r}",
                do="correct the names",
            )
        return cls((small, large), (prices[small], prices[large]), (means[small], means[large]))

    def stream(
        self, threshold: EscalationThreshold, budget: float | None, queries: int | None, routing: bool = True
    ) -> BudgetState:
        """The start of a stream of queries, for `route`, or for `cascade` with routing=False."""
        return threshold.stream(self.prices, budget, queries, self.means, routing)

    async def route(self, ask: Ask, stream: BudgetState, score: float) -> Selection:
        """The response of the tier that a score leads to, low ones to the large; of the other where its call fails."""
        tier = stream.route(score)
        if tier is None:
            return Selection(None, score, "no money left")
        response = await first_response(ask, [self.names[tier], self.names[1 - tier]])
        stream.settle(tier, response.cost if response is not None else None)
        return Selection(response, score, ("the small tier is good enough", "the small tier may not be enough")[tier])

    async def cascade(self, ask: Ask, stream: BudgetState, scorer: Scorer) -> Selection:
        """The small tier's response, or the large one's where a low score or a failed call makes it go on."""
        turn, kept, score = stream.turn(), None, float("nan")
        if turn.first is None:
            return Selection(None, why="no money left")
        if turn.first == 0:
            kept, score = await self._scored(ask, stream, scorer)
            if not (turn.escalates(0, score) if kept is not None else turn.pays(1)):
                return Selection(kept, score, "the small tier's answer")
        response = (await ask(self.names[1]))[0]
        stream.settle(1, response.cost)
        return Selection(response if response.error is None else kept, score, "the large tier")

    async def _scored(self, ask: Ask, stream: BudgetState, scorer: Scorer) -> tuple[Response | None, float]:
        """The small tier's response with its score; None and NaN for a failed call."""
        response = (await ask(self.names[0]))[0]
        stream.settle(0, response.cost)
        if response.error is not None:
            return None, float("nan")
        return response, float((await ask.score(scorer, [response]))[0])
