"""Write the report of a comparison of selectors as JSON and Markdown with plots, and a table for the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from zooter.data.files import write_atomically
from zooter.evaluation import router_plots, router_report, selector_plots

HEADING = ("selector", "quality", "95 % interval", "gap closed", "$/1,000", "samples")


def write(report: dict[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.md` and `plots/` into a folder, each file atomically.

    Args:
        report: of the comparison; every number is finite or None.
        folder: of the run.
    """
    plots = [
        router_plots.save_figure(figure, folder / "plots" / f"{name}.png")
        for name, figure in selector_plots.draw_plots(report).items()
    ]
    write_atomically(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(folder / "report.md", markdown(report, plots))


def table(report: dict[str, Any]) -> Table:
    """Format the comparison as a terminal table, the best first."""
    view = Table(title=f"{report['queries']:,} queries that no selector has seen", box=SIMPLE_HEAD, pad_edge=False)
    view.add_column(HEADING[0], no_wrap=True)
    for heading in HEADING[1:]:
        view.add_column(heading, justify="right", no_wrap=True)
    for row in selector_rows(report):
        view.add_row(*row)
    return view


def selector_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Format one row per selector under `HEADING`, the best quality first."""
    selectors = report["selectors"]
    order = sorted(selectors, key=lambda name: -float(selectors[name]["quality"]["mean"]))
    return [
        (
            name,
            router_report.format_number(selectors[name]["quality"]["mean"]),
            router_report.format_interval(selectors[name]["quality"]["ci"]),
            router_report.format_percent(selectors[name]["gap_closed"]["mean"]),
            format_dollars(selectors[name]["cost"]["mean"]),
            f"{selectors[name]['samples']:.2f}",
        )
        for name in order
    ]


def describe_selectors(report: dict[str, Any]) -> list[str]:
    """Compare each selector with the best single candidate, in one sentence each."""
    sentences = []
    for name, numbers in report["selectors"].items():
        if name not in ("best_single", "oracle"):
            over = numbers["over_best_single"]
            sentences.append(
                f"{name} is {router_report.describe_difference(over['ci'])} the best single candidate, "
                f"{report['best_single']} "
                f"({over['mean']:+.4f}, 95 % interval {router_report.format_interval(over['ci'])})."
            )
    return sentences


def markdown(report: dict[str, Any], plots: Sequence[Path]) -> str:
    """Format the whole report as a Markdown page; plots are linked relative to it."""
    lines = [
        "# Selectors compared",
        "",
        f"{report['queries']:,} test queries; what learns has learned from {report['trained_on']:,} others.",
        "",
        *router_report.markdown_table(HEADING, selector_rows(report)),
        "",
        *[f"- {router_report.escape_markdown(sentence)}" for sentence in describe_selectors(report)],
        *[f"- {router_report.escape_markdown(note)}." for note in report["notes"]],
        "",
        *[f"![{path.stem}](plots/{path.name})" for path in plots],
        "",
        *_curves_section(report),
        *_ledger_section(report),
        *_savings_section(report),
        *_agreement_section(report),
        *_tags_section(report),
        "## Settings",
        "",
        "```json",
        json.dumps(report["settings"], indent=2, ensure_ascii=False),
        "```",
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
            *(router_report.format_percent(value["mean"]) for value in curve["cpt"].values()),
        )
        for name, curve in report["curves"].items()
    ]
    zero_router = router_report.format_number(report["candidates"]["aiq"])
    return [
        "## Quality against price",
        "",
        *router_report.markdown_table(heading, body),
        "",
        f"- AIQ of the zero router, the best mixtures of single candidates: {zero_router}.",
        f"- APGR and CPT take {router_report.escape_markdown(report['weak'])} for weak and "
        f"{router_report.escape_markdown(report['strong'])} for strong.",
        "- Area: 100 budgets, 3 orders of the stream (Margin Sampling). AIQ: RouterBench. APGR, CPT: RouteLLM.",
        "",
    ]


def _ledger_section(report: dict[str, Any]) -> list[str]:
    names = list(report["candidates"]["singles"])
    heading = (
        "calls per query",
        *names,
        "tokens in",
        "tokens out",
        "rounds",
        "seconds",
        "fees $ / 1,000",
        "failed",
        "rank",
        "uplift",
        "arena",
    )
    body = [
        (
            name,
            *(f"{numbers['calls'][candidate]:.2f}" for candidate in names),
            *(f"{count:.0f}" for count in numbers["tokens"]),
            f"{numbers['rounds']:.2f}",
            f"{numbers['seconds']:.3f}",
            format_dollars(numbers["fees"]),
            str(numbers["failed"]),
            f"{numbers['mean_task_rank']:.2f}",
            f"{numbers['uplift']:.0%}",
            router_report.format_number(numbers["arena"]["mean"]),
        )
        for name, numbers in report["selectors"].items()
    ]
    return ["## Ledger", "", *router_report.markdown_table(heading, body), ""]


def _savings_section(report: dict[str, Any]) -> list[str]:
    if not report["savings"]:
        return []
    body = [
        (
            name,
            f"{saving['samples']:.2f}",
            f"{router_report.format_percent(saving['mean'])} "
            f"({router_report.format_interval(saving['ci'], percent=True)})",
        )
        for name, saving in report["savings"].items()
    ]
    heading = ("selector", "samples", "saved")
    return ["## Samples saved against self-consistency", "", *router_report.markdown_table(heading, body), ""]


def _agreement_section(report: dict[str, Any]) -> list[str]:
    if not report["agreement"]:
        return []
    heading = ("candidate", "queries", "Pearson of answer entropy and quality")
    body = [
        (name, str(series["queries"]), _format_with_interval(series["pearson"]))
        for name, series in report["agreement"].items()
    ]
    return ["## Agreement and accuracy", "", *router_report.markdown_table(heading, body), ""]


def _tags_section(report: dict[str, Any]) -> list[str]:
    names = list(report["selectors"])
    body = [
        (row["tag"], str(row["queries"]), *(router_report.format_number(row[name]) for name in names))
        for row in report["tags"]
    ]
    return ["## Tags", "", *router_report.markdown_table(("tag", "queries", *names), body), ""]


def format_dollars(cost: float | None) -> str:
    """Format US dollars per query as dollars per thousand queries; None becomes a dash."""
    return "–" if cost is None else f"{1000 * cost:.3g}"


def _format_with_interval(value: dict[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "–"
    return f"{value['mean']:.3f} ({router_report.format_interval(value['ci'])})"
