"""The report of a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zooter.evaluation import selector_plots, selector_report


def test_nothing_is_called_better_when_the_interval_of_the_difference_covers_0(compared: dict[str, Any]) -> None:
    sentences = selector_report.describe_selectors(compared)
    assert sentences == [
        "margin is better than the best single candidate, a|b (difference +0.2000, 95 % interval 0.100…0.300).",
        "bad is worse than the best single candidate, a|b (difference -0.2000, 95 % interval -0.300…-0.100).",
        "even is not distinguishable from the best single candidate, a|b "
        "(difference +0.0200, 95 % interval -0.100…0.100).",
    ]


def test_the_best_stands_first_with_dollars_per_thousand_queries(compared: dict[str, Any]) -> None:
    rows = selector_report.selector_rows(compared)
    assert [row[0] for row in rows] == ["oracle", "margin", "even", "best_single", "bad"]
    assert rows[1] == ("margin", "0.700", "0.600…0.800", "50.0%", "1.25", "1.50")
    assert selector_report.format_dollars(None) == "–"


def test_the_terminal_table_fits_eighty_columns(compared: dict[str, Any]) -> None:
    compared["selectors"]["self_consistency"] = compared["selectors"]["even"]
    console = Console(width=80, record=True)
    console.print(selector_report.table(compared))
    text = console.export_text()
    for heading in (*selector_report.HEADING, "self_consistency"):
        assert heading in text


def test_the_page_has_every_section_and_no_name_breaks_a_table(compared: dict[str, Any], tmp_path: Path) -> None:
    selector_report.write(compared, tmp_path)
    page = (tmp_path / "report.md").read_text()
    for section in ("# Selectors compared", "## Quality against price", "## Ledger", "## Samples saved against",
                    "## Agreement and accuracy", "## Tags", "## Settings"):  # fmt: skip
        assert section in page
    assert "| margin | 0.500 (0.400…0.600) | 0.550 (0.550…0.550) | 0.600 (0.600…0.600) | 10.0% | 30.0% | – |" in page
    assert "zero router, the best mixtures of single candidates: 0.450" in page
    assert "a\\|b" in page
    assert "| calls per query | a|b | $c$ | tokens in | tokens out | rounds | seconds | fees $ / 1,000 |" in page
    assert "7 responses have \\*no\\* reward" in page
    assert "| margin | 12.00 | 25.0% (20.0%…30.0%) |" in page
    assert "| a\\|b | 0.500 | 2 | 1.00 | 100% |" in page
    assert "| $c$ | 0.400 | 1 |  |  |" in page
    assert "| a\\|b | 40 | number | -0.700 (-0.800…-0.600) |" in page
    for plot in selector_plots.draw_plots(compared):
        assert (tmp_path / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
        assert f"plots/{plot}.png" in page
    assert json.loads((tmp_path / "report.json").read_text()) == compared


@pytest.mark.usefixtures("undrawn_plots")
def test_empty_sections_are_left_out(compared: dict[str, Any], tmp_path: Path) -> None:
    selector_report.write({**compared, "savings": None, "agreement": None, "curves": {}}, tmp_path)
    page = (tmp_path / "report.md").read_text()
    for section in ("Quality against price", "Samples saved", "Agreement"):
        assert section not in page


@pytest.mark.usefixtures("undrawn_plots")
def test_queries_with_unknown_choices_are_counted_and_named(compared: dict[str, Any], tmp_path: Path) -> None:
    margin, bad = compared["selectors"]["margin"], compared["selectors"]["bad"]
    margin["queries"] = margin["over_best_single"]["queries"] = 10
    nothing = {"mean": None, "ci": [None, None]}
    bad |= dict.fromkeys(("quality", "cost", "gap_closed", "arena"), nothing)
    bad |= {"queries": 0, "over_best_single": {**nothing, "queries": 0}, "samples": None, "rounds": None, "fees": None}
    bad |= {"calls": {"a|b": None, "$c$": None}, "tokens": [None, None], "seconds": None, "mean_task_rank": None}
    bad["uplift"] = None
    rows = selector_report.selector_rows(compared)
    assert [(row[0], row[-1]) for row in rows] == [
        ("oracle", "100%"), ("margin", "25%"), ("even", "100%"), ("best_single", "100%"), ("bad", "0%"),
    ]  # fmt: skip
    sentences = selector_report.describe_selectors(compared)
    assert "a|b on the 10 queries where both choices are recorded (difference +0.2000" in sentences[0]
    assert sentences[1].startswith("bad cannot be compared with the best single candidate, a|b: on no query")
    console = Console(width=80, record=True)
    console.print(selector_report.table(compared))
    assert "recorded" in console.export_text()
    selector_report.write(compared, tmp_path)
    assert "| bad | – | –…– | – | – | – | 0% |" in (tmp_path / "report.md").read_text()


def test_with_several_samples_the_oracle_is_named_as_one_response_and_coverage_as_the_bound(
    compared: dict[str, Any], tmp_path: Path
) -> None:
    compared["coverage"] = {"k": [1, 2, 4], "all": [0.5, 0.75, 1.0], "candidates": {"a|b": [0.25, 0.5, 0.75]}}
    assert selector_report.selector_rows(compared)[0][0] == "oracle (1 response)"
    sentence = selector_report.describe_selectors(compared)[-1]
    assert sentence.endswith("coverage: the best of 4 samples of every candidate has 1.000.")
    selector_report.write(compared, tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "| best of k samples | k = 1 | k = 2 | k = 4 |" in page
    assert "| a\\|b | 0.250 | 0.500 | 0.750 |" in page
    (axes,) = selector_plots.plot_coverage(compared).axes
    lines = {str(line.get_label()): list(line.get_ydata()) for line in axes.lines}
    assert (lines["all candidates"], lines["a|b"]) == ([0.5, 0.75, 1.0], [0.25, 0.5, 0.75])
    assert (tmp_path / "plots" / "coverage.png").exists()
    console = Console(width=80, record=True)
    console.print(selector_report.table(compared))
    assert "oracle (1 response)" in console.export_text()


def test_numbers_are_never_cut_on_a_narrow_terminal(compared: dict[str, Any]) -> None:
    console = Console(width=66, record=True)
    console.print(selector_report.table(compared))
    shown = console.export_text()
    for row in selector_report.selector_rows(compared):
        assert all(cell in shown for cell in row[1:])
