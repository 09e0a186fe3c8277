"""The summary of a multirun: one table, one CSV and one plot of all jobs."""

import copy
import csv
import io
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from zooter.errors import ConfigError
from zooter.evaluation import sweep

Report = dict[str, Any]


@pytest.fixture
def job(report: Report, tmp_path: Path) -> Any:
    """Return a function that writes one job's folder, without a report unless it has finished."""

    def write(
        number: int | str,
        overrides: list[str],
        gap: float | None = 0.1,
        validation: float | None = 0.2,
        failure: str | None = None,
    ) -> Path:
        folder = tmp_path / str(number)
        folder.mkdir()
        if failure is not None:
            if failure:
                (folder / sweep.FAILURE).write_text(json.dumps({"overrides": overrides, "reason": failure}))
            return folder
        job_report = copy.deepcopy(report)
        job_report["settings"]["overrides"] = overrides
        job_report["validation"]["gap_closed"] = validation
        job_report["test"] |= {
            "gap_closed": gap,
            "gap_closed_ci": [None, None] if gap is None else [gap - 0.05, gap + 0.05],
        }
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
    rows = sweep.collect_jobs(jobs)
    assert [row["label.beta"] for row in rows] == [0.1, 0.3, 1.0]
    assert list(rows[0]) == ["label.beta", *sweep.METRICS, "rank in first|group", "rank in second"]
    assert (rows[0]["low"], rows[0]["high"]) == (0.1 - 0.05, 0.1 + 0.05)
    assert [row["failure"] for row in rows] == [None] * 3


def test_values_may_hold_equals_signs_and_an_override_may_have_none(job: Any) -> None:
    jobs = [job(i, ["~logger", f"+net.note='x={i}=y'"]) for i in range(2)]
    rows = sweep.collect_jobs(jobs)
    assert [row["+net.note"] for row in rows] == ["'x=0=y'", "'x=1=y'"]
    assert "~logger" not in rows[0]


def test_several_swept_keys_are_sorted_one_after_the_other(job: Any) -> None:
    pairs = [("none", "1"), ("cluster", "0.3"), ("none", "0.3"), ("cluster", "1")]
    rows = sweep.collect_jobs([job(i, [f"tagger={t}", f"label.beta={b}"]) for i, (t, b) in enumerate(pairs)])
    swept = [(row["tagger"], row["label.beta"]) for row in rows]
    assert swept == [("cluster", 0.3), ("cluster", 1.0), ("none", 0.3), ("none", 1.0)]


def test_job_folders_are_in_the_order_of_their_numbers_and_others_are_left_out(job: Any, tmp_path: Path) -> None:
    for name in (10, 9, 2, "notes"):
        job(name, [])
    (tmp_path / "3").write_text("a file")
    assert [path.name for path in sweep.job_folders(tmp_path)] == ["2", "9", "10"]


