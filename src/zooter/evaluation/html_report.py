"""Write reports as HTML pages: of a trained router, of a comparison of selectors, of a sweep."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zooter.data.files import write_atomically
from zooter.evaluation import router_report, selector_report, tag_groups
from zooter.evaluation.html_page import Section, embed_pictures, page
from zooter.evaluation.report_text import format_number, replace_non_finite
from zooter.router.choices import describe_choices

NAME = "report.html"
TAGS = (*router_report.TAG_HEADING, "the router's choices")


def write_router_page(report: dict[str, Any], folder: Path, plots: Sequence[Path]) -> None:
    """Write `report.html` of a training run atomically.

    Args:
        report: as in `report.json`.
        folder: of the run.
        plots: PNG files to show, which are embedded.
    """
    test = report["test"]
    rows = router_report.method_rows(test, chosen_by=True)
    titles = [row[0] for row in rows]
    chosen = [f"{name}: {value}." for name, value in describe_choices(report.get("chosen", {}))]
    sections = [
        Section(paragraphs=[router_report.describe_result(test)]),
        Section(
            "Methods", points=[*(note.removeprefix("- ") for note in router_report.notes(report)), *chosen],
            headings=("method", f"mean {test['measured_by']}", *router_report.METHOD_HEADING), rows=rows,
            marked=titles.index(router_report.TITLES["routed"]), pictures=embed_pictures(plots[:1]),
        ),
        *_groups_section(test["groups"], router_report.TITLES),
        Section("Choice by tag", headings=TAGS, rows=_tag_rows(report), texts=(len(TAGS) - 1,)),
        *_price_section(report, folder),
        Section("Plots", pictures=embed_pictures(plots[1:])),
        _examples_section(report.get("examples")),
        Section("Candidates", headings=router_report.candidate_heading(test), rows=router_report.candidate_rows(test)),
        *_settings_sections(report["settings"], "train.py"),
    ]  # fmt: skip
    write_atomically(folder / NAME, page(f"Router on {test['queries']:,} queries that training never saw", sections))


def write_selectors_page(report: dict[str, Any], folder: Path, plots: Sequence[Path]) -> None:
    """Write `report.html` of a comparison of selectors atomically.

    Args:
        report: as in `report.json`.
        folder: of the comparison.
        plots: PNG files to show, which are embedded.
    """
    sections = [
        Section(
            paragraphs=[
                f"{report['queries']:,} test queries, measured by the {report['measured_by']}; what learns has learned "
                f"from {report['trained_on']:,} others."
            ],
            points=[*selector_report.describe_selectors(report), *report["notes"]],
            headings=selector_report.heading(report),
            rows=selector_report.selector_rows(report),
        ),
        Section("Plots", pictures=embed_pictures(plots)),
        *_groups_section(report["groups"]),
        Section("Quality by tag", headings=selector_report.tag_heading(report), rows=selector_report.tag_rows(report)),
        *_selectors_choices(report),
        _examples_section(report.get("examples")),
        *_settings_sections(report["settings"], "infer.py mode=evaluate"),
    ]
    write_atomically(folder / NAME, page("Selectors compared", sections))


def write_sweep_page(
    folder: Path,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    best: int | None,
    notes: Sequence[str],
    plots: Sequence[Path],
) -> None:
    """Write `sweep.html` atomically.

    Args:
        folder: of the sweep.
        headings: of the table.
        rows: of the table.
        best: place of the row with the best validation score; None for none.
        notes: what is to be known of the table.
        plots: PNG files to show, which are embedded.
    """
    sections = [Section(paragraphs=notes, headings=headings, rows=rows, marked=best, pictures=embed_pictures(plots))]
    write_atomically(folder / "sweep.html", page(f"Sweep of {len(rows)} jobs", sections))


def _groups_section(groups: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> list[Section]:
    if not groups:
        return []
    headings, rows = tag_groups.group_headings(groups), tag_groups.group_rows(groups, titles)
    return [Section("Groups of tags", headings=headings, rows=rows)]


def _tag_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    choices = {row["tag"]: row["chosen"] for row in report.get("choices_by_tag", ())}
    return [(*row, _shares(choices.get(row[0], {}))) for row in router_report.tag_rows(report["test"])]


def _selectors_choices(report: Mapping[str, Any]) -> list[Section]:
    """Show what each selector returns in each tag; reports from before it was counted have no such section."""
    by_tag = {
        name: {row["tag"]: row["chosen"] for row in rows} for name, rows in report.get("choices_by_tag", {}).items()
    }
    if not by_tag:
        return []
    rows = [
        (row["tag"], str(row["queries"]), *(_shares(chosen.get(row["tag"], {})) for chosen in by_tag.values()))
        for row in report["tags"]
    ]
    return [Section("Choice by tag", headings=("tag", "queries", *by_tag), rows=rows, texts=range(2, 2 + len(by_tag)))]


def _shares(chosen: Mapping[str, float]) -> str:
    """Format how often each candidate is chosen."""
    return ", ".join(f"{name} {share:.0%}" for name, share in chosen.items())


def _price_section(report: Mapping[str, Any], folder: Path) -> list[Section]:
    """Show the comparison of selectors that was made in the same run, with its curve of quality against price."""
    if "compared" not in report:
        return []
    compared, plot = report["compared"], folder / "compared" / "plots" / "quality_price.png"
    return [
        Section(
            "Quality against price", headings=selector_report.heading(compared),
            rows=selector_report.selector_rows(compared), pictures=embed_pictures([plot] if plot.is_file() else []),
        )
    ]  # fmt: skip


def _examples_section(examples: Mapping[str, Any] | None) -> Section:
    heading = "Where the choice differs from the best single model"
    if examples is None or not examples["rows"]:
        return Section(heading, paragraphs=["On no query do recorded choices differ."])
    name = examples.get("selector", "The router")
    rows = [
        (
            row["query"],
            row["routed"],
            format_number(row["routed_reward"]),
            row["best_single"],
            format_number(row["best_single_reward"]),
        )
        for row in examples["rows"]
    ]
    text = (
        f"{name} chooses otherwise on {examples['differing']:,} queries: it is better on {examples['better']:,} and "
        f"worse on {examples['worse']:,}. Shown are the largest gains and the largest losses."
    )
    columns = ("query", "its choice", "reward", "best single model", "reward")
    return Section(heading, paragraphs=[text], headings=columns, rows=rows)


def _settings_sections(settings: Mapping[str, Any], script: str) -> list[Section]:
    """Show the settings, and the command that repeats the run where it was started by one."""
    sections = []
    if "overrides" in settings:
        words = [f"python {script}", *map(shlex.quote, settings["overrides"])]
        sections.append(Section("To repeat it", code=" ".join(words)))
    written = json.dumps(replace_non_finite(dict(settings)), indent=2, ensure_ascii=False, default=str)
    return [*sections, Section("Settings", code=written)]
