"""The pages of a run, of a comparison and of a sweep."""

from pathlib import Path
from typing import Any

import pytest
from support.parsed_page import read_page

from zooter.evaluation import html_report, router_report, selector_report, sweep
from zooter.evaluation.html_page import Section, embed_pictures, page
from zooter.evaluation.router_plots import save_plots

pytestmark = pytest.mark.usefixtures("undrawn_plots")

EVIL = "<script>alert(1)</script> <img src=x onerror=alert(2)> \"quoted\" 'single' {{ 7 * 7 }} & </td></table>"


def example(query: str) -> dict[str, Any]:
    return {"query": query, "routed": EVIL, "routed_reward": 1.0, "best_single": "b", "best_single_reward": 0.25}


@pytest.fixture
def complete(report: dict[str, Any]) -> dict[str, Any]:
    """Add what a run adds to the report."""
    report["examples"] = {"differing": 7, "better": 4, "worse": 2, "rows": [example(EVIL)]}
    report["choices_by_tag"] = [{"tag": report["test"]["tags"][0]["tag"], "queries": 3, "chosen": {EVIL: 0.75}}]
    report["settings"]["overrides"] = ["label.beta=0.3", "encoder={a: [1, 2]}"]
    return report


def test_texts_of_queries_names_and_settings_are_escaped(complete: dict[str, Any], tmp_path: Path) -> None:
    complete["settings"]["note"] = EVIL
    html_report.write_router_page(complete, tmp_path, [])
    shown = read_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [EVIL, EVIL, "1.000", "b", "0.250"] in shown.cells
    assert any(f"{EVIL} 75%" in row for row in shown.cells)
    assert "img" not in shown.names


def test_the_page_of_a_run_shows_the_whole_report(complete: dict[str, Any], tmp_path: Path) -> None:
    plots = save_plots(complete["test"], tmp_path / "plots")
    html_report.write_router_page(complete, tmp_path, plots)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    shown = read_page(text)
    for row in router_report.method_rows(complete["test"], chosen_by=True):
        assert list(row) in shown.cells
    assert text.count('<tr class="marked"><td>routed (ours)</td>') == 1
    assert len(shown.addresses) == len(plots)
    assert "7 queries: it is better on 4 and worse on 2" in shown.text
    assert "python train.py label.beta=0.3 'encoder={a: [1, 2]}'" in shown.text
    for name in complete["test"]["candidates"]:
        assert name in shown.text
    tags = [row["tag"] for row in complete["test"]["tags"]]
    assert [row[0] for row in shown.cells if row[0] in tags] == tags


def test_the_selectors_of_a_run_stand_on_its_page_with_their_curve(
    complete: dict[str, Any], compared: dict[str, Any], tmp_path: Path
) -> None:
    selector_report.write(compared, tmp_path / "compared")
    html_report.write_router_page({**complete, "compared": compared}, tmp_path, [])
    shown = read_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for row in selector_report.selector_rows(compared):
        assert list(row) in shown.cells
    curve = embed_pictures([tmp_path / "compared" / "plots" / "quality_price.png"])[0][1]
    assert shown.addresses == [curve]


def test_a_report_without_a_command_or_examples_says_nothing_of_them(complete: dict[str, Any], tmp_path: Path) -> None:
    del complete["settings"]["overrides"], complete["examples"]
    html_report.write_router_page(complete, tmp_path, [])
    text = read_page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "To repeat it" not in text
    assert "On no query do recorded choices differ." in text


def test_the_page_of_a_comparison_has_every_selector_and_tag(compared: dict[str, Any], tmp_path: Path) -> None:
    plots = selector_report.write(compared, tmp_path)
    chosen = [{"tag": "t|1", "queries": 40, "chosen": {"a|b": 0.75, "$c$": 0.25}}]
    compared["choices_by_tag"] = {"margin": chosen, "bad": []}
    compared["examples"] = {"selector": "margin", "differing": 1, "better": 1, "worse": 0, "rows": [example(EVIL)]}
    html_report.write_selectors_page(compared, tmp_path, plots)
    shown = read_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for row in selector_report.selector_rows(compared):
        assert list(row) in shown.cells
    assert ["t|1", "40", "0.500", "0.900", "0.700", "0.300", "0.520"] in shown.cells
    assert ["t|1", "40", "a|b 75%, $c$ 25%", ""] in shown.cells
    assert "margin chooses otherwise on 1 queries" in shown.text
    assert EVIL in shown.text
    assert len(shown.addresses) == len(plots)


def test_the_report_of_an_older_comparison_still_becomes_a_page(compared: dict[str, Any], tmp_path: Path) -> None:
    html_report.write_selectors_page(compared, tmp_path, [])
    assert "Choice by tag" not in read_page((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_the_page_of_a_sweep_has_its_table_and_picture(tmp_path: Path) -> None:
    numbers = dict.fromkeys(sweep.METRICS, 0.5) | {"failure": None}
    rows = [
        {"beta": 0.1, **numbers, "validation": 0.25},
        {"beta": 0.3, **numbers, "validation": 0.75},
        {"beta": 0.5, **dict.fromkeys(sweep.METRICS), "failure": f"job 2: {EVIL}"},
    ]
    sweep.write_summary(rows, tmp_path)
    text = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    shown = read_page(text)
    assert [row[:2] for row in shown.cells] == [["beta", "validation"], ["0.1", "0.25"], ["0.3", "0.75"], ["0.5", "–"]]
    assert '<tr class="marked"><td>0.3</td>' in text
    assert shown.addresses == [embed_pictures([tmp_path / "sweep.png"])[0][1]]
    assert EVIL in shown.text
    assert sweep.CAVEAT in shown.text


def test_a_heading_is_escaped_too() -> None:
    shown = read_page(page(EVIL, [Section(EVIL, [EVIL], [EVIL], [EVIL], [[EVIL]], code=EVIL)]))
    assert shown.text.count(EVIL) == 8  # the title stands in the head and on the page
