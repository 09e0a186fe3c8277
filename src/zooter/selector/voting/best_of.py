"""The response that a reward model likes best: of all candidates, or of several samples.

Reward-model ranking (ZOOTER §3.1) is `samples: 1` over all candidates; best-of-n is one candidate in `order` with n
samples; ModelSwitch with a reward model (arXiv 2504.00762, `RewardModel` of its code) is `unanimous_first` over two:
when the first one agrees with itself nothing else is asked, otherwise both models' samples are pooled and rewarded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError
from zooter.selector.ordering import mean_rewards, strong_first
from zooter.selector.protocol import Ask, Needs, SampleRequest, Selection, first_response, refuse_unknown
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.consistency import SAMPLES
from zooter.selector.voting.vote import agreement, winner


@dataclass(frozen=True)
class BestOfSelector:
    """Asks, has the responses rewarded, and returns the best.

    Attributes:
        order: the candidates; empty is all of them. The earlier one wins a tie.
        samples: of each.
        unanimous_first: the first candidate is asked alone, and its answer taken when all its samples agree.
        vote: rewards of responses with the same answer are added up, as in the authors' RM_Vote; for rewards of 0 or
            more.
        fee: US dollars that the reward model costs per response.
        extract: reads answers, for `unanimous_first` and `vote`.
    """

    order: tuple[str, ...] = ()
    samples: int = 1
    unanimous_first: bool = False
    vote: bool = False
    fee: float = 0.0
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))  # YAML has lists
        if self.samples < 1 or not self.fee >= 0.0:
            raise ConfigError(
                expected="selector.samples of 1 or more and a fee of 0 or more",
                found=f"{self.samples} and {self.fee}",
                do="correct them",
            )

    @property
    def needs(self) -> Needs:
        """Samples and rewards; texts where answers are compared."""
        return Needs(samples=self.samples, rewards=True, texts=self.unanimous_first or self.vote,
                     candidates=self.order or None)  # fmt: skip

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "BestOfSelector":
        """All candidates, the best on training rows first, where no order is given."""
        return self if self.order else replace(self, order=strong_first(mean_rewards(training)))

    def settings(self, validation: ResponseTable) -> Sequence["BestOfSelector"]:
        """More samples, as far as they are recorded; where only one is, more candidates."""
        order = self.order or validation.pool.names
        most = min((len(of.get(name, ())) for of in validation.cells for name in order), default=1)
        if most > 1:
            return [replace(self, samples=k) for k in SAMPLES if k <= most]
        return [replace(self, order=order[: j + 1], samples=1) for j in range(len(order))]

    async def select(self, query: Query, ask: Ask) -> Selection:
        order = self.order or ask.pool.names
        refuse_unknown("best_of", order, ask.pool)
        found: list[Response] = []
        if self.unanimous_first:
            found += await ask(order[0], self.samples)
            answers = self.extract.answers(query, found)
            answer, share = agreement(answers)
            if answer is not None and share == 1.0:
                return Selection(found[answers.index(answer)], None, f"{order[0]} agrees with itself")
        rest = order[1:] if self.unanimous_first else order
        for part in await ask.together([SampleRequest(name, self.samples) for name in rest]) if rest else []:
            found += part
        if all(response.error is not None for response in found):
            others = [name for name in ask.pool.names if name not in order]
            return Selection(await first_response(ask, others), None, "every call failed")
        return self._best(query, found, await ask.reward(found, self.fee))

    def _best(self, query: Query, found: Sequence[Response], rewards: Floats) -> Selection:
        rewarded = [(r, float(x)) for r, x in zip(found, rewards, strict=True) if x == x and r.error is None]
        if not rewarded:
            first = next(response for response in found if response.error is None)
            return Selection(first, None, "no response has a reward")
        best, reward = max(rewarded, key=lambda pair: pair[1])  # the first of several
        if self.vote:
            answers = self.extract.answers(query, [response for response, _ in rewarded])
            sums: dict[str, float] = {}
            for answer, (_, one) in zip(answers, rewarded, strict=True):
                if answer is not None:
                    sums[answer] = sums.get(answer, 0.0) + one
            chosen = winner(sums)
            if chosen is not None:
                return Selection(rewarded[answers.index(chosen)][0], sums[chosen], "the largest sum of rewards")
        return Selection(best, reward, f"the best of {len(rewarded)} rewards")
