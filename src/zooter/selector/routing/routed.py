"""Select by the trained router: decide from the query alone, and ask one candidate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat, SkipValidation

from zooter.data.component import PathField, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.router.loading import load_router
from zooter.router.protocol import Router
from zooter.selector.ordering import price_weight_grid, rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.price_target import (
    CalibrationTarget,
    PriceCalibration,
    PriceTradeoff,
    load_price_calibration,
)


@dataclass(frozen=True, eq=False)
class RouterEstimator:
    """A router as an `Estimator`. An export is loaded at first use, in its ONNX form where it has one.

    Attributes:
        export: folder of an export; or
        loaded: a router in memory.
        fee: US dollars per query.
        name: in the ledger.
    """

    export: Path | None = None
    loaded: Router | None = None
    fee: NonNegativeFloat = 0.0
    name: str = "router"

    @cached_property
    def router(self) -> Router:
        """Return the loaded router.

        Raises:
            ConfigError: neither an export nor a router is set.
            ExportError: the export cannot be used.
        """
        if self.loaded is not None:
            return self.loaded
        if self.export is None:
            raise ConfigError(
                expected="the export of a trained router", found="none", do="set `export` of the selector to RUN/export"
            )
        return load_router(self.export)

    @cached_property
    def calibration(self) -> PriceCalibration | None:
        """Return the export's own price weight; None where it has none.

        Raises:
            ExportError: it belongs to another router or other data.
        """
        return None if self.export is None else load_price_calibration(self.export)

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """Estimate (n, 2 m): the probabilities of the router's m candidates to be the best, then expected rewards.

        Expected rewards are NaN where the router has none.
        """
        output = self.router.route([query.text for query in queries])
        rewards = np.full_like(output.probs, np.nan) if output.rewards is None else output.rewards
        return np.hstack([output.probs, rewards])


@component
class RoutedSelector:
    """Ask the candidate that is most likely the best; with a price weight, that of the best reward minus price.

    At most one of `mean_price`, `share` and `no_worse_by` may be set: `fit` chooses the price weight for it on
    validation rows (`price_target.CalibrationTarget`).

    Attributes:
        export: folder of a trained router.
        price_weight: rewards per US dollar; None is the weight that the export was calibrated to, or else 0.
        mean_price: US dollars per query, at most.
        share: fraction of the queries that the dearest candidate gets, at most.
        no_worse_by: how far the mean reward may be below the best single candidate's.
        fee: US dollars per query that the router itself costs.
        prices: candidate → US dollars of one call on average, where `Ask` does not know them.
        estimator: loads the export, or has a router in memory.
    """

    export: PathField | None = None
    price_weight: NonNegativeFloat | None = None
    mean_price: float | None = None
    share: float | None = None
    no_worse_by: float | None = None
    fee: NonNegativeFloat = 0.0
    prices: Mapping[str, float] = field(default_factory=dict)
    estimator: SkipValidation[RouterEstimator | None] = field(default=None, compare=False)
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        estimator = self.estimator
        is_stale = estimator is not None and (estimator.export, estimator.fee) != (self.export, self.fee)
        if estimator is None or (estimator.loaded is None and is_stale):
            object.__setattr__(self, "estimator", RouterEstimator(self.export, fee=self.fee))

    @classmethod
    def from_router(cls, router: Router, price_weight: float | None = None, fee: float = 0.0) -> "RoutedSelector":
        """Build a selector with a router in memory.

        Args:
            router: loaded.
            price_weight: rewards per US dollar; None is 0.
            fee: US dollars per query that the router itself costs.
        """
        return cls(None, price_weight, fee=fee, estimator=RouterEstimator(loaded=router, fee=fee))

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask the router's candidates in order until a call succeeds."""
        order, probability, why = await self.rank(ask)
        return Selection(await first_response(ask, order), probability, why)

    async def rank(self, ask: Ask) -> tuple[list[str], float, str]:
        """Rank the candidates of the pool for the query.

        Args:
            ask: gives the pool, the prices and the router's estimates.

        Returns:
            The candidates, the best first; the first one's probability to be the best; and the reason.

        Raises:
            ConfigError: the pool has a candidate that the router does not know, or prices are weighted but not known.
        """
        assert self.estimator is not None
        names = self.estimator.router.pool.names
        unknown = sorted(set(ask.pool.names) - set(names))
        if unknown:
            raise ConfigError(
                expected=f"candidates among {list(names)}, which the router was trained for",
                found=f"{unknown} in the pool",
                do="leave them out of the pool, or train a router with them",
            )
        estimates = await ask.estimate(self.estimator)
        columns = [names.index(name) for name in ask.pool.names]
        probs, rewards = estimates[columns], estimates[[len(names) + j for j in columns]]
        weight, calibrated_prices = self._price_weight_and_prices()
        if weight and np.isnan(rewards).all():
            raise ConfigError(
                expected="expected rewards, to weigh prices against", found="a router that tells none",
                do="set selector.price_weight=0",
            )  # fmt: skip
        if weight:
            prices = np.array([calibrated_prices.get(name, ask.price(name)) for name in ask.pool.names])
            order = rank_by_utility(ask.pool.names, rewards, prices, weight)
        else:
            order = rank_by_utility(ask.pool.names, probs, probs, 0.0)
        first = ask.pool.names.index(order[0])
        return order, float(probs[first]), f"{order[0]}: reward {rewards[first]:.2f} expected"

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RoutedSelector":
        """Choose the price weight for the target on validation rows, where there is a target.

        The router itself has been trained before.

        Args:
            training: not used.
            validation: rows with rewards and prices.

        Raises:
            ConfigError: no price weight reaches the target.
        """
        if (self.mean_price, self.share, self.no_worse_by) == (None, None, None):
            return self
        assert self.estimator is not None
        target = CalibrationTarget(self.mean_price, self.share, self.no_worse_by)
        output = self.estimator.router.route(validation.texts)
        tradeoff = PriceTradeoff.from_router_output(output, validation)
        return replace(self, price_weight=tradeoff.choose(target), prices=validation.prices)

    def operating_points(self, validation: ResponseTable) -> Sequence["RoutedSelector"]:
        """Return one copy per price weight, from the cheapest choices to the dearest.

        Args:
            validation: rows whose rewards and prices give the weights to try.
        """
        return [replace(self, price_weight=weight) for weight in price_weight_grid(validation)]

    def _price_weight_and_prices(self) -> tuple[float, Mapping[str, float]]:
        """Return the price weight in use, and the prices that it was chosen with."""
        assert self.estimator is not None
        calibration = self.estimator.calibration if self.price_weight is None else None
        if calibration is None:
            return self.price_weight or 0.0, self.prices
        return calibration.price_weight, calibration.prices
