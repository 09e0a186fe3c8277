"""Format the sentences, Markdown and numbers that reports are made of."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from zooter.evaluation import tag_groups


def describe_lead(name: str, other: str, over: Mapping[str, Any], queries: int) -> str:
    """Compare one method with another in a sentence.

    Args:
        name: the method.
        other: the one that it is compared with.
        over: mean lead over it with its interval, and the number of queries on which both choices are recorded; the
            others are left out.
        queries: number of all queries.
    """
    if over["mean"] is None:
        return f"{name} cannot be compared with {other}: on no query are both choices recorded."
    is_whole = over["queries"] == queries
    on = "" if is_whole else f" on the {over['queries']:,} queries where both choices are recorded"
    return (
        f"{name} is {describe_difference(over['ci'])} {other}{on} (difference {over['mean']:+.4f}, "
        f"95 % interval {format_interval(over['ci'])})."
    )


def describe_difference(ci: list[float | None]) -> str:
    """Describe a difference by its interval.

    Args:
        ci: both ends; None where undefined.

    Returns:
        "better than" or "worse than" only if the interval excludes 0.
    """
    low, high = ci
    if low is not None and low > 0:
        return "better than"
    return "worse than" if high is not None and high < 0 else "not distinguishable from"


def markdown_table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Format a Markdown table with escaped cells; all columns but the first are right-aligned."""
    escaped = [[escape_markdown(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in [heading, rule, *escaped]]


def escape_markdown(text: str) -> str:
    """Escape text so that Markdown shows it as it is, on one line: names of candidates and tags may be anything."""
    return re.sub(r"([\\`*<|\[\]])", r"\\\1", " ".join(text.split()))


def format_number(value: float | None) -> str:
    """Format with three decimals; None becomes a dash."""
    return "–" if value is None else f"{value:.3f}"


def format_ranks(numbers: dict[str, Any]) -> tuple[str, str]:
    """Format `mean_task_rank` and `uplift`; None becomes nothing."""
    rank, uplift = numbers["mean_task_rank"], numbers["uplift"]
    return "" if rank is None else f"{rank:.2f}", "" if uplift is None else f"{uplift:.0%}"


def format_percent(value: float | None) -> str:
    """Format as a percentage with one decimal; None becomes a dash."""
    return "–" if value is None else f"{value:.1%}"


def format_interval(ci: list[float | None], percent: bool = False) -> str:
    """Format both ends of an interval, as numbers or as percentages; None becomes a dash."""
    return "…".join("–" if end is None else f"{end:.1%}" if percent else f"{end:.3f}" for end in ci)


def groups_section(groups: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> list[str]:
    """Format means and mean task ranks by group of tags as a Markdown section; nothing without groups.

    Args:
        groups: of `tag_groups.summarise_groups`.
        titles: method → its title; None for the names.
    """
    if not groups:
        return []
    headings = tuple(escape_markdown(heading) for heading in tag_groups.group_headings(groups))
    return ["## Groups of tags", "", *markdown_table(headings, tag_groups.group_rows(groups, titles)), ""]


def settings_section(settings: Mapping[str, Any]) -> list[str]:
    """Format the settings of a run as a Markdown section."""
    return ["## Settings", "", "```json", json.dumps(settings, indent=2, ensure_ascii=False), "```"]


def replace_non_finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None in nested lists and dictionaries."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
