"""FrugalGPT's cascade (Chen, Zaharia & Zou, arXiv 2305.05176): answers are scored, and a bad one is asked for again.

A scorer of (query, answer) for each candidate, an order of candidates and a threshold for each place of it. An answer
is accepted when its score is above the threshold; the last candidate's always is. As in the paper, the order and the
thresholds are those with the best reward whose mean cost is within a budget. Other than in the authors' code, they are
found on rows that the scorers were not fitted on, and thresholds need not fall along the order.

Margin Sampling (COLM 2024) compares itself with another form: two tiers, the same score, and its own running threshold
in the place of the search. That is `rule=running`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, RecordsError
from zooter.router.encoder import Embedder, Encoder
from zooter.selector.budget import BudgetState, EscalationThreshold
from zooter.selector.protocol import Ask, Needs, Selection, first_response
from zooter.selector.routing.predicted import not_fitted_error
from zooter.selector.routing.text_classifier import TextClassifier
from zooter.selector.two_tier import TwoTier

Bools = NDArray[np.bool_]
RULES = ("search", "running")


@dataclass(frozen=True, eq=False)
class AnswerScorer:
    """Query and answer of one candidate → the probability that the answer is right, a `Scorer`."""

    classifier: TextClassifier
    name: str
    fee: float = 0.0

    def score(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        return self.classifier.probability(query_answer_texts(queries, responses))


@dataclass(frozen=True)
class Chain:
    """Candidates in order with a threshold each but for the last, and what this cost and earned on average."""

    order: tuple[str, ...]
    thresholds: tuple[float, ...]
    cost: float
    reward: float


@dataclass(frozen=True)
class FrugalSelector:
    """Asks one candidate after the other until an answer's score is above its threshold.

    Attributes:
        rule: "search" for a chain within the budget, "running" for two tiers and a threshold that runs.
        length: candidates of a chain at most; 3 in the paper.
        small, large: of rule "running"; None is the cheapest, and the one of the others with the best mean reward.
        threshold: of rule "running".
        budget: US dollars per query on average; None is no limit. Where no chain is within it, the cheapest is taken.
        queries: of the stream; set by `at`.
        good: reward from which an answer is right; None takes rewards, all in [0, 1], for probabilities of being right.
        quantiles: of the scores that reach a place, which are looked at as its threshold.
        encoder: frozen, of the scorers.
        cache: folder for the embeddings of the rows that it is fitted on; None keeps none.
        scorers: candidate → scorer, once fitted.
        chains: once fitted, those that earn more than every cheaper one, the cheapest first.
        tiers: once fitted, of rule "running".
    """

    rule: str = "search"
    length: int = 3
    small: str | None = None
    large: str | None = None
    threshold: EscalationThreshold = field(default_factory=EscalationThreshold)
    budget: float | None = None
    queries: int | None = None
    good: float | None = None
    quantiles: int = 10
    encoder: Embedder = field(default_factory=Encoder)
    cache: Path | None = None
    scorers: Mapping[str, AnswerScorer] = field(default_factory=dict)
    chains: tuple[Chain, ...] = ()
    tiers: TwoTier | None = None
    needs: ClassVar[Needs] = Needs(texts=True)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigError(expected=f"selector.rule among {RULES}", found=repr(self.rule), do="correct it")
        if self.length < 1 or self.quantiles < 2:
            raise ConfigError(
                expected="selector.length of 1 or more and selector.quantiles of 2 or more",
                found=f"{self.length} and {self.quantiles}",
                do="correct them",
            )

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "FrugalSelector":
        """Scorers on training rows; orders and thresholds on validation rows.

        Raises:
            RecordsError: a reward is outside [0, 1] and `good` is not given.
        """
        fitted = {name: self._scorer(training, name) for name in training.pool.names}
        scorers = {name: scorer for name, scorer in fitted.items() if scorer is not None}
        if self.rule == "running":
            return replace(self, scorers=scorers, tiers=TwoTier.of(training, self.small, self.large))
        shape = len(validation.queries), len(scorers)
        scores, rewards, costs = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
        for j, (name, scorer) in enumerate(scorers.items()):
            rows = [i for i, of in enumerate(validation.cells) if of.get(name)]
            first = [validation.cells[i][name][0] for i in rows]
            texts = query_answer_texts([validation.queries[i] for i in rows], [cell.response for cell in first])
            scores[rows, j] = scorer.classifier.probability(texts, self.cache)
            rewards[rows, j] = np.nan_to_num([cell.reward for cell in first])
            costs[rows, j] = [cell.response.cost or 0.0 for cell in first]
        found = search_chains(list(scorers), scores, rewards, costs, self.length, self.quantiles)
        return replace(self, scorers=scorers, chains=pareto_frontier(found))

    def _scorer(self, training: ResponseTable, name: str) -> AnswerScorer | None:
        cells = [(q, cell) for q, of in zip(training.queries, training.cells, strict=True) for cell in of.get(name, ())]
        known = [(q, cell) for q, cell in cells if cell.response.error is None and not np.isnan(cell.reward)]
        rewards = np.array([cell.reward for _, cell in known])
        if not known:
            return None
        if self.good is None and not ((rewards >= 0.0) & (rewards <= 1.0)).all():
            raise RecordsError(
                expected="rewards between 0 and 1 for selector frugal", found=f"others of {name!r}",
                do="set selector.good to the reward from which an answer is right",
            )  # fmt: skip
        right = rewards if self.good is None else (rewards >= self.good).astype(float)
        texts = query_answer_texts([query for query, _ in known], [cell.response for _, cell in known])
        return AnswerScorer(TextClassifier.fit(self.encoder, texts, right, self.cache), f"scorer of {name}")

    def settings(self, validation: ResponseTable) -> list["FrugalSelector"]:
        """One copy per chain, or per share that goes on, the cheapest first."""
        if self.rule == "running":
            return [replace(self, threshold=replace(self.threshold, share=i / 10)) for i in range(11)]
        return [replace(self, budget=chain.cost) for chain in self.chains]

    def at(self, budget: float, queries: int) -> "FrugalSelector":
        """The best chain within the budget, or a threshold that runs for it."""
        return replace(self, budget=budget, queries=queries)

    @cached_property
    def _stream(self) -> BudgetState:
        assert self.tiers is not None
        return self.tiers.stream(self.threshold, self.budget, self.queries, routing=False)

    @property
    def remembers(self) -> bool:
        """Only a running threshold depends on the queries before."""
        return self.rule == "running"

    @cached_property
    def chain(self) -> Chain:
        """The best chain within the budget; the cheapest where none is.

        Raises:
            ConfigError: the selector is not fitted.
        """
        if not self.chains:
            raise not_fitted_error("frugal")
        within = [chain for chain in self.chains if self.budget is None or chain.cost <= self.budget]
        return within[-1] if within else self.chains[0]

    async def select(self, query: Query, ask: Ask) -> Selection:
        if self.tiers is not None:
            return await self.tiers.cascade(ask, self._stream, self.scorers[self.tiers.names[0]])
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
        rest = [name for name in ask.pool.names if name not in chain.order]
        return rejected or Selection(await first_response(ask, rest), why="the whole chain failed")


def query_answer_texts(queries: Sequence[Query], responses: Sequence[Response]) -> list[str]:
    """What a scorer reads: query, blank, answer, as in the authors' code."""
    return [f"{query.text} {response.text}" for query, response in zip(queries, responses, strict=True)]


