"""Write the report of a run as JSON and Markdown, a table for the terminal, and the README of an export."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from zooter.data.files import write_atomically
from zooter.evaluation import tag_groups
from zooter.router.choices import describe_choices

TITLES = {
    "routed": "routed (ours)",
    "random": "random",
    "best_single": "best single model",
    "per_tag_best": "best per tag (told)",
    "knn": "kNN regression",
    "ranking": "reward-model ranking",
    "oracle": "oracle",
}
MEASURED_BY_TRUTH = "measured by the truth, as best single is chosen on training queries; what learns has the rewards"


def write(report: dict[str, Any], folder: Path, plots: list[Path]) -> None:
    """Write `report.json` and `report.md` atomically.

    Args:
        report: with the sections `test` (of `router_metrics.summarise`), `data` and `settings`; values that are not
            finite become null in JSON.
        folder: of the run.
        plots: files to show in the Markdown, in `folder / "plots"`.
    """
    write_atomically(
        folder / "report.json", json.dumps(replace_non_finite(report), indent=2, ensure_ascii=False) + "\n"
    )
    write_atomically(folder / "report.md", markdown(report, plots))


def table(report: dict[str, Any]) -> Table:
    """Format the comparison of methods as a terminal table, the best first."""
    test = report["test"]
    view = Table(title=f"{test['queries']:,} queries that training never saw", box=SIMPLE_HEAD, pad_edge=False)
    view.add_column("method", overflow="fold")  # on a narrow terminal names wrap, numbers are never cut
    for heading in (test["measured_by"], "95 % interval", "gap closed", "rank", "uplift"):
        view.add_column(heading, justify="right", no_wrap=True)
    for row in method_rows(test):
        view.add_row(*row, style="bold" if row[0] == TITLES["routed"] else "")
    if test["measured_by"] == "truth":
        view.caption = MEASURED_BY_TRUTH
    return view


def markdown(report: dict[str, Any], plots: list[Path]) -> str:
    """Format the whole report as a Markdown page; plots are linked relative to it."""
    test = report["test"]
    heading = ("method", f"mean {test['measured_by']}", "95 % interval", "gap closed", "mean task rank", "% uplift")
    tag_heading = ("tag", "queries", "routed", "best single", "best per tag", "oracle")
    tag_rows = [
        (
            row["tag"],
            str(row["queries"]),
            *(format_number(row[name]) for name in ("routed", "best_single", "per_tag_best", "oracle")),
        )
        for row in test["tags"]
    ]
    candidates = [
        (name, format_number(row["reward"]), *format_ranks(row), f"{row['share']:.1%}")
        for name, row in test["candidates"].items()
    ]
    lines = [
        "# Report",
        "",
        escape_markdown(describe_result(test)),
        "",
        *markdown_table((*heading, "chosen by"), method_rows(test, chosen_by=True)),
        "",
        *notes(report),
        *[f"- {name}: {value}." for name, value in describe_choices(report.get("chosen", {}))],
        "",
        *[f"![{plot.stem}](plots/{plot.name})" for plot in plots],
        "",
        *(
            [f"[Selectors compared](compared/report.md): {', '.join(report['compared']['selectors'])}.", ""]
            if "compared" in report
            else []
        ),
        "## Candidates",
        "",
        *markdown_table(
            ("candidate", f"mean {test['measured_by']}", "mean task rank", "% uplift", "share chosen"), candidates
        ),
        "",
        *groups_section(test["groups"], TITLES),
        "## Tags",
        "",
        *markdown_table(tag_heading, tag_rows),
        "",
        "## Settings",
        "",
        "```json",
        json.dumps(report["settings"], indent=2, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"


def describe_result(test: dict[str, Any]) -> str:
    """Compare the router with the best single model and with kNN, in one sentence each.

    Queries on which the first choice of either has no reward are left out.

    Args:
        test: the report's `test` section.
    """
    sentences = []
    for key, name in (("over_best_single", f"the best single model, {test['best_single_name']}"), ("over_knn", "kNN")):
        over = test["known"][key]
        if over["mean"] is None:
            sentences.append(f"Routing cannot be compared with {name}: on no query are both choices recorded.")
            continue
        is_whole = over["queries"] == test["queries"]
        on = "" if is_whole else f" on the {over['queries']:,} queries where both choices are recorded"
        sentences.append(
            f"Routing is {describe_difference(over['ci'])} {name}{on} (difference {over['mean']:+.4f}, "
            f"95 % interval {format_interval(over['ci'])})."
        )
    return " ".join(sentences)


def model_card(report: Mapping[str, Any]) -> str:
    """Write the README of an export (a model card) from a run's report."""
    test, settings, data = report["test"], report["settings"], report["data"]
    interval = format_interval(test["gap_closed_ci"], percent=True)
    candidates = "\n".join(f"- {escape_markdown(name)}" for name in test["candidates"])
    chosen = "".join(f"\n\n{name}: {value}." for name, value in describe_choices(report.get("chosen", {})))
    return f"""# Router

Chooses one of {len(test["candidates"])} language models for a query, from the text of the query alone.

{candidates}

Made by distilling smoothed rewards (ZOOTER, arXiv 2311.08692) of {data["queries"]:,} queries. Measured on
{test["queries"]:,} queries that training never saw: mean reward {format_number(test["routed"])}, best single model
{format_number(test["best_single"])} ({escape_markdown(test["best_single_name"])}), oracle
{format_number(test["oracle"])}; share of the gap closed {format_percent(test["gap_closed"])}, 95 % interval {interval}.

```python
from zooter.router.loading import load_router

choices = load_router("this folder").route(["a query"])
choices.chosen_candidates(), choices.probs
```

Labels: {json.dumps(settings["label"], ensure_ascii=False)}{chosen}

It has learned from the queries of one table. On other queries, other languages or other versions of these models it can
be worse than always taking the best single model; compare `reference.json` with your traffic, and train again.
"""


