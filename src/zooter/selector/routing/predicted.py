"""The "Routing" baseline: predict each candidate's reward from the query, and ask the candidate with the largest."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, SkipValidation

from zooter.data.component import PathField, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.router.encoder import Embedder, Encoder
from zooter.router.net import Head, encoder_and_text_features
from zooter.selector.budget import EscalationThreshold, StreamState
from zooter.selector.ordering import price_weight_grid, rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.finetuned import FinetunedPredictor, Finetuning
from zooter.selector.two_tier import TwoTier
from zooter.training.closed_form import fit_ridge
from zooter.training.head_init import init_head


@dataclass(frozen=True, eq=False)
class RewardPredictor:
    """Predict each candidate's reward by ridge regression on the frozen encoder's features; an `Estimator`.

    Attributes:
        encoder: frozen.
        head: with the fitted regression.
        candidates: in column order.
        name: in the ledger.
        fee: US dollars per query.
    """

    encoder: Embedder
    head: Head
    candidates: tuple[str, ...]
    name: str = "predictor"
    fee: float = 0.0

    @classmethod
    def fit(
        cls, encoder: Embedder, training: ResponseTable, validation: ResponseTable, cache: Path | None
    ) -> "RewardPredictor":
        """Fit on training rows, with the penalty of the least squared error on validation rows.

        Args:
            encoder: frozen.
            training: rows with rewards.
            validation: rows with rewards.
            cache: folder for embeddings; None stores none.
        """
        features = encoder_and_text_features(encoder.embed(training.texts, cache), training.texts)
        rewards, validation_rewards = training.rewards(), validation.rewards()
        head = init_head(features, rewards, [], 1.0, width=1, dropout=0.0).eval()
        validation_features = encoder_and_text_features(encoder.embed(validation.texts, cache), validation.texts)
        z, overall = head.standardise(validation_features).double().numpy(), head.overall.double().numpy()
        weights = fit_ridge(head.standardise(features), rewards.values - overall)

        def squared_error(penalty: float) -> float:
            """Compute the mean squared error on validation rows with a penalty of `RIDGE_PENALTIES`."""
            return float(np.nanmean((validation_rewards.values - overall - z @ weights[penalty].T) ** 2))

        head.residual = torch.from_numpy(weights[min(weights, key=squared_error)]).float().contiguous()
        return cls(encoder, head, rewards.candidates)

    @torch.inference_mode()
    def estimate(self, queries: Sequence[Query]) -> Floats:
        """Return the expected rewards (n, m)."""
        texts = [query.text for query in queries]
        features = encoder_and_text_features(self.encoder.embed(texts), texts)
        return np.asarray(self.head.expected_rewards(features).double().numpy())


@component
class PredictedSelector:
    """Ask the candidate with the largest expected reward minus price weight × price (RouterBench, arXiv 2403.12031).

    Under a budget it is the baseline of Margin Sampling (§4; Šakota et al. 2023; Lu et al. 2023): the small candidate
    answers where its own expected reward is above the online threshold, else the large one.

    Attributes:
        price_weight: rewards per US dollar, 0 or more.
        small: candidate under a budget; None is the cheapest.
        large: candidate under a budget; None is the one of the others with the best mean training reward.
        threshold: escalation rule under a budget.
        budget: US dollars per query on average; set by `with_budget`.
        queries: length of the stream; set by `with_budget`.
        encoder: of the predictor.
        net: "frozen" for a linear layer on the encoder's features, or "finetune" to train the encoder too.
        finetune: how, with net=finetune.
        cache: folder for the embeddings of the rows that it is fitted on; None stores none.
        tiers: the two candidates under a budget; from `fit`.
        predictor: from `fit`.
        state: of the current stream; every copy made by `dataclasses.replace` starts a new one.
    """

    price_weight: NonNegativeFloat = 0.0
    small: str | None = None
    large: str | None = None
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    budget: float | None = None
    queries: int | None = None
    encoder: SkipValidation[Embedder] = field(default_factory=Encoder)
    cache: PathField | None = None
    net: Literal["frozen", "finetune"] = "frozen"
    finetune: Finetuning = field(default_factory=Finetuning)
    tiers: SkipValidation[TwoTier | None] = None
    predictor: SkipValidation[RewardPredictor | FinetunedPredictor | None] = None
    state: StreamState = field(default_factory=StreamState, init=False, repr=False, compare=False)
    needs: ClassVar[Needs] = Needs()

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask the candidate with the best expected utility; under a budget, one of two tiers.

        Raises:
            ConfigError: the selector is not fitted on this pool.
        """
        if self.predictor is None or self.predictor.candidates != ask.pool.names:
            raise not_fitted_error("predicted")
        names = self.predictor.candidates
        expected = await ask.estimate(self.predictor)
        if self.budget is not None and self.tiers is not None:
            tiers, score = self.tiers, float(expected[names.index(self.tiers.names[0])])
            state = self.state.get_or_start(lambda: tiers.start_stream(self.threshold, self.budget, self.queries))
            return await tiers.route(ask, state, score)
        prices = np.array([ask.price(name) for name in names])
        order = rank_by_utility(names, expected, prices, self.price_weight)
        best_reward = float(expected[names.index(order[0])])
        return Selection(await first_response(ask, order), best_reward, f"{order[0]} promises most")

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "PredictedSelector":
        """Fit the predictor on training rows; validation rows choose its penalty.

        Args:
            training: rows with rewards.
            validation: rows with rewards.
        """
        tiers = TwoTier.choose(training, self.small, self.large) if len(training.pool.names) > 1 else None
        predictor = (
            self.finetune.predictor(self.encoder, training)
            if self.net == "finetune"
            else RewardPredictor.fit(self.encoder, training, validation, self.cache)
        )
        return replace(self, tiers=tiers, predictor=predictor)

    def operating_points(self, validation: ResponseTable) -> list["PredictedSelector"]:
        """Return one copy per price weight, from the cheapest choices to the dearest.

        Args:
            validation: rows whose rewards and prices give the weights to try.
        """
        return [replace(self, price_weight=weight) for weight in price_weight_grid(validation)]

    @property
    def budget_candidates(self) -> tuple[str, ...]:
        """Return the two tiers, between whose prices budgets make a difference."""
        return self.tiers.names if self.tiers is not None else ()

    def with_budget(self, budget: float, queries: int) -> "PredictedSelector":
        """Return a copy with two tiers and an online threshold for the large calls that the budget allows.

        Args:
            budget: US dollars per query on average.
            queries: length of the stream.
        """
        return replace(self, budget=budget, queries=queries)


def not_fitted_error(name: str) -> ConfigError:
    """Build the error of a selector that has seen no rewards, or those of another pool."""
    return ConfigError(
        expected=f"selector {name} to be fitted on rewards of this pool", found="one that is not", do="give records=…"
    )
