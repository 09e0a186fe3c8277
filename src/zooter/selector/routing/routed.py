"""The trained router: decides from the query alone, and asks one candidate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, RouterOutput
from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.selector.ordering import price_weights, rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.price_target import CalibrationTarget, PriceCalibration, PriceTradeoff, load


class RouterLike(Protocol):
    """A loaded export, with torch or without."""

    @property
    def pool(self) -> Pool: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    def route(self, texts: Sequence[str]) -> RouterOutput: ...


@dataclass(frozen=True, eq=False)
class RouterEstimator:
    """A router as an `Estimator`; it is loaded at first use, in its ONNX form where it has one.

    Attributes:
        export: its folder; or
        given: a loaded router.
        fee: US dollars per query.
    """

    export: Path | None = None
    given: RouterLike | None = None
    fee: float = 0.0
    name: str = "router"

    @cached_property
    def router(self) -> RouterLike:
        """The loaded router.

        Raises:
            ConfigError: no export is named.
            ExportError: it cannot be used.
        """
        if self.given is not None:
            return self.given
        if self.export is None:
            raise ConfigError(
                expected="selector.export, the folder of a trained router", found="none", do="give export=RUN/export"
            )
        if (self.export / manifest.PARITY).is_file():
            from zooter.router.onnx_router import OnnxRouter as Runtime

            return Runtime.load(self.export)
        from zooter.router.torch_router import TorchRouter

        return TorchRouter.load(self.export)

    @cached_property
    def calibration(self) -> PriceCalibration | None:
        """The export's own price weight, if it has one.

        Raises:
            ExportError: it belongs to another router or other data.
        """
        return None if self.export is None else load(self.export)

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """(n, 2 m): probabilities of being the best, then expected rewards, of the router's m candidates; rewards are
        NaN where it has none."""
        choices = self.router.route([query.text for query in queries])
        rewards = np.full_like(choices.probs, np.nan) if choices.rewards is None else choices.rewards
        return np.hstack([choices.probs, rewards])


@dataclass(frozen=True)
class RoutedSelector:
    """Asks the candidate that is likeliest the best; with a price weight, that of the best expected reward less price.

    Attributes:
        export: folder of a trained router.
        price_weight: rewards that a US dollar is worth; None is what the export was calibrated to, or else 0.
        mean_price, share, no_worse_by: what `fit` chooses the price weight for on validation rows, where one of them
            is given (`calibration.Target`).
        fee: US dollars that the router itself costs per query.
        prices: candidate → US dollars of one call on average, where what is asked does not know them.
        estimator: loads the export; given in its place, a router in memory.
    """

    export: Path | None = None
    price_weight: float | None = None
    mean_price: float | None = None
    share: float | None = None
    no_worse_by: float | None = None
    fee: float = 0.0
    prices: Mapping[str, float] = field(default_factory=dict)
    estimator: RouterEstimator | None = field(default=None, compare=False)
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        if not ((self.price_weight is None or self.price_weight >= 0.0) and self.fee >= 0.0):
            raise ConfigError(
                expected="selector.price_weight and selector.fee of 0 or more",
                found=f"{self.price_weight} and {self.fee}",
                do="correct them",
            )
        told = self.estimator
        if told is None or (told.given is None and (told.export, told.fee) != (self.export, self.fee)):
            object.__setattr__(self, "estimator", RouterEstimator(self.export, fee=self.fee))

    @classmethod
    def of(cls, router: RouterLike, price_weight: float | None = None, fee: float = 0.0) -> "RoutedSelector":
        """With a router in memory."""
        return cls(None, price_weight, fee=fee, estimator=RouterEstimator(given=router, fee=fee))

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RoutedSelector":
        """The price weight for the target, where there is one; the router itself has been trained.

        Raises:
            ConfigError: no price weight reaches the target.
        """
        if (self.mean_price, self.share, self.no_worse_by) == (None, None, None):
            return self
        assert self.estimator is not None
        target = CalibrationTarget(self.mean_price, self.share, self.no_worse_by)
        trade = PriceTradeoff.of(self.estimator.router.route(validation.texts), validation)
        return replace(self, price_weight=trade.choose(target), prices=validation.prices)

    def settings(self, validation: ResponseTable) -> Sequence["RoutedSelector"]:
        """Price weights from the cheapest choices to the dearest."""
        return [replace(self, price_weight=weight) for weight in price_weights(validation)]

    async def select(self, query: Query, ask: Ask) -> Selection:
        order, probability, why = await self.ranked(ask)
        return Selection(await first_response(ask, order), probability, why)

    async def ranked(self, ask: Ask) -> tuple[list[str], float, str]:
        """The candidates in the order of what the router expects of them, the first one's probability, and why.

        Raises:
            ConfigError: the pool has a candidate that the router does not know, or prices are weighed but not known.
        """
        assert self.estimator is not None
        names = self.estimator.router.pool.names
        strangers = sorted(set(ask.pool.names) - set(names))
        if strangers:
            raise ConfigError(
                expected=f"candidates among {list(names)}, which the router was trained for",
                found=f"{strangers} in the pool",
                do="leave them out of the pool, or train a router with them",
            )
        said = await ask.estimate(self.estimator)
        columns = [names.index(name) for name in ask.pool.names]
        probs, rewards = said[columns], said[[len(names) + j for j in columns]]
        weight, prices = self._weighed()
        if weight and np.isnan(rewards).all():
            raise ConfigError(
                expected="expected rewards, to weigh prices against", found="a router that tells none",
                do="set selector.price_weight=0",
            )  # fmt: skip
        if weight:
            known = np.array([prices.get(name, ask.price(name)) for name in ask.pool.names])
            order = rank_by_utility(ask.pool.names, rewards, known, weight)
        else:
            order = rank_by_utility(ask.pool.names, probs, probs, 0.0)
        first = ask.pool.names.index(order[0])
        return order, float(probs[first]), f"{order[0]}: reward {rewards[first]:.2f} expected"

    def _weighed(self) -> tuple[float, Mapping[str, float]]:
        """The price weight in use, and the prices that it was chosen with."""
        assert self.estimator is not None
        told = self.estimator.calibration if self.price_weight is None else None
        return (self.price_weight or 0.0, self.prices) if told is None else (told.price_weight, told.prices)