def replace_non_finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None in nested lists and dictionaries."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def method_rows(test: dict[str, Any], chosen_by: bool = False) -> list[tuple[str, ...]]:
    """Format one row per method, the best first.

    Args:
        test: the report's `test` section.
        chosen_by: adds by what each method chooses.
    """
    rows: list[tuple[str, ...]] = []
    for name in sorted(test["intervals"], key=lambda name: -float(test[name])):
        ranks = {key: test[key].get(name) for key in ("mean_task_rank", "uplift")}
        rows.append(
            (
                TITLES.get(name, name),
                format_number(test[name]),
                format_interval(test["intervals"][name]),
                format_percent(test["gap_closed_by"][name]),
                *format_ranks(ranks),
                *([test["chosen_by"][name]] if chosen_by else []),
            )
        )
    return rows


def notes(report: Mapping[str, Any]) -> list[str]:
    """Explain the numbers of a report, as points of a Markdown list."""
    test, data = report["test"], report["data"]
    neighbours = " or ".join(map(str, sorted(set(test["knn_neighbours"]))))
    return [
        f"- Share of the best-single→oracle gap closed: {format_percent(test['gap_closed'])}, 95 % interval "
        f"{format_interval(test['gap_closed_ci'], percent=True)} (paired bootstrap over queries).",
        *_win_rates(test),
        f"- Chosen by: what a method learns from, on training queries; the oracle, on the test query itself. All are "
        f"measured by the {test['measured_by']}. Best per tag has the tags of test queries.",
        f"- kNN averages the rewards of {neighbours} neighbours, chosen on training queries.",
        "- Mean task rank: 1 + how many single candidates have a higher mean reward, averaged over tags; ties share "
        "the better rank. % uplift: share of tags in which no single candidate is better.",
        f"- Calibration error {test['calibration']['error']:.3f} ({test['calibration']['error_before']:.3f} before "
        "temperature scaling): mean distance between a candidate's probability and how often it is the best (ties "
        "shared), in bins of equal count.",
        *_entropy_note(test["entropy"]),
        f"- {data['queries']:,} queries, {data['dropped']} dropped for want of any reward, {data['missing_cells']:,} "
        f"of {data['cells']:,} cells missing. A method whose choice has no reward takes its next choice that has; the "
        f"router's first choice has one on {test['known']['queries']['routed']:,} of {test['queries']:,} test queries.",
    ]


def _entropy_note(entropy: Mapping[str, Any] | None) -> list[str]:
    if entropy is None:
        return []
    ranking, routed = (format_number(entropy["spearman"][name]) for name in ("ranking", "routed"))
    return [
        f"- Entropy of a query's rewards against the truth of reward-model ranking's pick: Spearman {ranking}; against "
        f"that of the routed response: {routed} (ZOOTER, figure 3)."
    ]


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


def _win_rates(test: Mapping[str, Any]) -> list[str]:
    """Name each method's win rate where rewards are of battles; older reports have none."""
    rates = test.get("win_rate") or {}
    shown = ", ".join(f"{TITLES.get(name, name)} {rate:.1%}" for name, rate in rates.items())
    return (
        [f"- Rewards are of battles. Win rate, how often the winner is chosen (ties half): {shown}."] if rates else []
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
