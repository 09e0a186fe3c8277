"""The "Routing" baseline: predict from the query what each candidate would earn, and ask the one that promises most."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.router.encoder import Embedder, Encoder
from zooter.router.net import Head, encoder_and_text_features
from zooter.selector.budget import BudgetState, EscalationThreshold
from zooter.selector.ordering import price_weights, rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.two_tier import TwoTier
from zooter.training.closed_form import fit_ridge
from zooter.training.head_init import init_head


@dataclass(frozen=True, eq=False)
class RewardPredictor:
    """Queries → the reward expected of each candidate: a ridge on the frozen encoder's features, an `Estimator`."""

    encoder: Embedder
    head: Head
    candidates: tuple[str, ...]
    name: str = "predictor"
    fee: float = 0.0

    @classmethod
    def fit(
        cls, encoder: Embedder, training: ResponseTable, validation: ResponseTable, cache: Path | None
    ) -> "RewardPredictor":
        """Fitted on training rows; of several penalties the one with the least squared error on validation rows."""
        read = encoder_and_text_features(encoder.embed(training.texts, cache), training.texts)
        rewards, wanted = training.rewards(), validation.rewards()
        head = init_head(read, rewards, [], 1.0, width=1, dropout=0.0).eval()
        seen = encoder_and_text_features(encoder.embed(validation.texts, cache), validation.texts)
        z, overall = head.standardise(seen).double().numpy(), head.overall.double().numpy()
        fitted = fit_ridge(head.standardise(read), rewards.values - overall)

        def error(penalty: float) -> float:
            return float(np.nanmean((wanted.values - overall - z @ fitted[penalty].T) ** 2))

        head.residual = torch.from_numpy(fitted[min(fitted, key=error)]).float().contiguous()
        return cls(encoder, head, rewards.candidates)

    @torch.inference_mode()
    def estimate(self, queries: Sequence[Query]) -> Floats:
        """(n, m) expected rewards."""
        texts = [query.text for query in queries]
        read = encoder_and_text_features(self.encoder.embed(texts), texts)
        return np.asarray(self.head.expected(read).double().numpy())


@dataclass(frozen=True)
class PredictedSelector:
    """Asks the candidate with the largest expected reward minus price weight × price (RouterBench, arXiv 2403.12031).

    Under a budget it is the baseline of Margin Sampling (§4; Šakota et al. 2023; Lu et al. 2023): the small candidate
    answers where its own expected reward is above the running threshold, else the large one.

    Attributes:
        price_weight: rewards that a US dollar is worth.
        small, large: candidates under a budget; None is the cheapest, and the best of the others.
        threshold: under a budget.
        budget, queries: US dollars per query on average, and queries of the stream; set by `at`.
        encoder: frozen, of the predictor.
        cache: folder for the embeddings of the rows that it is fitted on; None keeps none.
        tiers, predictor: once fitted.
    """

    price_weight: float = 0.0
    small: str | None = None
    large: str | None = None
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    budget: float | None = None
    queries: int | None = None
    encoder: Embedder = field(default_factory=Encoder)
    cache: Path | None = None
    tiers: TwoTier | None = None
    predictor: RewardPredictor | None = None
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        if not self.price_weight >= 0.0:
            raise ConfigError(
                expected="selector.price_weight of 0 or more", found=str(self.price_weight), do="set 0 to ignore prices"
            )

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "PredictedSelector":
        """Fits the predictor; validation rows choose its penalty."""
        tiers = TwoTier.of(training, self.small, self.large) if len(training.pool.names) > 1 else None
        return replace(self, tiers=tiers, predictor=RewardPredictor.fit(self.encoder, training, validation, self.cache))

    def settings(self, validation: ResponseTable) -> list["PredictedSelector"]:
        """Price weights from the cheapest choices to the dearest."""
        return [replace(self, price_weight=weight) for weight in price_weights(validation)]

    def at(self, budget: float, queries: int) -> "PredictedSelector":
        """Two tiers, and a running threshold for the share of large calls that the budget allows."""
        return replace(self, budget=budget, queries=queries)

    @cached_property
    def _stream(self) -> BudgetState:
        assert self.tiers is not None
        return self.tiers.stream(self.threshold, self.budget, self.queries)

    async def select(self, query: Query, ask: Ask) -> Selection:
        if self.predictor is None or self.predictor.candidates != ask.pool.names:
            raise not_fitted_error("predicted")
        names = self.predictor.candidates
        expected = await ask.estimate(self.predictor)
        if self.budget is not None and self.tiers is not None:
            return await self.tiers.route(ask, self._stream, float(expected[names.index(self.tiers.names[0])]))
        prices = np.array([ask.price(name) for name in names])
        order = rank_by_utility(names, expected, prices, self.price_weight)
        expected_of_it = float(expected[names.index(order[0])])
        return Selection(await first_response(ask, order), expected_of_it, f"{order[0]} promises most")


def not_fitted_error(name: str) -> ConfigError:
    """A selector that has seen no rewards, or another pool's, cannot select."""
    return ConfigError(
        expected=f"selector {name} to be fitted on rewards of this pool", found="one that is not", do="give records=…"
    )
