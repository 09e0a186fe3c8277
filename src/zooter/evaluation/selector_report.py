"""Write the report of a comparison of selectors as JSON and Markdown with plots, and a table for the terminal."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from zooter.data.files import write_atomically
from zooter.evaluation import plotting, router_report, selector_plots
from zooter.evaluation.report_text import (
    describe_lead,
    escape_markdown,
    format_interval,
    format_number,
    format_percent,
    format_ranks,
    groups_section,
    markdown_table,
    settings_section,
)

HEADING = ("selector", "quality", "95 % interval", "gap closed", "$/1,000", "samples")


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write `report.json`, `report.md` and `plots/` into a folder, each file atomically.

    Args:
        report: of the comparison; every number is finite or None.
        folder: of the run.

    Returns:
        The plots' files.
    """
    plots = [
        plotting.save_figure(figure, folder / "plots" / f"{name}.png")
        for name, figure in selector_plots.draw_plots(report).items()
    ]
    write_atomically(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(folder / "report.md", markdown(report, plots))
    return plots


def table(report: dict[str, Any]) -> Table:
    """Format the comparison as a terminal table, the best first."""
    view = Table(title=f"{report['queries']:,} queries that no selector has seen", box=SIMPLE_HEAD, pad_edge=False)
    first, *others = heading(report)
    view.add_column(first, overflow="fold")  # on a narrow terminal names wrap, numbers are never cut
    for name in others:
        view.add_column(name, justify="right", no_wrap=True)
    for row in selector_rows(report):
        view.add_row(*row)
    captions = [router_report.MEASURED_BY_TRUTH] if report["measured_by"] == "truth" else []
    if has_unknown_choices(report):
        captions.append(
            "recorded: queries on which all that the selector asked for is recorded; the others do not count"
        )
    view.caption = "\n".join(captions) or None
    return view


def has_unknown_choices(report: dict[str, Any]) -> bool:
    """Tell whether a selector's choice is unknown on some query, because a cell is missing."""
    return any(numbers["queries"] < report["queries"] for numbers in report["selectors"].values())


def heading(report: dict[str, Any]) -> tuple[str, ...]:
    """List the columns of `selector_rows`; "recorded" is among them only where some choice is unknown."""
    return (*HEADING, *(["recorded"] if has_unknown_choices(report) else []))


def selector_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Format one row per selector under `heading`, the best quality first and those without one last."""
    selectors, unknown = report["selectors"], has_unknown_choices(report)
    means = {name: numbers["quality"]["mean"] for name, numbers in selectors.items()}
    # With several samples, selectors that vote or rank can beat the best first response: it is named as what it is.
    titles = {"oracle": "oracle (1 response)"} if report["coverage"] else {}
    return [
        (
            titles.get(name, name),
            format_number(means[name]),
            format_interval(selectors[name]["quality"]["ci"]),
            format_percent(selectors[name]["gap_closed"]["mean"]),
            format_dollars(selectors[name]["cost"]["mean"]),
            format_count(selectors[name]["samples"]),
            *([f"{selectors[name]['queries'] / report['queries']:.0%}"] if unknown else []),
        )
        for name in sorted(selectors, key=lambda name: (means[name] is None, -(means[name] or 0.0)))
    ]


def describe_selectors(report: dict[str, Any]) -> list[str]:
    """Compare each selector with the best single candidate, in one sentence each."""
    best = f"the best single candidate, {report['best_single']}"
    sentences = [
        describe_lead(name, best, numbers["over_best_single"], report["queries"])
        for name, numbers in report["selectors"].items()
        if name not in ("best_single", "oracle")
    ]
    if report["coverage"]:
        most, bound = report["coverage"]["k"][-1], report["coverage"]["all"][-1]
        sentences.append(
            "The oracle returns the best of the candidates' first responses; a vote over several samples can beat it. "
            f"The bound that holds is coverage: the best of {most} samples of every candidate has {bound:.3f}."
        )
    return sentences


def markdown(report: dict[str, Any], plots: Sequence[Path]) -> str:
    """Format the whole report as a Markdown page; plots are linked relative to it.

    Args:
        report: as written to `report.json`.
        plots: PNG files in the folder `plots` beside the page.
    """
    lines = [
        "# Selectors compared",
        "",
        f"{report['queries']:,} test queries; what learns has learned from {report['trained_on']:,} others.",
        "",
        *markdown_table(heading(report), selector_rows(report)),
        "",
        f"- Measured by the {report['measured_by']}. The best single candidate is chosen by the mean "
        f"{report['measured_by']} on training queries; selectors learn from rewards.",
        *[f"- {escape_markdown(sentence)}" for sentence in describe_selectors(report)],
        *[f"- {escape_markdown(note)}." for note in report["notes"]],
        "",
        *[f"![{path.stem}](plots/{path.name})" for path in plots],
        "",
        *_curves_section(report),
        *_ledger_section(report),
        *_candidates_section(report),
        *_savings_section(report),
        *_coverage_section(report),
        *_agreement_section(report),
        *groups_section(report["groups"]),
        *_tags_section(report),
        *settings_section(report["settings"]),
    ]
    return "\n".join(lines) + "\n"


def _curves_section(report: dict[str, Any]) -> list[str]:
    if not report["curves"]:
        return []
    heading = ("selector", "area under budgets", "AIQ", "APGR", "CPT 20 %", "CPT 50 %", "CPT 80 %")
    body = [
        (
            name,
            *(_format_with_interval(curve[key]) for key in ("area", "aiq", "apgr")),
            *(format_percent(value["mean"]) for value in curve["cpt"].values()),
        )
        for name, curve in report["curves"].items()
    ]
    zero_router = format_number(report["candidates"]["aiq"])
    return [
        "## Quality against price",
        "",
        *markdown_table(heading, body),
        "",
        f"- AIQ of the zero router, the best mixtures of single candidates: {zero_router}.",
        f"- APGR and CPT take {escape_markdown(report['weak'])} for weak and "
        f"{escape_markdown(report['strong'])} for strong.",
        "- Area: 100 budgets between the prices of the selector's own candidates, 3 orders of the stream (Margin "
        "Sampling). AIQ: RouterBench. APGR, CPT: RouteLLM.",
        "",
    ]


def _ledger_section(report: dict[str, Any]) -> list[str]:
    """Format what selectors spend; a column's heading and its cells stand in one place."""
    names = list(report["candidates"]["singles"])
    rows = [
        {
            "calls per query": name,
            **{candidate: format_count(numbers["calls"][candidate]) for candidate in names},
            "tokens in": format_count(numbers["tokens"][0], 0),
            "tokens out": format_count(numbers["tokens"][1], 0),
            "rounds": format_count(numbers["rounds"]),
            "seconds": format_count(numbers["seconds"], 3),
            "fees $ / 1,000": format_dollars(numbers["fees"]),
            "failed": str(numbers["failed"]),
            "rank": format_count(numbers["mean_task_rank"]),
            "uplift": "–" if numbers["uplift"] is None else f"{numbers['uplift']:.0%}",
            "arena": format_number(numbers["arena"]["mean"]),
        }
        for name, numbers in report["selectors"].items()
    ]
    body = [tuple(row.values()) for row in rows]
    return ["## Ledger", "", *markdown_table(tuple(rows[0]), body), ""]


def _candidates_section(report: dict[str, Any]) -> list[str]:
    columns = ("candidate", f"mean {report['measured_by']}", "$ / 1,000", "mean task rank", "% uplift")
    body = [
        (
            name,
            format_number(single["quality"]),
            format_dollars(single["cost"]),
            *format_ranks(single),
        )
        for name, single in report["candidates"]["singles"].items()
    ]
    return ["## Candidates", "", *markdown_table(columns, body), ""]


def _coverage_section(report: dict[str, Any]) -> list[str]:
    coverage = report["coverage"]
    if not coverage:
        return []
    series = {"all candidates": coverage["all"], **coverage["candidates"]}
    body = [(name, *map(format_number, values)) for name, values in series.items()]
    columns = ("best of k samples", *(f"k = {k}" for k in coverage["k"]))
    return [
        "## Coverage",
        "",
        *markdown_table(columns, body),
        "",
        "- Expected best of k samples of each candidate (pass@k): no selector that returns one of them can be better.",
        "",
    ]


def _savings_section(report: dict[str, Any]) -> list[str]:
    if not report["savings"]:
        return []
    body = [
        (
            name,
            format_count(saving["samples"]),
            f"{format_percent(saving['mean'])} ({format_interval(saving['ci'], percent=True)})",
        )
        for name, saving in report["savings"].items()
    ]
    heading = ("selector", "samples", "saved")
    return ["## Samples saved against self-consistency", "", *markdown_table(heading, body), ""]


def _agreement_section(report: dict[str, Any]) -> list[str]:
    if not report["agreement"]:
        return []
    heading = ("candidate", "queries", "answers", "Pearson of answer entropy and quality")
    body = [
        (name, str(series["queries"]), series["answers"], _format_with_interval(series["pearson"]))
        for name, series in report["agreement"].items()
    ]
    return ["## Agreement and accuracy", "", *markdown_table(heading, body), ""]


def _tags_section(report: dict[str, Any]) -> list[str]:
    return ["## Tags", "", *markdown_table(tag_heading(report), tag_rows(report)), ""]


def tag_heading(report: Mapping[str, Any]) -> tuple[str, ...]:
    """List the columns of `tag_rows`."""
    return ("tag", "queries", *report["selectors"])


def tag_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Format one row per tag, with the quality of each selector in it."""
    names = list(report["selectors"])
    return [(row["tag"], str(row["queries"]), *(format_number(row[name]) for name in names)) for row in report["tags"]]


def format_dollars(cost: float | None) -> str:
    """Format US dollars per query as dollars per thousand queries; None becomes a dash."""
    return "–" if cost is None else f"{1000 * cost:.3g}"


def format_count(value: float | None, decimals: int = 2) -> str:
    """Format a mean number of things; None becomes a dash.

    Args:
        value: None where it is undefined.
        decimals: digits after the point.
    """
    return "–" if value is None else f"{value:.{decimals}f}"


def _format_with_interval(value: dict[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "–"
    return f"{value['mean']:.3f} ({format_interval(value['ci'])})"
