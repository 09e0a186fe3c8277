"""kNN regression: what candidates earned on the most similar training queries."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.metrics.baselines import NearestNeighbours
from zooter.router.encoder import Embedder, Encoder
from zooter.selector.ordering import price_weights, rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response


@dataclass(frozen=True, eq=False)
class KnnEstimator:
    """Queries → (n, m) rewards expected of the pool's candidates; an `Estimator`."""

    encoder: Embedder
    neighbours: NearestNeighbours
    name: str = "knn"
    fee: float = 0.0

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """(n, m) mean rewards over the nearest training queries."""
        return self.neighbours.predict(self.encoder.embed([query.text for query in queries]))


@dataclass(frozen=True)
class KnnSelector:
    """Asks the candidate with the best mean reward over the nearest training queries, less what its call costs.

    Attributes:
        price_weight: rewards that a US dollar is worth.
        cache: folder for the embeddings of training queries; None keeps none.
        nearest: from `fit`, which chooses the number of neighbours on training rows.
    """

    price_weight: float = 0.0
    encoder: Embedder = field(default_factory=Encoder)
    cache: Path | None = None
    nearest: KnnEstimator | None = None
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        if not self.price_weight >= 0.0:
            raise ConfigError(
                expected="selector.price_weight of 0 or more", found=str(self.price_weight), do="correct it"
            )

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "KnnSelector":
        """Keeps the training queries' embeddings and rewards."""
        embeddings = self.encoder.embed(training.texts, self.cache)
        return replace(self, nearest=KnnEstimator(self.encoder, NearestNeighbours.fit(embeddings, training.rewards())))

    def settings(self, validation: ResponseTable) -> Sequence["KnnSelector"]:
        """Price weights from the cheapest choices to the dearest."""
        return [replace(self, price_weight=weight) for weight in price_weights(validation)]

    async def select(self, query: Query, ask: Ask) -> Selection:
        known = () if self.nearest is None else self.nearest.neighbours.rewards.candidates
        if self.nearest is None or known != ask.pool.names:
            raise ConfigError(
                expected=f"a selector fitted on rewards of {list(ask.pool.names)}",
                found=f"one for {list(known)}",
                do="fit selector knn on recorded rewards of this pool",
            )
        expected = await ask.estimate(self.nearest)
        prices = np.array([ask.price(name) for name in known]) if self.price_weight else expected
        order = rank_by_utility(known, expected, prices, self.price_weight)
        response = await first_response(ask, order)
        return Selection(response, float(expected[known.index(order[0])]), f"{order[0]} on similar queries")
