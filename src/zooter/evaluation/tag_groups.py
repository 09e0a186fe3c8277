"""Summarise tags by group, as ZOOTER's table 1 groups its 26 subsets into four benchmarks.

A group's mean is the mean over its tags, each tag counting alike; task ranks and uplift are those of
`zooter.metrics.per_tag`, over the group's tags alone.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from zooter.data.types import Floats
from zooter.errors import ConfigError
from zooter.metrics import routing
from zooter.metrics.per_tag import finite_or_none


def check_groups(groups: Mapping[str, str], tags: Collection[str]) -> None:
    """Refuse groups of tags that the table does not have.

    Args:
        groups: tag → group.
        tags: of the table.

    Raises:
        ConfigError: a tag is not in the table.
    """
    unknown = sorted(set(groups) - set(tags))
    if unknown:
        close = get_close_matches(unknown[0], tags, 1)
        raise ConfigError(
            expected="tags of the table in groups={tag: group, …}",
            found=f"{unknown[:5]}, which no query has",
            do=f"did you mean {close[0]!r}?" if close else "correct them, or leave groups out",
        )


def summarise_groups(
    rows: Sequence[Mapping[str, Any]], groups: Mapping[str, str], methods: Sequence[str], candidates: Sequence[str]
) -> dict[str, Any]:
    """Summarise methods and single candidates over each group of tags: the columns of ZOOTER's table 1.

    Args:
        rows: "tags" of `per_tag_report`.
        groups: tag → group; a tag without a group counts in none.
        methods: names of the methods in the rows.
        candidates: names of the candidates, in the order of the rows.

    Returns:
        Group → {"tags": their number, "methods" and "candidates": name → mean, mean_task_rank and uplift}, in the order
        in which the map names them; a group without a tag in the rows is left out.
    """
    summary = {}
    for group in dict.fromkeys(groups.values()):
        members = [row for row in rows if groups.get(row["tag"]) == group]
        if not members:
            continue
        means = np.array([row["candidates"] for row in members], dtype=float)
        columns = {name: np.array([row[name] for row in members], dtype=float) for name in methods}
        summary[group] = {
            "tags": len(members),
            "methods": {name: _summarise(column, means) for name, column in columns.items()},
            "candidates": {name: _summarise(means[:, j], means) for j, name in enumerate(candidates)},
        }
    return summary


def _summarise(column: Floats, candidate_means: Floats) -> dict[str, float | None]:
    """Average one method's means (t,) over tags, and rank them among the candidates' (t, m)."""
    measured = ~np.isnan(column)
    if not measured.any():
        return {"mean": None, "mean_task_rank": None, "uplift": None}
    ranks = routing.task_ranks(column[measured], candidate_means[measured])
    return {
        "mean": finite_or_none(column[measured].mean()),
        "mean_task_rank": float(ranks.mean()),
        "uplift": float((ranks == 1).mean()),
    }


def group_headings(groups: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the headings of `group_rows`: for each group its mean and its mean task rank.

    Args:
        groups: of `summarise_groups`.
    """
    pairs = [(f"{name} ({group['tags']})", "rank") for name, group in groups.items()]
    return ("", *(heading for pair in pairs for heading in pair))


def group_rows(groups: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> list[tuple[str, ...]]:
    """Format one row per method and then per candidate, with mean and mean task rank in each group.

    Args:
        groups: of `summarise_groups`.
        titles: method → its title; None for the names.
    """
    first: Mapping[str, Any] = next(iter(groups.values()), {"methods": {}, "candidates": {}})
    return [
        (
            (titles or {}).get(name, name) if kind == "methods" else name,
            *(cell for group in groups.values() for cell in _cells(group[kind][name])),
        )
        for kind in ("methods", "candidates")
        for name in first[kind]
    ]


def _cells(numbers: Mapping[str, float | None]) -> tuple[str, str]:
    mean, rank = numbers["mean"], numbers["mean_task_rank"]
    return "–" if mean is None else f"{mean:.3f}", "–" if rank is None else f"{rank:.2f}"
