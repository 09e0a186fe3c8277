"""FrugalGPT's cascade (Chen, Zaharia & Zou, arXiv 2305.05176): score each answer, and ask the next model if it is low.

1. For each candidate, a scorer g(query, answer) predicts whether its answer is right.
2. A chain is an order of candidates with a threshold for each but the last. As in the paper, it is the one with the
   best reward whose mean cost is within a budget (`chain_search`).
3. For every query, ask the chain's candidates in order. Accept the first answer that scores above its threshold; the
   last candidate's answer is always accepted.

Other than in the authors' code, chains are searched on rows that the scorers were not fitted on, and thresholds need
not fall along the order.

Margin Sampling (COLM 2024) compares itself with another form: two tiers, the same score, and its own online threshold
in place of the search. That is `rule=running`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, SkipValidation

from zooter.data.component import PathField, TupleField, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.errors import RecordsError
from zooter.router.encoder import Embedder, Encoder
from zooter.selector.budget import ESCALATION_RATES, EscalationThreshold, StreamState
from zooter.selector.cascade.chain_search import Chain, pareto_frontier, search_chains
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.finetuned import FinetunedClassifier, Finetuning
from zooter.selector.routing.predicted import not_fitted_error
from zooter.selector.routing.text_classifier import TextClassifier
from zooter.selector.two_tier import TwoTier


@dataclass(frozen=True, eq=False)
class AnswerScorer:
    """Predict from a query and one candidate's answer the probability that the answer is right; a `Scorer`.

    Attributes:
        classifier: of texts "query answer".
        name: in the ledger.
        fee: US dollars per answer.
    """

    classifier: TextClassifier | FinetunedClassifier
    name: str
    fee: float = 0.0

    def score(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """Return the probabilities (n,) that responses to queries are right.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.
        """
        return self.classifier.probability(query_answer_texts(queries, responses))


@component
class FrugalSelector:
    """Ask one candidate after the other until an answer's score is above its threshold.

    Attributes:
        rule: "search" for a chain within the budget, "running" for two tiers and an online threshold.
        length: candidates of a chain at most; 3 in the authors' code.
        small: candidate of rule "running"; None is the cheapest.
        large: candidate of rule "running"; None is the one of the others with the best mean reward.
        threshold: escalation rule of rule "running".
        budget: US dollars per query on average; None is no limit. Where no chain is within it, the cheapest is taken.
        queries: length of the stream; set by `with_budget`.
        good: reward from which an answer is right; None takes rewards, all in [0, 1], for probabilities of being right.
        quantiles: thresholds that are tried at each place of a chain.
        encoder: of the scorers.
        net: "frozen" for a linear layer on the encoder's features, or "finetune" to train the encoder too.
        finetune: how, with net=finetune.
        cache: folder for the embeddings of the rows that the scorers are fitted on; None stores none.
        scorers: candidate → scorer; from `fit`.
        chains: those with more reward than every cheaper one, the cheapest first; from `fit`.
        tiers: of rule "running"; from `fit`.
        state: of the current stream under rule "running"; every copy made by `dataclasses.replace` starts a new one.
    """

    rule: Literal["search", "running"] = "search"
    length: PositiveInt = 3
    small: str | None = None
    large: str | None = None
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    budget: float | None = None
    queries: int | None = None
    good: float | None = None
    quantiles: Annotated[int, Field(ge=2)] = 10
    encoder: SkipValidation[Embedder] = field(default_factory=Encoder)
    cache: PathField | None = None
    net: Literal["frozen", "finetune"] = "frozen"
    finetune: Finetuning = field(default_factory=Finetuning)
    scorers: SkipValidation[Mapping[str, AnswerScorer]] = field(default_factory=dict)
    chains: TupleField[Chain] = ()
    tiers: SkipValidation[TwoTier | None] = None
    state: StreamState = field(default_factory=StreamState, init=False, repr=False, compare=False)
    needs: ClassVar[Needs] = Needs(texts=True)

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask the chain's candidates in order (step 3); a failed call passes to the next one.

        Raises:
            ConfigError: the selector is not fitted.
        """
        if self.tiers is not None:
            return await self._select_online(ask, self.tiers)
        chain, rejected = self.chain, None
        for place, name in enumerate(chain.order):
            response = (await ask(name))[0]
            if response.error is not None:
                continue
            if place == len(chain.order) - 1:
                return Selection(response, why="the last of the chain")
            score = float((await ask.score(self.scorers[name], [response]))[0])
            if score > chain.thresholds[place]:
                return Selection(response, score, f"scored above {chain.thresholds[place]:.3f}")
            rejected = Selection(response, score, "rejected, but the rest of the chain failed")
        outside = [name for name in ask.pool.names if name not in chain.order]
        return rejected or Selection(await first_response(ask, outside), why="the whole chain failed")

    async def _select_online(self, ask: Ask, tiers: TwoTier) -> Selection:
        """Select from two tiers with Margin Sampling's threshold on the small tier's score."""
        state = self.state.get_or_start(
            lambda: tiers.start_stream(self.threshold, self.budget, self.queries, routing=False)
        )
        return await tiers.cascade(ask, state, self.scorers[tiers.names[0]])

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "FrugalSelector":
        """Fit the scorers (step 1) on training rows and search the chains (step 2) on validation rows.

        Args:
            training: rows with rewards, on which scorers learn.
            validation: rows with rewards and costs, on which chains are compared.

        Raises:
            RecordsError: a reward is outside [0, 1] and `good` is None.
        """
        fitted = {name: self._fit_scorer(training, name) for name in training.pool.names}
        scorers = {name: scorer for name, scorer in fitted.items() if scorer is not None}
        if self.rule == "running":
            return replace(self, scorers=scorers, tiers=TwoTier.choose(training, self.small, self.large))
        shape = len(validation.queries), len(scorers)
        scores, rewards, costs = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
        for j, (name, scorer) in enumerate(scorers.items()):
            rows = [i for i, cells in enumerate(validation.cells) if cells.get(name)]
            first = [validation.cells[i][name][0] for i in rows]
            texts = query_answer_texts([validation.queries[i] for i in rows], [cell.response for cell in first])
            scores[rows, j] = scorer.classifier.probability(texts, self.cache)
            rewards[rows, j] = np.nan_to_num([cell.reward for cell in first])
            costs[rows, j] = [cell.response.cost or 0.0 for cell in first]
        chains = search_chains(list(scorers), scores, rewards, costs, self.length, self.quantiles)
        return replace(self, scorers=scorers, chains=pareto_frontier(chains))

    def _fit_scorer(self, training: ResponseTable, name: str) -> AnswerScorer | None:
        """One candidate's scorer; None where it has no answer with a reward."""
        answers = [
            (query, cell)
            for query, cells in zip(training.queries, training.cells, strict=True)
            for cell in cells.get(name, ())
            if cell.response.error is None and not np.isnan(cell.reward)
        ]
        if not answers:
            return None
        rewards = np.array([cell.reward for _, cell in answers])
        if self.good is None and not ((rewards >= 0.0) & (rewards <= 1.0)).all():
            raise RecordsError(
                expected="rewards between 0 and 1 for selector frugal", found=f"others of {name!r}",
                do="set selector.good to the reward from which an answer is right",
            )  # fmt: skip
        is_right = rewards if self.good is None else (rewards >= self.good).astype(float)
        texts = query_answer_texts([query for query, _ in answers], [cell.response for _, cell in answers])
        classifier = (
            self.finetune.classifier(self.encoder, texts, is_right)
            if self.net == "finetune"
            else TextClassifier.fit(self.encoder, texts, is_right, self.cache)
        )
        return AnswerScorer(classifier, f"scorer of {name}")

    def operating_points(self, validation: ResponseTable) -> list["FrugalSelector"]:
        """Return one copy per chain, or per escalation rate, the cheapest first.

        Args:
            validation: not used: `fit` has searched the chains.
        """
        if self.rule == "running":
            return [replace(self, threshold=replace(self.threshold, escalation_rate=rate)) for rate in ESCALATION_RATES]
        return [replace(self, budget=chain.cost) for chain in self.chains]

    @property
    def budget_candidates(self) -> tuple[str, ...]:
        """Return the two tiers of rule "running"; a chain may ask any candidate."""
        return self.tiers.names if self.tiers is not None else ()

    def with_budget(self, budget: float, queries: int) -> "FrugalSelector":
        """Return a copy with the best chain within the budget, or an online threshold for it.

        Args:
            budget: US dollars per query on average.
            queries: length of the stream.
        """
        return replace(self, budget=budget, queries=queries)

    @property
    def depends_on_order(self) -> bool:
        """Return whether a decision depends on the queries before it: only that of an online threshold does."""
        return self.rule == "running"

    @cached_property
    def chain(self) -> Chain:
        """Choose the best chain within the budget; the cheapest where none is.

        Raises:
            ConfigError: the selector is not fitted.
        """
        if not self.chains:
            raise not_fitted_error("frugal")
        affordable = [chain for chain in self.chains if self.budget is None or chain.cost <= self.budget]
        return affordable[-1] if affordable else self.chains[0]


def query_answer_texts(queries: Sequence[Query], responses: Sequence[Response]) -> list[str]:
    """Join each query and its answer by a blank, as the authors' scorers read them.

    Args:
        queries: n queries; `queries[i]` belongs to `responses[i]`.
        responses: n responses.
    """
    return [f"{query.text} {response.text}" for query, response in zip(queries, responses, strict=True)]
