"""What every selector does: decides whose response is returned, asking for as few as it can.

A selector sees the world through `Ask` alone, so the same code runs on recorded responses
(`zooter.evaluation.replay`), on live candidates (`zooter.evaluation.live`) and behind the server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError
from zooter.selector.ledger import Ledger


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Responses to ask a candidate for.

    Attributes:
        samples: how many; numbers go on from those that this query has already asked of the candidate.
        text: what the candidate is told in place of the query's own text, for debates.
    """

    candidate: str
    samples: int = 1
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector decided for one query.

    Attributes:
        response: what is returned, with whose it is; None when every call failed.
        confidence: the number that it was decided by (a margin, an agreement, a probability), larger is surer.
        why: in a few words, for people.
    """

    response: Response | None
    confidence: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RecordedSelection:
    """A selector's decision on one query, and its account."""

    query: Query
    selection: Selection
    ledger: Ledger


@dataclass(frozen=True)
class Needs:
    """What a selector cannot do without, so that a table that lacks it is refused before anything runs.

    Attributes:
        samples: recorded responses of each candidate that it asks.
        texts, margins, rewards, tags, references: of responses and queries.
        first_tokens: the likeliest first tokens of a response with their log-probabilities.
        truths: what is never known in production: for the oracle.
        live: messages of its own, so that no recorded response can serve.
        candidates: whose samples, texts, margins and first tokens; None for all of the pool.
    """

    samples: int = 1
    texts: bool = False
    margins: bool = False
    first_tokens: bool = False
    rewards: bool = False
    tags: bool = False
    references: bool = False
    truths: bool = False
    live: bool = False
    candidates: tuple[str, ...] | None = None


class Estimator(Protocol):
    """Says from queries alone what is to be expected of each candidate. One object is one estimator.

    Attributes:
        fee: US dollars per query.
    """

    @property
    def name(self) -> str: ...

    @property
    def fee(self) -> float: ...

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """(n, k) numbers; what the k columns are is the estimator's own, for most the pool's candidates."""
        ...


class Scorer(Protocol):
    """Says how good an answer to a query looks, by both. One object is one scorer."""

    @property
    def name(self) -> str: ...

    @property
    def fee(self) -> float: ...

    def score(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,) scores, larger is better."""
        ...


class Ask(Protocol):
    """What a selector may ask about the query that it selects for. Each call of it is one round in the ledger."""

    @property
    def pool(self) -> Pool:
        """The candidates that can be asked, in column order."""
        ...

    def price(self, candidate: str) -> float:
        """US dollars that one call of the candidate costs on average; NaN when it is not known."""
        ...

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        """`samples` responses of one candidate; those whose call failed have `error`."""
        ...

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        """What several wants bring, side by side in one round."""
        ...

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        """(k,) the rewarder's rewards; NaN for a failed response or one without a reward.

        Args:
            fee: US dollars that the rewarder costs per response that did not fail.
        """
        ...

    async def truth(self) -> Floats:
        """(m,) how good each candidate's first response really is; NaN where that is not recorded.

        Raises:
            ConfigError: nobody knows, as is the case in production.
        """
        ...

    async def estimate(self, estimator: Estimator) -> Floats:
        """(k,) what the estimator expects of this query."""
        ...

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        """(k,) scores; NaN for failed responses."""
        ...


class Selector(Protocol):
    """Decides whose response a query is answered with.

    A selector that keeps a history (a running threshold) starts a new one with each copy that `dataclasses.replace`
    makes of it.
    """

    @property
    def needs(self) -> Needs:
        """What it cannot do without."""
        ...

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Never raises for a failed call: the next candidate in order is asked, and the failure is in the ledger."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A selector that has to see rewards before it can select."""

    def fit(self, training: ResponseTable, validation: ResponseTable) -> Self:
        """A copy that is fitted on training rows, with thresholds, orders and weights chosen on validation rows."""
        ...


@runtime_checkable
class HasOperatingPoints(Protocol):
    """A selector with a setting that trades quality for price."""

    def settings(self, validation: ResponseTable) -> Sequence[Self]:
        """Copies from the cheapest to the dearest setting; what they cost is measured, not promised."""
        ...


@runtime_checkable
class Budgetable(Protocol):
    """A selector that keeps to a budget over a stream of queries.

    One that decides each query by itself may say so with an attribute `remembers` that is False: then no order of the
    stream changes anything, and evaluations try one.
    """

    def at(self, budget: float, queries: int) -> Self:
        """A copy for a stream of so many queries, at US dollars per query on average."""
        ...


def refuse_unknown(who: str, names: Sequence[str], pool: Pool, least: int = 1) -> None:
    """Refuse an order that is too short, names that are not in the pool, and names given twice.

    Raises:
        ConfigError: what the pool has, and what was found.
    """
    if len(names) < least or not set(names) <= set(pool.names) or len(set(names)) < len(names):
        raise ConfigError(
            expected=f"{least} or more different candidates among {list(pool.names)} for selector {who}",
            found=f"{list(names)}",
            do="correct selector.order, or fit the selector on recorded rewards",
        )


async def first_response(ask: Ask, order: Sequence[str]) -> Response | None:
    """The response of the first candidate in `order` whose call does not fail; None when all do."""
    for candidate in order:
        response = (await ask(candidate))[0]
        if response.error is None:
            return response
    return None
