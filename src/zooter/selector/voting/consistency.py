"""ModelSwitch: sample a model several times, and ask the next one only where it disagrees with itself.

Chen et al., *Do We Truly Need So Many Samples? Multi-LLM Repeated Sampling Efficiently Scales Test-Time Compute*
(arXiv 2504.00762, AAAI 2026). The authors' code has three variants; this is the one for three models, which is also
what the paper says: a unanimous later model's answer is returned and what earlier ones said is discarded.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Query, Response
from zooter.errors import ConfigError
from zooter.selector.ordering import mean_rewards, strong_first
from zooter.selector.protocol import Ask, Needs, Selection, refuse_unknown
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.vote import agreement, refuse_normaliser, vote_scores, winner

SAMPLES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # the knob's
LARGEST = 5  # prior weights are small whole numbers up to this, as in the authors' code


@dataclass(frozen=True)
class ConsistencySelector:
    """Asks candidates in order, until one agrees with itself; otherwise a weighted vote over all that was said.

    Samples have to differ for their agreement to say anything: ask with a temperature of about 1. One sample always
    agrees with itself, so that with `samples` 1 the first candidate answers whenever its answer can be read.

    Attributes:
        order: the candidates; empty: `fit` takes the `candidates` best on average, the strongest first.
        candidates: how many `fit` takes; the paper advises two of different families.
        samples: of each candidate. `uneven` gives each its own number instead.
        agreement: share of a candidate's samples with one answer that suffices; 1 is unanimity. A failed call or an
            answer that cannot be read agrees with none.
        normaliser: of the entropy in the vote's weights, "distinct" or "answers" (`vote.entropy_weight`); null counts
            every vote alike.
        prior: each candidate's weight in the vote; empty is 1 for all.
        fit_prior: `fit` finds `prior` on the validation rows.
        extract: reads answers.
    """

    order: tuple[str, ...] = ()
    candidates: int = 2
    samples: int = 4
    uneven: tuple[int, ...] = ()
    agreement: float = 1.0
    normaliser: str | None = "distinct"
    prior: tuple[float, ...] = ()
    fit_prior: bool = False
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)

    def __post_init__(self) -> None:
        for name in ("order", "uneven", "prior"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # YAML has lists
        refuse_normaliser(self.normaliser)
        rules = {
            "samples of 1 or more": min((self.samples, *self.uneven)) >= 1,
            "candidates of 1 or more": self.candidates >= 1,
            "agreement above 0 and up to 1": 0.0 < self.agreement <= 1.0,
            "weights of 0 or more in prior, not all 0": not self.prior or min(self.prior) >= 0.0 < max(self.prior),
            "one number per candidate of order in uneven": not self.uneven or len(self.uneven) == len(self.order),
            "one number per candidate of order in prior": not self.prior or len(self.prior) == len(self.order),
        }
        for rule, kept in rules.items():
            if not kept:
                raise ConfigError(expected=f"a selector with {rule}", found=repr(self), do="correct it")

    @property
    def needs(self) -> Needs:
        """So many samples, with texts, of each candidate in the order."""
        return Needs(samples=max(self.samples_of), texts=True, candidates=self.order or None)

    @property
    def samples_of(self) -> tuple[int, ...]:
        """How many samples each candidate gives."""
        return self.uneven or (self.samples,) * max(1, len(self.order))

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "ConsistencySelector":
        """The order by training rows where none is given; the prior weights by validation rows where wanted."""
        order = self.order or strong_first(mean_rewards(training))[: self.candidates]
        refuse_unknown("consistency", order, training.pool)
        fitted = replace(self, order=order)
        return replace(fitted, prior=fitted.best_prior(validation)) if self.fit_prior else fitted

    def settings(self, validation: ResponseTable) -> Sequence["ConsistencySelector"]:
        """From one sample of each candidate to as many as are recorded."""
        most = min((len(of.get(name, ())) for of in validation.cells for name in self.order), default=1)
        return [replace(self, samples=k, uneven=()) for k in SAMPLES if k <= max(1, most)]

    async def select(self, query: Query, ask: Ask) -> Selection:
        refuse_unknown("consistency", self.order, ask.pool)
        return await self.select_in_order(query, ask, self.order)

    async def select_in_order(self, query: Query, ask: Ask, order: Sequence[str]) -> Selection:
        """The selection with the candidates in this order."""
        said: list[Response] = []
        votes: list[str | None] = []
        parts: list[list[str | None]] = []
        for name, samples in zip(order, self._counts(order), strict=True):
            responses = await ask(name, samples)
            parts.append(self.extract.answers(query, responses, votes))
            said += responses
            votes += parts[-1]
            answer, share = agreement(parts[-1])
            if answer is not None and share >= self.agreement:
                return Selection(responses[parts[-1].index(answer)], share, f"{name} agrees with itself")
        found = vote_scores(parts, self.prior or [1.0] * len(parts), self.normaliser)
        answer = winner(found)
        if answer is None:  # nothing could be read: the first response that there is
            unread = next((response for response in said if response.error is None), None)
            return Selection(unread, None, "no answer could be read")
        total = sum(found.values())
        return Selection(said[votes.index(answer)], found[answer] / total if total else 0.0, "a vote")

    def _counts(self, order: Sequence[str]) -> tuple[int, ...]:
        return self.uneven if len(self.uneven) == len(order) else (self.samples,) * len(order)

    def best_prior(self, validation: ResponseTable) -> tuple[float, ...]:
        """Small whole numbers with the largest mean reward of the vote on these rows; of several, the smallest ones.

        Rows in which a candidate agrees with itself are decided without a vote and do not count.
        """
        told = [found for row in range(len(validation.queries)) if (found := self._open(validation, row)) is not None]
        several = itertools.product(range(1, LARGEST + 1), repeat=len(self.order))
        best, best_reward = (1,) * len(self.order), -math.inf
        for weights in sorted((one for one in several if math.gcd(*one) == 1), key=sum):
            rewards = [of.get(winner(vote_scores(parts, weights, self.normaliser)) or "", np.nan) for parts, of in told]
            reward = float(np.nansum(rewards))  # the same rows for all weights
            if reward > best_reward + 1e-9:
                best, best_reward = weights, reward
        return tuple(float(weight) for weight in best)

    def _open(self, recorded: ResponseTable, row: int) -> tuple[list[list[str | None]], Mapping[str, float]] | None:
        """Each candidate's answers in a row that none of them decides, and answer → its first response's reward."""
        votes: list[str | None] = []
        parts: list[list[str | None]] = []
        rewards: dict[str, float] = {}
        for name, samples in zip(self.order, self._counts(self.order), strict=True):
            cells = recorded.cells[row].get(name, ())[:samples]
            parts.append(self.extract.answers(recorded.queries[row], [cell.response for cell in cells], votes))
            votes += parts[-1]
            answer, share = agreement(parts[-1])
            if answer is not None and share >= self.agreement:
                return None
            for one, cell in zip(parts[-1], cells, strict=True):
                if one is not None:
                    rewards.setdefault(one, cell.reward)
        return parts, rewards
