"""The report of a comparison: JSON for programs, Markdown with pictures for a browser, a table for the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from zooter.data.files import write_atomically
from zooter.evaluation import router_plots, router_report, selector_plots

HEADING = ("selector", "quality", "95 % interval", "gap closed", "$/1,000", "samples")


def write(found: dict[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.md` and `plots/`, each file whole or not at all."""
    plots = [
        router_plots.save_figure(figure, folder / "plots" / f"{name}.png")
        for name, figure in selector_plots.selector_plots(found).items()
    ]
    write_atomically(folder / "report.json", json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(folder / "report.md", markdown(found, plots))


def table(found: dict[str, Any]) -> Table:
    """The comparison as a terminal table, the best first."""
    title = f"{found['queries']:,} queries that no selector has seen"
    shown = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column(HEADING[0], no_wrap=True)
    for heading in HEADING[1:]:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows(found):
        shown.add_row(*row)
    return shown


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row of texts per selector, the best quality first."""
    selectors = found["selectors"]
    order = sorted(selectors, key=lambda name: -float(selectors[name]["quality"]["mean"]))
    return [
        (
            name,
            router_report.format_number(selectors[name]["quality"]["mean"]),
            router_report.format_interval(selectors[name]["quality"]["ci"]),
            router_report.format_percent(selectors[name]["gap_closed"]["mean"]),
            dollars(selectors[name]["cost"]["mean"]),
            f"{selectors[name]['samples']:.2f}",
        )
        for name in order
    ]


def sentences(found: dict[str, Any]) -> list[str]:
    """Each selector against the best single candidate; nothing is called better when the interval covers 0."""
    told = []
    for name, numbers in found["selectors"].items():
        if name not in ("best_single", "oracle"):
            over = numbers["over_best_single"]
            told.append(
                f"{name} is {router_report.verdict(over['ci'])} the best single candidate, {found['best_single']} "
                f"({over['mean']:+.4f}, 95 % interval {router_report.format_interval(over['ci'])})."
            )
    return told


def markdown(found: dict[str, Any], plots: Sequence[Path]) -> str:
    """The whole report as a page; pictures are linked relative to it."""
    lines = [
        "# Selectors compared",
        "",
        f"{found['queries']:,} test queries; what learns has learned from {found['trained_on']:,} others.",
        "",
        *router_report.markdown_table(HEADING, rows(found)),
        "",
        *[f"- {router_report.escape_markdown(sentence)}" for sentence in sentences(found)],
        *[f"- {router_report.escape_markdown(note)}." for note in found["notes"]],
        "",
        *[f"![{path.stem}](plots/{path.name})" for path in plots],
        "",
        *_curves(found),
        *_ledger(found),
        *_savings(found),
        *_agreement(found),
        *_tags(found),
        "## Settings",
        "",
        "```json",
        json.dumps(found["settings"], indent=2, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _curves(found: dict[str, Any]) -> list[str]:
    """Area, AIQ, APGR and CPT of every selector with a knob."""
    if not found["curves"]:
        return []
    heading = ("selector", "area under budgets", "AIQ", "APGR", "CPT 20 %", "CPT 50 %", "CPT 80 %")
    body = [
        (name, *(_with_interval(of[key]) for key in ("area", "aiq", "apgr")), *map(_share, of["cpt"].values()))
        for name, of in found["curves"].items()
    ]
    zero = found["candidates"]["aiq"]
    return [
        "## Quality against price",
        "",
        *router_report.markdown_table(heading, body),
        "",
        f"- AIQ of the zero router, the best mixtures of single candidates: {router_report.format_number(zero)}.",
        f"- APGR and CPT take {router_report.escape_markdown(found['weak'])} for weak and "
        f"{router_report.escape_markdown(found['strong'])} for strong.",
        "- Area: 100 budgets, 3 orders of the stream (Margin Sampling). AIQ: RouterBench. APGR, CPT: RouteLLM.",
        "",
    ]


def _ledger(found: dict[str, Any]) -> list[str]:
    selectors = found["selectors"]
    names = list(found["candidates"]["singles"])
    heading = (
        "calls per query",
        *names,
        "tokens in",
        "tokens out",
        "fees $ / 1,000",
        "failed",
        "rank",
        "uplift",
        "arena",
    )
    body = [
        (
            name,
            *(f"{of['calls'][candidate]:.2f}" for candidate in names),
            *(f"{count:.0f}" for count in of["tokens"]),
            f"{of['rounds']:.2f}",
            f"{of['seconds']:.3f}",
            dollars(of["fees"]),
            str(of["failed"]),
            f"{of['mean_task_rank']:.2f}",
            f"{of['uplift']:.0%}",
            router_report.format_number(of["arena"]["mean"]),
        )
        for name, of in selectors.items()
    ]
    return ["## Ledger", "", *router_report.markdown_table(heading, body), ""]


def _savings(found: dict[str, Any]) -> list[str]:
    if not found["savings"]:
        return []
    body = [
        (
            name,
            f"{of['samples']:.2f}",
            f"{router_report.format_percent(of['mean'])} ({router_report.format_interval(of['ci'], percent=True)})",
        )
        for name, of in found["savings"].items()
    ]
    heading = ("selector", "samples", "saved")
    return ["## Samples saved against self-consistency", "", *router_report.markdown_table(heading, body), ""]


def _agreement(found: dict[str, Any]) -> list[str]:
    if not found["agreement"]:
        return []
    heading = ("candidate", "queries", "Pearson of answer entropy and quality")
    body = [(name, str(of["queries"]), _with_interval(of["pearson"])) for name, of in found["agreement"].items()]
    return ["## Agreement and accuracy", "", *router_report.markdown_table(heading, body), ""]


def _tags(found: dict[str, Any]) -> list[str]:
    names = list(found["selectors"])
    body = [
        (row["tag"], str(row["queries"]), *(router_report.format_number(row[name]) for name in names))
        for row in found["tags"]
    ]
    return ["## Tags", "", *router_report.markdown_table(("tag", "queries", *names), body), ""]


def dollars(cost: float | None) -> str:
    """US dollars per thousand queries from dollars per query."""
    return "–" if cost is None else f"{1000 * cost:.3g}"


def _with_interval(value: dict[str, Any] | None) -> str:
    return (
        "–"
        if value is None or value["mean"] is None
        else f"{value['mean']:.3f} ({router_report.format_interval(value['ci'])})"
    )


def _share(value: dict[str, Any]) -> str:
    return router_report.format_percent(value["mean"])
