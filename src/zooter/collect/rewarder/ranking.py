"""Rank the responses to a query by a judge of pairs, in the role of LLM-Blender and Auto-J (ZOOTER §4.1).

Every pair of different responses to one query is judged in both orders, which is the "full" comparison of LLM-Blender's
PairRanker (Jiang et al. 2023, `max_logits`): a response's reward is its mean mark against all others. The marks
of one pair mirror each other at the tie, so that mean_j M_ij − mean_j M_ji orders responses in the same way.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar

import numpy as np

from zooter.collect.rewarder.judge import JudgeRewarder
from zooter.collect.rewarder.protocol import CallEstimate, answered_rows
from zooter.collect.spending import Spending
from zooter.data.component import component
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError


@component
class RankingRewarder:
    """Reward each response by how a judge compares it with all other responses to the same query.

    A reward depends on what else is compared: it is not stored, but the judge's replies are. m responses take m(m − 1)
    calls. Equal texts are a tie, and so is a response that has nothing to be compared with.

    Attributes:
        judge: with a rubric of {first} and {second}, such as that of judge_pairs.
    """

    judge: JudgeRewarder
    compares_responses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.judge.pairwise:
            raise ConfigError(
                expected="a judge of pairs in rewarder.judge", found="a rubric without {first}",
                do="take the rubric of conf/rewarder/judge_pairs.yaml",
            )  # fmt: skip

    def identity(self) -> Mapping[str, object]:
        """Return the judge's identity."""
        return {"rewarder": "ranking", "judge": dict(self.judge.identity())}

    @property
    def spent(self) -> Spending:
        """Return the judge's calls so far and their cost."""
        return self.judge.spent

    @property
    def max_failures(self) -> float:
        """Return the share of the judge's marks that may be missing."""
        return self.judge.max_failures

    def askable_rows(self, queries: Sequence[Query], responses: Sequence[Response]) -> list[int]:
        """Return the positions of the responses that did not fail."""
        return answered_rows(responses)

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """Compute rewards, each among all the responses to the same query that are given here.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.

        Returns:
            (n,) mean marks between the judge's bounds; NaN for a failed response, and for one all of whose comparisons
            have no mark.

        Raises:
            ResponderError, RewarderError: as of `JudgeRewarder.compare`.
        """
        pairs = self._pairs(queries, responses)
        marks = self._marks(queries, responses, pairs)
        rewards = np.full(len(responses), np.nan)
        for rows in self._groups(queries, responses):
            for i in rows:
                own = [
                    marks.get((queries[i].id, responses[i].text, responses[j].text), self.tie) for j in rows if j != i
                ]
                judged = [mark for mark in own if not np.isnan(mark)]
                rewards[i] = float(np.mean(judged)) if judged else np.nan if own else self.tie
        return rewards

    @property
    def tie(self) -> float:
        """Return the mark of two equally good responses."""
        return (self.judge.lowest + self.judge.highest) / 2

    def _marks(
        self, queries: Sequence[Query], responses: Sequence[Response], pairs: Sequence[tuple[int, int]]
    ) -> dict[tuple[str, str, str], float]:
        """Judge pairs of rows: (query id, text, other text) → how much better the first text is, in both directions."""
        marks = {}
        values = self.judge.compare(
            [queries[i] for i, _ in pairs], [responses[i].text for i, _ in pairs], [responses[j].text for _, j in pairs]
        )
        for (i, j), value in zip(pairs, values.tolist(), strict=True):
            marks[queries[i].id, responses[i].text, responses[j].text] = value
            marks[queries[i].id, responses[j].text, responses[i].text] = 2 * self.tie - value
        return marks

    def estimate_calls(self, queries: Sequence[Query], responses: Sequence[Response]) -> CallEstimate:
        """Estimate the calls that `reward` would make; nothing is asked.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses; a text of the right length stands for one that is not there yet.
        """
        pairs = self._pairs(queries, responses)
        return self.judge.estimate_pairs([(queries[i], responses[i].text, responses[j].text) for i, j in pairs])

    def _groups(self, queries: Sequence[Query], responses: Sequence[Response]) -> list[list[int]]:
        """Return the rows of each query's responses that did not fail."""
        groups: dict[str, list[int]] = {}
        for i in answered_rows(responses):
            groups.setdefault(queries[i].id, []).append(i)
        return list(groups.values())

    def _pairs(self, queries: Sequence[Query], responses: Sequence[Response]) -> list[tuple[int, int]]:
        """Return the pairs of rows to judge: one for each two different texts of a query."""
        pairs: list[tuple[int, int]] = []
        for rows in self._groups(queries, responses):
            first_of_text = {responses[i].text: i for i in reversed(rows)}
            pairs += combinations(sorted(first_of_text.values()), 2)
        return pairs
