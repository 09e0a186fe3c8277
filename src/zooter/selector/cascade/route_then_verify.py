"""Route first, verify, escalate: the router's order of candidates, gone through by margin or by consistency.

No paper that this project follows has it; whether it pays is measured (`benchmarks/`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError
from zooter.selector.cascade.margin import SHARES, MarginSelector
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.routed import RoutedSelector
from zooter.selector.voting.consistency import ConsistencySelector


@dataclass(frozen=True)
class RouteThenVerifySelector:
    """Asks the candidate that the router prefers, and the router's next one where the first is unsure.

    Attributes:
        first: gives each query its order.
        then: goes through it; its own `order` is not looked at. With margins, each candidate has a threshold of its
            own, since margins of different models are not alike.
        candidates: how many of the order may be asked; 1 is the router alone.
    """

    first: RoutedSelector = field(default_factory=RoutedSelector)
    then: MarginSelector | ConsistencySelector = field(default_factory=MarginSelector)
    candidates: int = 2

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ConfigError(expected="selector.candidates of 1 or more", found=str(self.candidates), do="set 2, say")
        by_place = [name for name in ("uneven", "prior", "fit_prior", "budget") if getattr(self.then, name, None)]
        if by_place:
            raise ConfigError(
                expected="nothing in selector.then that belongs to fixed tiers: the order differs from query to query",
                found=f"{by_place}",
                do="leave it out",
            )

    @property
    def needs(self) -> Needs:
        """What `then` needs, of every candidate: any may come first."""
        return replace(self.then.needs, candidates=None)

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "RouteThenVerifySelector":
        """Fixed thresholds on validation rows, where they do not run; the router stays as it is."""
        if isinstance(self.then, MarginSelector) and not self.then.threshold.running:
            return replace(self, then=self.then.with_fixed_thresholds(validation, self.then.threshold.share))
        return self

    def settings(self, validation: ResponseTable) -> Sequence["RouteThenVerifySelector"]:
        """Those of `then`: shares that go on, or numbers of samples."""
        if isinstance(self.then, ConsistencySelector):
            order = validation.pool.names
            several = replace(self.then, order=order).settings(validation)
            return [replace(self, then=replace(self.then, samples=one.samples)) for one in several]
        if self.then.threshold.running:
            return [replace(self, then=one) for one in self.then.settings(validation)]
        return [replace(self, then=self.then.with_fixed_thresholds(validation, share)) for share in SHARES]

    async def select(self, query: Query, ask: Ask) -> Selection:
        order, _, why = await self.first.ranked(ask)
        found = await self.then.select_in_order(query, ask, order[: self.candidates])
        if found.response is None:  # those that were not to be asked are still there
            return replace(found, response=await first_response(ask, order[self.candidates :]))
        return replace(found, why=f"{why}; {found.why}")
