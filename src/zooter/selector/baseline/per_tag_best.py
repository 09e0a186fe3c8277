"""What tags alone can tell: for each tag the candidate that was best on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, Rewards
from zooter.errors import ConfigError
from zooter.selector.ordering import rank_by_utility
from zooter.selector.protocol import Ask, Needs, Selection, first_response


@dataclass(frozen=True)
class PerTagBestSelector:
    """Asks the candidate with the best mean training reward on the query's tags.

    With several tags it is the mean over the tags; tags that no training query carries do not count, and without any
    other the best single candidate is asked. A candidate without a reward on a tag has its overall mean there.

    Attributes:
        expected: tag → (m,) mean rewards in the order of `candidates`; "" is of all training rows. From `fit`.
    """

    candidates: tuple[str, ...] = ()
    expected: Mapping[str, Sequence[float]] = field(default_factory=dict)
    needs: ClassVar[Needs] = Needs(tags=True)

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "PerTagBestSelector":
        """Means by tag on training rows."""
        rewards = training.rewards()
        overall = rewards.column_means()
        rows: dict[str, list[int]] = {}
        for i, query in enumerate(training.queries):
            for tag in query.tags:
                rows.setdefault(tag, []).append(i)
        found = {"": overall.tolist()}
        found |= {tag: _means(rewards, of, overall).tolist() for tag, of in rows.items()}
        return replace(self, candidates=rewards.candidates, expected=found)

    async def select(self, query: Query, ask: Ask) -> Selection:
        if not self.expected or set(self.candidates) != set(ask.pool.names):
            raise ConfigError(
                expected=f"a selector fitted on rewards of {list(ask.pool.names)}",
                found=f"one for {list(self.candidates)}",
                do="fit selector per_tag_best on recorded rewards of this pool",
            )
        known = [tag for tag in query.tags if tag in self.expected and tag] or [""]
        expected = np.mean([self.expected[tag] for tag in known], axis=0)
        order = rank_by_utility(self.candidates, expected, expected, 0.0)
        return Selection(
            await first_response(ask, order), float(np.nanmax(expected)), f"best on {', '.join(known) or 'all queries'}"
        )


def _means(rewards: Rewards, rows: list[int], overall: Floats) -> Floats:
    means = rewards.take(np.array(rows)).column_means()
    return np.where(np.isnan(means), overall, means)
