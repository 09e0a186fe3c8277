"""Write the report of a run as JSON and Markdown, a table for the terminal, and the README of an export."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from zooter.data.files import write_atomically
from zooter.evaluation.report_text import (
    describe_lead,
    escape_markdown,
    format_interval,
    format_number,
    format_percent,
    format_ranks,
    groups_section,
    markdown_table,
    replace_non_finite,
    settings_section,
)
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
METHOD_HEADING = ("95 % interval", "gap closed", "mean task rank", "% uplift", "chosen by")
TAG_HEADING = ("tag", "queries", "routed", "best single", "best per tag", "oracle")
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
    lines = [
        "# Report",
        "",
        escape_markdown(describe_result(test)),
        "",
        *markdown_table(("method", f"mean {test['measured_by']}", *METHOD_HEADING), method_rows(test, chosen_by=True)),
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
        *markdown_table(candidate_heading(test), candidate_rows(test)),
        "",
        *groups_section(test["groups"], TITLES),
        "## Tags",
        "",
        *markdown_table(TAG_HEADING, tag_rows(test)),
        "",
        *settings_section(report["settings"]),
    ]
    return "\n".join(lines) + "\n"


def tag_rows(test: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Format one row per tag under `TAG_HEADING`."""
    names = ("routed", "best_single", "per_tag_best", "oracle")
    return [(row["tag"], str(row["queries"]), *(format_number(row[name]) for name in names)) for row in test["tags"]]


def candidate_heading(test: Mapping[str, Any]) -> tuple[str, ...]:
    """List the columns of `candidate_rows`."""
    return ("candidate", f"mean {test['measured_by']}", "mean task rank", "% uplift", "share chosen")


def candidate_rows(test: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Format one row per candidate under `candidate_heading`."""
    return [
        (name, format_number(row["reward"]), *format_ranks(row), f"{row['share']:.1%}")
        for name, row in test["candidates"].items()
    ]


def describe_result(test: dict[str, Any]) -> str:
    """Compare the router with the best single model and with kNN, in one sentence each.

    Args:
        test: the report's `test` section.
    """
    best, leads = f"the best single model, {test['best_single_name']}", test["known"]
    sentences = [
        describe_lead("Routing", best, leads["over_best_single"], test["queries"]),
        describe_lead("Routing", "kNN", leads["over_knn"], test["queries"]),
    ]
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


def _win_rates(test: Mapping[str, Any]) -> list[str]:
    """Name each method's win rate where rewards are of battles; older reports have none."""
    if not test.get("win_rate"):
        return []
    rates = ", ".join(f"{TITLES.get(name, name)} {rate:.1%}" for name, rate in test["win_rate"].items())
    return [f"- Rewards are of battles. Win rate, how often the winner is chosen (ties half): {rates}."]
