"""Mean rewards per tag, which are ZOOTER's tasks, and the two ranks over them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zooter.data.types import Floats, Rewards, Tags
from zooter.metrics import routing


def by_tag(of_method: Mapping[str, Floats], test: Rewards, tags: Tags) -> dict[str, Any]:
    """Mean qualities per tag, and ZOOTER's two ranks over tags; without tags, all queries are one tag.

    Args:
        of_method: name → (n,) what it got.
        test: (n, m) the single candidates.
        tags: (n, t).
    """
    n = len(test.values)
    tagged = tags.membership.nnz > 0
    names = tags.names if tagged else ("all",)
    membership = tags.membership if tagged else np.ones((n, 1))
    counts = np.asarray(membership.sum(axis=0)).ravel()
    present = np.flatnonzero(counts)
    totals = np.asarray(membership.T @ np.nan_to_num(test.values))
    cells = np.asarray(membership.T @ test.observed.astype(float))
    of_candidates = np.divide(totals, cells, out=np.full(totals.shape, np.nan), where=cells > 0)[present]
    means = {
        name: np.asarray(membership.T @ values).ravel()[present] / counts[present] for name, values in of_method.items()
    }
    rows = [
        {
            "tag": names[j],
            "queries": int(counts[j]),
            **{name: finite_or_none(values[i]) for name, values in means.items()},
            "candidates": [finite_or_none(x) for x in of_candidates[i]],
        }
        for i, j in enumerate(present)
    ]
    ranks = {name: routing.task_ranks(values, of_candidates) for name, values in means.items()}
    return {
        "tags": sorted(rows, key=lambda row: -int(row["queries"])),
        "mean_task_rank": {name: float(of.mean()) for name, of in ranks.items()},
        "uplift": {name: routing.uplift(values, of_candidates) for name, values in means.items()},
    }


def finite_or_none(value: Any) -> float | None:
    """A float for JSON, which has no NaN: None where the number is not defined."""
    return None if np.isnan(value) else float(value)