def search_chains(
    names: Sequence[str], scores: Floats, rewards: Floats, costs: Floats, length: int, quantiles: int
) -> Iterator[Chain]:
    """Every order of up to `length` candidates, each with thresholds at quantiles of the scores that reach a place.

    Args:
        scores, rewards, costs: (n, m) of the candidates' answers; a NaN score is never accepted.
    """
    shares = np.linspace(0.0, 1.0, quantiles, endpoint=False)

    def extend(
        order: tuple[int, ...], thresholds: tuple[float, ...], left: Bools, paid: float, earned: float
    ) -> Iterator[Chain]:
        for j in set(range(len(names))) - set(order):
            so_far, cost = (*order, j), paid + costs[left, j].sum()
            whole = tuple(names[k] for k in so_far)
            yield Chain(whole, thresholds, float(cost / len(left)), float(earned + rewards[left, j].sum()) / len(left))
            known = scores[left, j][~np.isnan(scores[left, j])]
            if len(so_far) == length or not len(known):
                continue
            for threshold in np.unique(np.quantile(known, shares)):
                accepted = left & (scores[:, j] > threshold)
                yield from extend(
                    so_far, (*thresholds, float(threshold)), left & ~accepted, cost, earned + rewards[accepted, j].sum()
                )

    return extend((), (), np.ones(len(scores), dtype=bool), 0.0, 0.0)


def pareto_frontier(found: Iterator[Chain]) -> tuple[Chain, ...]:
    """The chains that earn more than every cheaper one, the cheapest first; of equals the shortest."""
    kept: list[Chain] = []
    for chain in sorted(found, key=lambda chain: (chain.cost, -chain.reward, len(chain.order))):
        if not kept or chain.reward > kept[-1].reward:
            kept.append(chain)
    return tuple(kept)
