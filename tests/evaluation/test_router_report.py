"""The report of a run: JSON, Markdown, a terminal table and the export's card."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zooter.evaluation import report_text, router_report

Report = dict[str, Any]
PIPE = re.compile(r"(?<!\\)\|")


def strict(text: str) -> Any:
    """JSON as the standard has it, without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_reads_back_as_it_was_and_has_what_users_rely_on(report: Report, tmp_path: Path) -> None:
    router_report.write(report, tmp_path, [])
    loaded = strict((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert loaded == report
    promised = {"queries", "routed", "random", "best_single", "best_single_name", "per_tag_best", "knn", "oracle"}
    assert promised | {"gap_closed", "gap_closed_ci"} <= set(loaded["test"])


def test_the_json_never_holds_nan_or_infinity(report: Report, tmp_path: Path) -> None:
    report["fit"] = {"val_loss": math.nan, "epochs": 3}
    report["settings"]["deep"] = [{"patience": math.inf}, (-math.inf, 1.5)]
    router_report.write(report, tmp_path, [])
    loaded = strict((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert loaded["fit"] == {"val_loss": None, "epochs": 3}
    assert loaded["settings"]["deep"] == [{"patience": None}, [None, 1.5]]


def test_writing_again_replaces_both_files_and_leaves_no_draft(report: Report, tmp_path: Path) -> None:
    router_report.write(report, tmp_path, [])
    report["test"]["queries"] = 12345
    router_report.write(report, tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert strict((tmp_path / "report.json").read_text(encoding="utf-8"))["test"]["queries"] == 12345


def test_every_row_of_every_markdown_table_has_the_columns_of_its_heading(report: Report) -> None:
    lines = router_report.markdown(report, []).splitlines()
    width, rows = 0, 0
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("| "):
            cells = len(PIPE.findall(line))
            width = cells if not before.startswith("| ") else width
            assert cells == width, line
            rows += 1
    test = report["test"]
    groups = 6 + len(test["candidates"])
    assert rows == 6 + len(test["candidates"]) + groups + len(test["tags"]) + 4 * 2


def test_names_are_shown_in_markdown_as_they_are(report: Report) -> None:
    page = router_report.markdown(report, [])
    for shown in (r"| a\|b |", r"| c\<br>\*d\* |", "| e f |", r"| g $x^$ \[h\](i) |", r"tag\|1 $\\bad$"):
        assert shown in page
    report["test"]["best_single_name"] = "[x](javascript:y)\n# heading"
    assert r"\[x\](javascript:y) # heading" in router_report.markdown(report, [])
    assert r"(\[x\](javascript:y) # heading)" in router_report.model_card({**report, "settings": {"label": {}}})


def test_pictures_are_linked_beside_the_page(report: Report) -> None:
    page = router_report.markdown(report, [Path("/run/plots/methods.png"), Path("/run/plots/tags.png")])
    assert "![methods](plots/methods.png)" in page
    assert "![tags](plots/tags.png)" in page


def test_the_notes_say_what_was_left_out(report: Report) -> None:
    missing = report["data"]["missing_cells"]
    assert f"100 queries, 2 dropped for want of any reward, {missing} of 400 cells missing" in router_report.markdown(
        report, []
    )


def test_the_terminal_table_lists_the_methods_from_the_best_down(report: Report) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(router_report.table(report))
    shown = [
        title
        for line in out.getvalue().splitlines()
        for title in map(router_report.TITLES.get, report["test"]["intervals"])
        if line.strip().startswith(title)
    ]
    expected = sorted(report["test"]["intervals"], key=lambda name: -report["test"][name])
    assert shown == [router_report.TITLES[name] for name in expected]
    assert shown[0] == "oracle"
    assert f"{report['test']['routed']:.3f}" in out.getvalue()
    assert "40 queries that training never saw" in out.getvalue()


@pytest.mark.parametrize(
    ("ci", "verdict"),
    [
        ([0.01, 0.2], "better than"),
        ([-0.2, -0.01], "worse than"),
        ([-0.1, 0.2], "not distinguishable from"),
        ([0.0, 0.2], "not distinguishable from"),
        ([None, None], "not distinguishable from"),
    ],
)
def test_nothing_is_called_better_when_the_interval_covers_zero(report: Report, ci: list[Any], verdict: str) -> None:
    report["test"]["known"]["over_best_single"] = {"mean": 0.1, "ci": ci, "queries": 40}
    name = report["test"]["best_single_name"]
    assert router_report.describe_result(report["test"]).startswith(
        f"Routing is {verdict} the best single model, {name} (difference +0.1000"
    )


def test_a_comparison_names_the_queries_on_which_both_choices_are_recorded(report: Report) -> None:
    comparisons = report["test"]["known"]
    comparisons["over_best_single"] = {"mean": 0.1, "ci": [0.05, 0.2], "queries": 7}
    comparisons["over_knn"] = {"mean": None, "ci": [None, None], "queries": 0}
    sentence = router_report.describe_result(report["test"])
    assert " on the 7 queries where both choices are recorded (difference +0.1000" in sentence
    assert sentence.endswith("Routing cannot be compared with kNN: on no query are both choices recorded.")


@pytest.mark.parametrize("width", [66, 80, 120])
def test_numbers_are_never_cut_on_a_narrow_terminal(report: Report, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(router_report.table(report))
    shown = console.export_text()
    for name, ends in report["test"]["intervals"].items():
        assert report_text.format_interval(ends) in shown
        assert f" {report['test'][name]:.3f} " in shown


def test_what_is_measured_and_chosen_by_the_truth_is_said(report: Report) -> None:
    test = report["test"]
    test["measured_by"] = test["chosen_by"]["best_single"] = test["chosen_by"]["oracle"] = "truth"
    console = Console(width=80, record=True)
    console.print(router_report.table(report))
    shown = " ".join(console.export_text().split())
    assert "method truth 95 % interval" in shown
    assert router_report.MEASURED_BY_TRUTH in shown
    page = router_report.markdown(report, [])
    assert "| method | mean truth | 95 % interval | gap closed | mean task rank | % uplift | chosen by |" in page
    assert next(line for line in page.splitlines() if line.startswith("| best single model")).endswith("| truth |")


def test_what_is_not_defined_is_a_dash(report: Report) -> None:
    report["test"] |= {"gap_closed": None, "gap_closed_ci": [None, None]}
    report["test"]["entropy"] = {"spearman": {"ranking": None, "routed": -0.25}}
    page = router_report.markdown(report, [])
    assert "gap closed: –, 95 % interval –…–" in page
    assert "Spearman –; against that of the routed response: -0.250" in page
    assert "None" not in page


def test_the_card_says_what_it_is_how_good_and_how_to_load_it(report: Report) -> None:
    card = router_report.model_card(report)
    test = report["test"]
    for phrase in (
        "one of 4 language models",
        "- e f",
        f"reward {test['routed']:.3f}",
        "40 queries that training never saw",
    ):
        assert phrase in card
    assert f"closed {test['gap_closed']:.1%}" in card
    assert "load_router(" in card
    assert '{"beta": 0.3}' in card


def test_win_rates_are_told_of_battles_alone_and_older_reports_have_none(report: dict[str, Any]) -> None:
    assert report["test"]["win_rate"] is None
    del report["test"]["win_rate"]
    assert "Win rate" not in "".join(router_report.notes(report))
    report["test"]["win_rate"] = {"routed": 0.625, "best_single": 0.5}
    assert "(ties half): routed (ours) 62.5%, best single model 50.0%." in "".join(router_report.notes(report))
