"""Make a reward table from arrays in memory, in place of a file."""

from collections.abc import Sequence

import numpy as np

from zooter.data.pool import Pool
from zooter.data.reward_table import RewardTable, Samples
from zooter.data.types import Floats, Rewards, Tags, query_id
from zooter.errors import RecordsError


def table_from_arrays(
    queries: Sequence[str],
    rewards: Floats,
    candidates: Sequence[str],
    tags: Sequence[Sequence[str]] | None = None,
) -> RewardTable:
    """Make a table of one row per distinct query; the rewards of repeated queries are averaged.

    Args:
        queries: n texts.
        rewards: (n, m), NaN where there is none.
        candidates: the m names, in the order of the columns; the table has them in alphabetical order.
        tags: the tags of each of the n texts; None gives no tags.

    Raises:
        RecordsError: a text is empty, a reward is infinite, a name repeats, or fewer than two candidates have rewards.
    """
    _refuse_unusable(queries, rewards, candidates)
    rows: dict[str, int] = {}
    query_rows = np.array([rows.setdefault(text, len(rows)) for text in queries])
    order = np.argsort(np.asarray(candidates))
    values = rewards[:, order]
    observed = ~np.isnan(values)
    sums, counts = (np.zeros((len(rows), len(candidates))) for _ in range(2))
    np.add.at(sums, query_rows, np.nan_to_num(values))
    np.add.at(counts, query_rows, observed)
    means = np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)
    has_reward = np.asarray((counts > 0).any(axis=1))
    row_tags: list[list[str]] = [[] for _ in rows]
    for row, names in zip(query_rows, tags or (), strict=tags is not None):
        row_tags[row] = list(dict.fromkeys([*row_tags[row], *names]))
    texts = [text for text, row in rows.items() if has_reward[row]]
    row, column = np.nonzero(observed)
    return RewardTable(
        queries=texts,
        query_ids=[query_id(text) for text in texts],
        pool=Pool.from_names([candidates[j] for j in order]),
        rewards=Rewards(means[has_reward], tuple(candidates[j] for j in order)),
        truth=None,
        tags=Tags.from_rows([names for names, keep in zip(row_tags, has_reward, strict=True) if keep]),
        samples=Samples(
            (np.cumsum(has_reward) - 1)[query_rows[row]],
            column,
            np.zeros(len(row), dtype=np.int64),
            values[row, column],
        ),
        dropped=int((~has_reward).sum()),
    )


def _refuse_unusable(queries: Sequence[str], rewards: Floats, candidates: Sequence[str]) -> None:
    empty = [i for i, text in enumerate(queries) if not text.strip()]
    if empty:
        raise RecordsError(expected="queries with text", found=f"an empty one at row {empty[0]}", do="remove it")
    if len(set(candidates)) < len(candidates):
        raise RecordsError(
            expected="a name for each candidate", found=f"{list(candidates)}", do="rename the repeated one"
        )
    infinite = np.argwhere(np.isinf(rewards))
    if len(infinite):
        row, column = infinite[0]
        raise RecordsError(
            expected="finite rewards",
            found=f"{rewards[row, column]} at row {row} for {candidates[column]}",
            do="write NaN where there is no reward",
        )
    if (~np.isnan(rewards)).any(axis=0).sum() < 2:
        raise RecordsError(
            expected="two or more candidates with rewards",
            found=f"{int((~np.isnan(rewards)).any(axis=0).sum())}",
            do="add the rewards of others",
        )
