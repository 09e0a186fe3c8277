"""By chance: what every selector has to beat."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError
from zooter.selector.ordering import choose_two_tiers, mean_rewards
from zooter.selector.protocol import Ask, Needs, Selection, first_response, refuse_unknown

SHARES = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class RandomSelector:
    """Draws a candidate by the query's text, so that any order and any batch of queries gives the same.

    Attributes:
        order: the candidates to draw from; empty draws from all, or with a share from two: `fit` takes the cheapest and
            the best of the others.
        share: of the queries, how many go to the last of two candidates; a query that a share sends there stays there
            with any larger one. None draws from all alike.
        prices: candidate → US dollars of one call on average; from `fit`.
    """

    order: tuple[str, ...] = ()
    share: float | None = None
    seed: int = 0
    prices: Mapping[str, float] = field(default_factory=dict)
    tiers: tuple[str, ...] = ()
    needs: ClassVar[Needs] = Needs()
    remembers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))  # YAML has lists
        if self.share is not None and not 0.0 <= self.share <= 1.0:
            raise ConfigError(
                expected="selector.share between 0 and 1, or null", found=str(self.share), do="correct it"
            )

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RandomSelector":
        """Takes prices, and the two candidates that shares and budgets are about, unless two are named."""
        named = len(self.order) == 2
        tiers = self.order if named else choose_two_tiers(training.pool, training.prices, mean_rewards(training))
        return replace(self, prices=training.prices, tiers=tiers)

    def settings(self, validation: ResponseTable) -> Sequence["RandomSelector"]:
        """Shares from none to all."""
        return [replace(self, share=share) for share in SHARES]

    def at(self, budget: float, queries: int) -> "RandomSelector":
        """With the share that spends US dollars per query on average; no stream is so long that it is never exceeded.

        Raises:
            ConfigError: prices are not known.
        """
        low, high = (self.prices.get(name, float("nan")) for name in self._tiers())
        if low != low or high != high:
            raise ConfigError(
                expected="prices of two candidates, for a budget",
                found=f"{dict(self.prices)} for {list(self._tiers())}",
                do="fit the selector on recorded costs",
            )
        share = (budget - low) / (high - low) if high > low else 0.0
        return replace(self, share=min(max(share, 0.0), 1.0))

    async def select(self, query: Query, ask: Ask) -> Selection:
        drawn = uniform_draw(self.seed, query.text)
        if self.share is None:
            order = self.order or ask.pool.names
            place = int(drawn * len(order))
        else:
            order = self._tiers()
            place = int(drawn < self.share)
        refuse_unknown("random", order, ask.pool, least=1 if self.share is None else 2)
        response = await first_response(ask, [order[place], *order[:place], *order[place + 1 :]])
        return Selection(response, why="by chance")

    def _tiers(self) -> tuple[str, ...]:
        tiers = self.tiers or self.order
        if len(tiers) != 2:
            raise ConfigError(
                expected="two candidates in selector.order, for a share", found=f"{list(tiers)}", do="name the two"
            )
        return tiers


def uniform_draw(seed: int, text: str) -> float:
    """A uniform draw from [0, 1) that depends on nothing but the seed and the text."""
    told = json.dumps([seed, text]).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=6).digest()) / 2**48
