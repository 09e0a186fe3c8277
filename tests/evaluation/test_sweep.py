"""The summary of a multirun: one table, one CSV and one plot of all jobs."""

import copy
import csv
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zooter.evaluation import sweep

Report = dict[str, Any]


@pytest.fixture
def job(report: Report, tmp_path: Path) -> Any:
    """Return a function that writes one job's folder, without a report unless it has finished."""

    def write(number: int | str, overrides: list[str], gap: float | None = 0.1, finished: bool = True) -> Path:
        folder = tmp_path / str(number)
        folder.mkdir()
        job_report = copy.deepcopy(report)
        job_report["settings"]["overrides"] = overrides
        job_report["test"] |= {
            "gap_closed": gap,
            "gap_closed_ci": [None, None] if gap is None else [gap - 0.05, gap + 0.05],
        }
        if finished:
            (folder / "report.json").write_text(json.dumps(job_report))
        return folder

    return write


def config(folder: Path) -> Any:
    return SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(dir=str(folder))))


def finish(jobs: list[Path], folder: Path) -> None:
    """Call the hooks as Hydra does at the end of each job and of the sweep."""
    summary = sweep.SweepSummary()
    for path in jobs:
        runtime = SimpleNamespace(output_dir=str(path))
        summary.on_job_end(SimpleNamespace(hydra=SimpleNamespace(runtime=runtime)), job_return=None)
    summary.on_multirun_end(config(folder))


def test_a_row_has_the_swept_keys_alone_and_rows_are_in_the_order_of_values(job: Any) -> None:
    same = ["experiment=recorded", "records=a=b.parquet"]
    jobs = [job(i, [*same, f"label.beta={beta}"]) for i, beta in enumerate(["1", "0.3", "1e-1"])]
    rows, failed = sweep.collect_jobs(jobs)
    assert [row["label.beta"] for row in rows] == [0.1, 0.3, 1.0]
    assert list(rows[0]) == ["label.beta", *sweep.METRICS]
    assert (rows[0]["low"], rows[0]["high"]) == (0.1 - 0.05, 0.1 + 0.05)
    assert failed == []


def test_values_may_hold_equals_signs_and_an_override_may_have_none(job: Any) -> None:
    jobs = [job(i, ["~logger", f"+net.note='x={i}=y'"]) for i in range(2)]
    rows, _ = sweep.collect_jobs(jobs)
    assert [row["+net.note"] for row in rows] == ["'x=0=y'", "'x=1=y'"]
    assert "~logger" not in rows[0]


def test_several_swept_keys_are_sorted_one_after_the_other(job: Any) -> None:
    pairs = [("none", "1"), ("cluster", "0.3"), ("none", "0.3"), ("cluster", "1")]
    rows, _ = sweep.collect_jobs([job(i, [f"tagger={t}", f"label.beta={b}"]) for i, (t, b) in enumerate(pairs)])
    swept = [(row["tagger"], row["label.beta"]) for row in rows]
    assert swept == [("cluster", 0.3), ("cluster", 1.0), ("none", 0.3), ("none", 1.0)]


def test_job_folders_are_in_the_order_of_their_numbers_and_others_are_left_out(job: Any, tmp_path: Path) -> None:
    for name in (10, 9, 2, "notes"):
        job(name, [])
    (tmp_path / "3").write_text("a file")
    assert [path.name for path in sweep.job_folders(tmp_path)] == ["2", "9", "10"]


def test_failed_jobs_are_counted_and_named(
    job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job(0, ["label.beta=0"]), job(1, ["label.beta=2"], finished=False), job(2, ["label.beta=1"])]
    with caplog.at_level(logging.WARNING):
        finish(jobs, tmp_path)
    message = "1 of 3 jobs failed and are left out: 1."
    assert message in caplog.text
    assert message in (tmp_path / "sweep.md").read_text()
    assert message in " ".join(capsys.readouterr().out.split())
    assert len(list(csv.DictReader((tmp_path / "sweep.csv").open()))) == 2


def test_a_report_of_an_earlier_sweep_does_not_count_for_a_failed_job(job: Any) -> None:
    jobs = [job(0, ["label.beta=0"]), job(1, ["label.beta=1"])]
    os.utime(jobs[0] / "report.json", (1000, 1000))
    rows, failed = sweep.collect_jobs(jobs, since=2000)
    assert failed == ["0"]
    assert len(rows) == 1


def test_folders_of_an_earlier_and_longer_sweep_are_left_out(job: Any, tmp_path: Path) -> None:
    jobs = [job(i, [f"label.beta={i}"]) for i in range(3)]
    finish(jobs[:2], tmp_path)
    assert len(list(csv.DictReader((tmp_path / "sweep.csv").open()))) == 2


def test_job_folders_are_listed_when_the_launcher_reports_no_job(job: Any, tmp_path: Path) -> None:
    for i in range(3):
        job(i, [f"label.beta={i}"])
    finish([], tmp_path)
    assert len(list(csv.DictReader((tmp_path / "sweep.csv").open()))) == 3


def test_when_every_job_failed_nothing_is_written_and_a_warning_is_logged(
    job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finish([job(0, [], finished=False)], tmp_path)
    assert "1 of 1 jobs failed" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_the_table_marks_the_best_the_csv_has_all_and_the_plot_is_drawn(job: Any, tmp_path: Path) -> None:
    gaps = {"0": 0.1, "0.3": 0.25, "1": -0.1}
    rows, _ = sweep.collect_jobs([job(i, [f"label.beta={b}"], gap) for i, (b, gap) in enumerate(gaps.items())])
    sweep.write_summary(rows, tmp_path)
    table = (tmp_path / "sweep.md").read_text().splitlines()
    assert table[0].startswith("| label.beta | routed | gap_closed |")
    assert len(table) == 5
    assert [line.startswith("| **") for line in table[2:]] == [False, True, False]
    with (tmp_path / "sweep.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert [(float(row["label.beta"]), float(row["gap_closed"])) for row in records] == [
        (0.0, 0.1),
        (0.3, 0.25),
        (1.0, -0.1),
    ]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_jobs_without_a_gap_are_a_dash_in_the_table_and_empty_in_the_csv(job: Any, tmp_path: Path) -> None:
    rows, _ = sweep.collect_jobs([job(0, ["label.beta=0"], None), job(1, ["label.beta=1"], 0.2)])
    sweep.write_summary(rows, tmp_path)
    assert "| – | – | – |" in (tmp_path / "sweep.md").read_text()
    assert next(csv.DictReader((tmp_path / "sweep.csv").open()))["gap_closed"] == ""
    assert not (tmp_path / "sweep.png").exists()


def test_values_with_the_marks_of_tables_and_terminals_are_shown_as_they_are(
    job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = sweep.collect_jobs([job(0, ["salt=[/a]"]), job(1, ["salt=b|c"])])
    sweep.write_summary(rows, tmp_path)
    assert "[/a]" in capsys.readouterr().out
    assert r"| b\|c |" in (tmp_path / "sweep.md").read_text()


def test_hooks_that_hydra_calls_and_nothing_needs_do_nothing() -> None:
    summary = sweep.SweepSummary()
    assert summary.on_run_start(config=None, config_name="train") is None
    with pytest.raises(AttributeError, match="other"):
        _ = summary.other


def test_hydra_finds_every_hook_of_the_summary() -> None:
    callback = pytest.importorskip("hydra.experimental.callback").Callback
    hooks = {name for name in vars(callback) if name.startswith("on_")}
    defined = {name for name in vars(sweep.SweepSummary) if name.startswith("on_")}
    assert defined <= hooks
