"""Select by chance: the baseline that every selector has to beat."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import ClassVar

from zooter.data.component import Fraction, TupleField, component
from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError
from zooter.selector.budget import ESCALATION_RATES
from zooter.selector.ordering import choose_two_tiers, mean_rewards
from zooter.selector.protocol import Ask, Needs, Selection, check_candidates, first_response


@component
class RandomSelector:
    """Draw a candidate by the query's text, so that any order and any batch of queries gives the same.

    Attributes:
        order: the candidates to draw from. Empty: all, or with an escalation rate the two that `fit` takes, the
            cheapest and the best of the others.
        escalation_rate: fraction of the queries that go to the last of two candidates, in [0, 1]; a query that goes
            there at one rate goes there at any larger one. None draws from all candidates alike.
        seed: of the draws.
        prices: candidate → US dollars of one call on average; from `fit`.
        tiers: the two candidates of escalation rates and budgets; from `fit`.
    """

    order: TupleField[str] = ()
    escalation_rate: Fraction | None = None
    seed: int = 0
    prices: Mapping[str, float] = field(default_factory=dict)
    tiers: TupleField[str] = ()
    needs: ClassVar[Needs] = Needs()
    depends_on_order: ClassVar[bool] = False

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask the drawn candidate; where its call fails, the others in order."""
        draw = uniform_draw(self.seed, query.text)
        if self.escalation_rate is None:
            order = self.order or ask.pool.names
            place = int(draw * len(order))
        else:
            order = self._two_tiers()
            place = int(draw < self.escalation_rate)
        check_candidates("random", order, ask.pool, minimum=1 if self.escalation_rate is None else 2)
        response = await first_response(ask, [order[place], *order[:place], *order[place + 1 :]])
        return Selection(response, why="by chance")

    def draw_probabilities(self, pool: Pool) -> Mapping[str, float]:
        """Return candidate → probability that a query goes to it.

        Args:
            pool: gives the candidates where no `order` is set.
        """
        if self.escalation_rate is None:
            order = self.order or pool.names
            return dict.fromkeys(order, 1 / len(order))
        small, large = self._two_tiers()
        return {small: 1.0 - self.escalation_rate, large: self.escalation_rate}

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RandomSelector":
        """Take prices from training rows, and two tiers unless `order` names two.

        Args:
            training: rows with rewards and prices.
            validation: not used.
        """
        has_two = len(self.order) == 2
        tiers = self.order if has_two else choose_two_tiers(training.pool, training.prices, mean_rewards(training))
        return replace(self, prices=training.prices, tiers=tiers)

    def operating_points(self, validation: ResponseTable) -> Sequence["RandomSelector"]:
        """Return one copy per escalation rate, from 0 to 1.

        Args:
            validation: not used: the rates are fixed.
        """
        return [replace(self, escalation_rate=rate) for rate in ESCALATION_RATES]

    @property
    def budget_candidates(self) -> tuple[str, ...]:
        """Return the two candidates, between whose prices budgets make a difference."""
        return self.tiers or self.order

    def with_budget(self, budget: float, queries: int) -> "RandomSelector":
        """Return a copy with the escalation rate that spends the budget on average; a stream may exceed it.

        Args:
            budget: US dollars per query on average.
            queries: length of the stream; not used.

        Raises:
            ConfigError: prices are not known.
        """
        low, high = (self.prices.get(name, float("nan")) for name in self._two_tiers())
        if low != low or high != high:
            raise ConfigError(
                expected="prices of two candidates, for a budget",
                found=f"{dict(self.prices)} for {list(self._two_tiers())}",
                do="fit the selector on recorded costs",
            )
        rate = (budget - low) / (high - low) if high > low else 0.0
        return replace(self, escalation_rate=min(max(rate, 0.0), 1.0))

    def _two_tiers(self) -> tuple[str, ...]:
        tiers = self.tiers or self.order
        if len(tiers) != 2:
            raise ConfigError(
                expected="two candidates in selector.order, for an escalation rate", found=f"{list(tiers)}",
                do="name the two",
            )  # fmt: skip
        return tiers


def uniform_draw(seed: int, text: str) -> float:
    """Draw uniformly from [0, 1), depending on nothing but the seed and the text.

    Args:
        seed: another one gives independent draws.
        text: of the query.
    """
    key = json.dumps([seed, text]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=6).digest()) / 2**48
