"""Route first, verify, escalate: ask in the router's order of candidates, stopped by margin or by consistency.

This combination is not from a paper; whether it pays is measured (`benchmarks/`).
"""

from collections.abc import Sequence
from dataclasses import field, replace

from pydantic import PositiveInt

from zooter.data.component import component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError
from zooter.selector.budget import ESCALATION_RATES
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.routed import RoutedSelector
from zooter.selector.voting.consistency import ConsistencySelector


@component
class RouteThenVerifySelector:
    """Ask the candidate that the router prefers, and the router's next one where the first is unsure.

    Attributes:
        first: orders the candidates for each query.
        then: asks in this order; its own `order` is not used. With margins, each candidate has a threshold of its own,
            since margins of different models are not comparable.
        candidates: how many of the order may be asked; 1 is the router alone.
    """

    first: RoutedSelector = field(default_factory=RoutedSelector)
    then: MarginSelector | ConsistencySelector = field(default_factory=MarginSelector)
    candidates: PositiveInt = 2

    def __post_init__(self) -> None:
        by_place = [name for name in ("uneven", "prior", "fit_prior", "budget") if getattr(self.then, name, None)]
        if by_place:
            raise ConfigError(
                expected="nothing in selector.then that belongs to fixed tiers: the order differs from query to query",
                found=f"{by_place}",
                do="leave it out",
            )

    @property
    def needs(self) -> Needs:
        """Require what `then` needs, of every candidate: any may come first."""
        return replace(self.then.needs, candidates=None)

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask in the router's order; where all of these calls fail, the rest of the order."""
        order, _, why = await self.first.rank(ask)
        selection = await self.then.select_in_order(query, ask, order[: self.candidates])
        if selection.response is None:
            return replace(selection, response=await first_response(ask, order[self.candidates :]))
        return replace(selection, why=f"{why}; {selection.why}")

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RouteThenVerifySelector":
        """Fit fixed thresholds on validation rows, unless thresholds are online; the router stays as it is.

        Args:
            training: not used.
            validation: rows with margins.
        """
        if isinstance(self.then, MarginSelector) and not self.then.threshold.online_threshold:
            rate = self.then.threshold.escalation_rate
            return replace(self, then=self.then.with_thresholds_per_candidate(validation, rate))
        return self

    def operating_points(self, validation: ResponseTable) -> Sequence["RouteThenVerifySelector"]:
        """Return one copy per escalation rate or per number of samples, as `then` has them.

        Args:
            validation: rows with margins or samples.
        """
        if isinstance(self.then, ConsistencySelector):
            order = validation.pool.names
            points = replace(self.then, order=order).operating_points(validation)
            return [replace(self, then=replace(self.then, samples=point.samples)) for point in points]
        if self.then.threshold.online_threshold:
            return [replace(self, then=point) for point in self.then.operating_points(validation)]
        fitted = [self.then.with_thresholds_per_candidate(validation, rate) for rate in ESCALATION_RATES]
        return [replace(self, then=point) for point in fitted]
