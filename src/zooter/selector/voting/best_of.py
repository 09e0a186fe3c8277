"""Return the response with the best reward: of all candidates, or of several samples.

- Reward-model ranking (ZOOTER §3.1) is `samples: 1` over all candidates.
- Best-of-n is one candidate in `order` with n samples.
- ModelSwitch with a reward model (arXiv 2504.00762, `RewardModel` of its code) is `unanimous_first` over two: when the
  first one agrees with itself no other is asked, otherwise both models' samples are pooled and rewarded.
"""

from collections.abc import Sequence
from dataclasses import field, replace

from pydantic import NonNegativeFloat, PositiveInt

from zooter.data.component import TupleField, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Response
from zooter.selector.ordering import mean_rewards, rank_by_mean_reward
from zooter.selector.protocol import Ask, Needs, SampleRequest, Selection, check_candidates, first_response
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.consistency import SAMPLE_COUNTS
from zooter.selector.voting.vote import agreement, best_answer


@component
class BestOfSelector:
    """Ask the candidates, have their responses rewarded, and return the best.

    Attributes:
        order: the candidates; empty is all of them. The earlier one wins a tie.
        samples: of each candidate.
        unanimous_first: the first candidate is asked alone, and its answer taken when all its samples agree.
        vote: add up the rewards of responses with the same answer, as in the authors' RM_Vote; for rewards of 0 or
            more.
        fee: US dollars that the reward model costs per response.
        extract: extracts answers, for `unanimous_first` and `vote`.
    """

    order: TupleField[str] = ()
    samples: PositiveInt = 1
    unanimous_first: bool = False
    vote: bool = False
    fee: NonNegativeFloat = 0.0
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)

    @property
    def needs(self) -> Needs:
        """Require samples and rewards; texts where answers are compared."""
        has_answers = self.unanimous_first or self.vote
        return Needs(samples=self.samples, rewards=True, texts=has_answers, candidates=self.order or None)

    async def select(self, query: Query, ask: Ask) -> Selection:
        """Ask the candidates side by side and return the response with the best reward.

        Raises:
            ConfigError: the order names candidates that are not in the pool.
        """
        order = self.order or ask.pool.names
        check_candidates("best_of", order, ask.pool)
        responses: list[Response] = []
        if self.unanimous_first:
            responses += await ask(order[0], self.samples)
            answers = self.extract.answers(query, responses)
            answer, fraction = agreement(answers)
            if answer is not None and fraction == 1.0:
                return Selection(responses[answers.index(answer)], None, f"{order[0]} agrees with itself")
        names = order[1:] if self.unanimous_first else order
        if names:
            for part in await ask.ask_many([SampleRequest(name, self.samples) for name in names]):
                responses += part
        if all(response.error is not None for response in responses):
            unasked = [name for name in ask.pool.names if name not in order]
            return Selection(await first_response(ask, unasked), None, "every call failed")
        return self._best(query, responses, await ask.reward(responses, self.fee))

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "BestOfSelector":
        """Take all candidates, the best on training rows first, where no order is set.

        Args:
            training: rows with rewards.
            validation: not used.
        """
        return self if self.order else replace(self, order=rank_by_mean_reward(mean_rewards(training)))

    def operating_points(self, validation: ResponseTable) -> Sequence["BestOfSelector"]:
        """Return copies with more and more samples, as far as they are recorded; with one, more and more candidates.

        Args:
            validation: gives the number of recorded samples.
        """
        order = self.order or validation.pool.names
        recorded = min((len(cells.get(name, ())) for cells in validation.cells for name in order), default=1)
        if recorded > 1:
            return [replace(self, samples=k) for k in SAMPLE_COUNTS if k <= recorded]
        return [replace(self, order=order[: j + 1], samples=1) for j in range(len(order))]

    def _best(self, query: Query, responses: Sequence[Response], rewards: Floats) -> Selection:
        """Return the response with the best reward, or of the answer with the largest sum of rewards."""
        rewarded = [
            (response, float(reward))
            for response, reward in zip(responses, rewards, strict=True)
            if reward == reward and response.error is None
        ]
        if not rewarded:
            first = next(response for response in responses if response.error is None)
            return Selection(first, None, "no response has a reward")
        best, best_reward = max(rewarded, key=lambda pair: pair[1])  # the first of several
        if self.vote:
            answers = self.extract.answers(query, [response for response, _ in rewarded])
            sums: dict[str, float] = {}
            for answer, (_, reward) in zip(answers, rewarded, strict=True):
                if answer is not None:
                    sums[answer] = sums.get(answer, 0.0) + reward
            chosen = best_answer(sums)
            if chosen is not None:
                return Selection(rewarded[answers.index(chosen)][0], sums[chosen], "the largest sum of rewards")
        return Selection(best, best_reward, f"the best of {len(rewarded)} rewards")