def test_a_failed_job_keeps_its_row_with_the_reason(
    job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "ConfigError: expected label.beta between 0 and 1; found 2"
    jobs = [job(0, ["label.beta=0"]), job(1, ["label.beta=2"], failure=reason), job(2, ["label.beta=1"])]
    with caplog.at_level(logging.WARNING):
        finish(jobs, tmp_path)
    message = f"1 of 3 jobs failed. job 1: {reason}."
    assert message in caplog.text
    page = (tmp_path / "sweep.md").read_text()
    assert message in page
    assert f"| 2 | {' | '.join(['–'] * 11)} | job 1: {reason} |" in page
    shown = " ".join(capsys.readouterr().out.split())
    assert "failed" in shown
    records = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [row["failure"] for row in records] == ["", "", f"job 1: {reason}"]


def test_a_report_of_an_earlier_sweep_does_not_count_for_a_failed_job(job: Any) -> None:
    jobs = [job(0, ["label.beta=0"]), job(1, ["label.beta=1"]), job(2, ["label.beta=2"])]
    os.utime(jobs[0] / "report.json", (1000, 1000))
    rows = sweep.collect_jobs(jobs, since=2000)
    assert [(row["label.beta"], row["failure"]) for row in rows] == [
        (1.0, None), (2.0, None), (None, "job 0: no report"),
    ]  # fmt: skip


def test_a_failure_is_recorded_in_a_sweep_alone_and_raised_again(tmp_path: Path) -> None:
    for folder in (tmp_path, None):
        with pytest.raises(ConfigError, match="expected 1"), sweep.recorded_failure(folder, ["label.beta=2"]):
            raise ConfigError(expected="1", found="2", do="correct it")
    assert [path.name for path in tmp_path.iterdir()] == [sweep.FAILURE]
    failure = json.loads((tmp_path / sweep.FAILURE).read_text())
    assert failure == {"overrides": ["label.beta=2"], "reason": "ConfigError: expected 1; found 2; correct it"}


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
    finish([job(0, [], failure="")], tmp_path)
    assert "1 of 1 jobs failed. job 0: no report." in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_the_best_is_chosen_by_validation_and_the_test_score_stands_beside_it(job: Any, tmp_path: Path) -> None:
    scores = {"0": (0.1, 0.2), "0.3": (0.15, 0.3), "1": (0.4, 0.1)}  # by the test score, β = 1 would win
    rows = sweep.collect_jobs(
        [job(i, [f"label.beta={b}"], gap, validation) for i, (b, (gap, validation)) in enumerate(scores.items())]
    )
    assert sweep.best_row(rows) == 1
    sweep.write_summary(rows, tmp_path)
    table = (tmp_path / "sweep.md").read_text().splitlines()
    assert table[0].startswith("| label.beta | validation | validation_reward | gap_closed |")
    assert "mean_task_rank" in table[0]
    assert r"| rank in first\|group | rank in second |" in table[0]  # table 2 of ZOOTER
    assert [line.startswith("| **") for line in table[2:5]] == [False, True, False]
    assert sweep.CAVEAT in table
    with (tmp_path / "sweep.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert [(float(row["validation"]), float(row["gap_closed"])) for row in records] == [
        (0.2, 0.1),
        (0.3, 0.15),
        (0.1, 0.4),
    ]
    assert float(records[0]["mean_task_rank"]) >= 1.0
    assert float(records[0]["rank in second"]) >= 1.0
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_gap_the_validation_reward_chooses_and_nothing_is_drawn(job: Any, tmp_path: Path) -> None:
    rows = sweep.collect_jobs([job(i, [f"label.beta={i}"], None, None) for i in range(2)])
    rows[1]["validation_reward"] = 0.6
    assert sweep.best_row(rows) == 1
    assert sweep.best_row([{**row, "validation_reward": None} for row in rows]) is None
    sweep.write_summary(rows, tmp_path)
    assert "| – | – | – |" in (tmp_path / "sweep.md").read_text()
    assert next(csv.DictReader((tmp_path / "sweep.csv").open()))["gap_closed"] == ""
    assert not (tmp_path / "sweep.png").exists()


def test_two_swept_keys_get_a_picture_and_three_none(job: Any, tmp_path: Path) -> None:
    grid = [(beta, tagger) for beta in ("0", "0.3") for tagger in ("none", "column")]
    jobs = [job(i, [f"label.beta={b}", f"tagger={t}"], 0.1, i / 10) for i, (b, t) in enumerate(grid)]
    jobs.append(job(4, ["label.beta=2", "tagger=none"], failure="ConfigError: x"))
    sweep.write_summary(sweep.collect_jobs(jobs), tmp_path)
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    three = [job(5 + i, [f"a={i}", f"b={i}", f"c={i}"]) for i in range(2)]
    other = tmp_path / "other"
    sweep.write_summary(sweep.collect_jobs(three), other)
    assert not (other / "sweep.png").exists()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_on_a_narrow_console_columns_are_left_out_and_numbers_are_never_cut(
    job: Any, tmp_path: Path, width: int
) -> None:
    long = "/a/very/long/path/to/some/records/file.parquet"
    rows = sweep.collect_jobs([job(i, [f"label.beta={i / 7}", f"records={long}{i}"], 0.123456) for i in range(3)])
    console = Console(width=width, record=True, file=io.StringIO())
    sweep.write_summary(rows, tmp_path, console)
    shown = console.export_text()
    assert "…" not in shown
    assert all(f"{i / 7:.4g}" in shown for i in range(1, 3))
    assert shown.count("0.1235") == 3 or width == 60
    assert ("All columns are in sweep.md" in " ".join(shown.split())) == (width < 200)


def test_values_with_the_marks_of_tables_and_terminals_are_shown_as_they_are(
    job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sweep.collect_jobs([job(0, ["salt=[/a]"]), job(1, ["salt=b|c"])])
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
