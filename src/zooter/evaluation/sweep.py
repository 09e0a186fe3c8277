"""Summarise a Hydra multirun in one table, one CSV and one plot of all its jobs.

Jobs are ranked by their validation score. The test score stands beside it: a winner chosen by it would look too good.
`SweepSummary` has the methods of a Hydra callback and is named in `conf/train.yaml`; it does not import Hydra.
"""

import csv
import io
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from zooter.data.files import write_atomically
from zooter.evaluation import html_report, sweep_plots
from zooter.evaluation.plotting import plot_style, save_figure

log = logging.getLogger(__name__)

FAILURE = "failure.json"  # in the folder of a job that failed
METRICS = (
    "validation", "validation_reward", "gap_closed", "low", "high", "routed", "mean_task_rank", "best_single",
    "per_tag_best", "knn", "oracle", "failure",
)  # fmt: skip
# Of the terminal's table, in the order of their importance: the last ones are left out where they do not fit.
COLUMNS = {
    "validation": "validation", "test": "gap_closed", "low": "low", "high": "high", "routed": "routed",
    "rank": "mean_task_rank", "best single": "best_single", "best per tag": "per_tag_best", "kNN": "knn",
    "oracle": "oracle",
}  # fmt: skip
RANK_IN = "rank in "  # of a group of tags; as many columns as there are groups
CAVEAT = (
    "validation, test: share of the gap closed. The best row is chosen by the validation score; its test score is a "
    "fair estimate only because it did not choose. rank: mean task rank (ZOOTER, table 2)."
)


@contextmanager
def recorded_failure(folder: Path | None, overrides: Sequence[str]) -> Iterator[None]:
    """Write why a job failed into its folder, for the sweep's summary, and raise the error again.

    Args:
        folder: of the job; None, outside of a sweep, writes nothing.
        overrides: of the job.
    """
    try:
        yield
    except Exception as error:
        if folder is not None:
            failure = {"overrides": list(overrides), "reason": f"{type(error).__name__}: {error}"}
            write_atomically(folder / FAILURE, json.dumps(failure, ensure_ascii=False))
        raise


class SweepSummary:
    """Write `sweep.csv`, `sweep.md`, `sweep.html` and, for one or two swept keys, `sweep.png` into the sweep's folder.

    Attributes:
        started: time of the multirun's start, in seconds since the epoch.
        jobs: folders of the jobs that ended in this process.
        has_failures: whether a job of any sweep of this process failed, in whatever process it ran.
    """

    has_failures: ClassVar[bool] = False

    def __init__(self) -> None:
        self.started = 0.0
        self.jobs: list[Path] = []

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Note the time, to tell the reports of this sweep from older ones."""
        self.started = time.time()

    def on_job_end(self, config: Any, **kwargs: Any) -> None:
        """Note the job's folder."""
        self.jobs.append(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Write and show the summary, and log a warning if jobs failed."""
        folder = Path(config.hydra.sweep.dir)
        # With a launcher that works in other processes, `on_job_end` is never called in this one.
        rows = collect_jobs(self.jobs or job_folders(folder), self.started)
        failed = [row for row in rows if row["failure"] is not None]
        if failed:
            SweepSummary.has_failures = True
            log.warning("%s", _describe_failures(rows))
        if len(failed) < len(rows):
            write_summary(rows, folder)

    def __getattr__(self, name: str) -> Any:
        # Hydra calls every hook of a callback; the others do nothing.
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


def job_folders(folder: Path) -> list[Path]:
    """List the folders of a sweep's jobs, which Hydra numbers, in the order of their numbers.

    Args:
        folder: the sweep's.
    """
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()), key=lambda path: int(path.name)
    )


def collect_jobs(jobs: Sequence[Path], since: float = 0.0) -> list[dict[str, Any]]:
    """Read the reports of finished jobs, and the reasons why others failed.

    Args:
        jobs: folders of jobs.
        since: seconds since the epoch; an older report counts as missing.

    Returns:
        One row per job, sorted by its values of the swept keys (those whose values differ), with these keys and
        `METRICS`. "failure" is the reason, None for a finished job; a failed job has no other metrics.
    """
    reports = [_read_json(job / "report.json", since) for job in jobs]
    failures = [_read_json(job / FAILURE, since) or {"overrides": None, "reason": "no report"} for job in jobs]
    overrides = [
        _parse_overrides(failure["overrides"] if report is None else report["settings"]["overrides"])
        for report, failure in zip(reports, failures, strict=True)
    ]
    named = [values for values in overrides if values is not None]
    keys = [key for key in (named[0] if named else ()) if len({values.get(key) for values in named}) > 1]
    rows = []
    for job, report, failure, values in zip(jobs, reports, failures, overrides, strict=True):
        swept = {key: None if values is None else _parse_number(values.get(key)) for key in keys}
        metrics = dict.fromkeys(METRICS) | (
            {"failure": f"job {job.name}: {failure['reason']}"} if report is None else _metrics(report)
        )
        rows.append({**swept, **metrics})
    return sorted(rows, key=lambda row: [(row[key] is None, isinstance(row[key], str), row[key]) for key in keys])


def _read_json(path: Path, since: float) -> Any:
    """Read a file that was written since then; None where there is none."""
    if not path.is_file() or path.stat().st_mtime < since:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _parse_overrides(overrides: Sequence[str] | None) -> dict[str, str] | None:
    return None if overrides is None else {item.partition("=")[0]: item.partition("=")[2] for item in overrides}


def _metrics(report: dict[str, Any]) -> dict[str, Any]:
    test, validation = report["test"], report["validation"]
    low, high = test["gap_closed_ci"]
    numbers = {
        **test, "low": low, "high": high, "mean_task_rank": test["mean_task_rank"]["routed"],
        "validation": validation["gap_closed"], "validation_reward": validation["reward"], "failure": None,
    }  # fmt: skip
    ranks = {RANK_IN + group: values["methods"]["routed"]["mean_task_rank"] for group, values in test["groups"].items()}
    return {name: numbers[name] for name in METRICS} | ranks


def best_row(rows: Sequence[dict[str, Any]]) -> int | None:
    """Find the row with the best validation score: the share of the gap closed, or the reward where no row has one.

    Args:
        rows: one per job, with `validation` and `validation_reward`, None where not measured.

    Returns:
        Its place, of equal ones the first; None where no row has a validation score.
    """
    for score in ("validation", "validation_reward"):
        scored = [i for i, row in enumerate(rows) if row[score] is not None]
        if scored:
            return max(scored, key=lambda i: float(rows[i][score]))
    return None


def write_summary(rows: list[dict[str, Any]], folder: Path, console: Console | None = None) -> None:
    """Write the summary's files, and print its table; the row with the best validation score is marked.

    Args:
        rows: of `collect_jobs`; at least one.
        folder: of the sweep.
        console: prints the table; None is the terminal.
    """
    console = console or Console()
    keys = [key for key in rows[0] if key not in METRICS and not key.startswith(RANK_IN)]
    ranks = list(dict.fromkeys(name for row in rows for name in row if name.startswith(RANK_IN)))
    best = best_row(rows)
    heading = [*keys, *METRICS, *ranks]
    texts = [[_format(row.get(name)) for name in heading] for row in rows]
    notes = [CAVEAT, *([_describe_failures(rows)] if any(row["failure"] is not None for row in rows) else [])]
    write_atomically(folder / "sweep.csv", _to_csv(rows, heading))
    lines = ["| " + " | ".join(map(_escape, heading)) + " |", "|" + " ---: |" * len(heading)]
    for i, row in enumerate(texts):
        cells = [_escape(text) for text in row]
        lines.append("| " + " | ".join(f"**{cell}**" if i == best else cell for cell in cells) + " |")
    write_atomically(folder / "sweep.md", "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n")
    plots = _save_plot(rows, keys, best, folder / "sweep.png")
    html_report.write_sweep_page(folder, heading, texts, best, notes, plots)
    console.print(fitting_table(rows, keys, best, console, f"sweep in {folder}"))


def _save_plot(rows: list[dict[str, Any]], keys: list[str], best: int | None, path: Path) -> list[Path]:
    finished = [row for row in rows if row["failure"] is None]
    if best is None or rows[best]["validation"] is None or len(keys) not in (1, 2):
        return []
    with plot_style():
        if len(keys) == 1:
            figure = sweep_plots.plot_sweep(finished, keys[0], finished.index(rows[best]))
        else:
            figure = sweep_plots.plot_sweep_map(finished, (keys[0], keys[1]), finished.index(rows[best]))
    return [save_figure(figure, path)]


def fitting_table(rows: list[dict[str, Any]], keys: list[str], best: int | None, console: Console, title: str) -> Table:
    """Make the terminal's table with as many columns as fit; numbers are never cut.

    Args:
        rows: of `collect_jobs`.
        keys: the swept keys.
        best: place of the marked row.
        console: where it has to fit.
        title: above the table.
    """
    unlimited = console.options.update(max_width=10_000)
    for count in range(len(COLUMNS), 0, -1):
        view = _table(rows, keys, best, count, title)
        if Measurement.get(console, unlimited, view).maximum <= console.width:
            break
    return view


def _table(rows: list[dict[str, Any]], keys: list[str], best: int | None, count: int, title: str) -> Table:
    columns = dict(list(COLUMNS.items())[:count])
    view = Table(title=title)
    for key in keys:
        view.add_column(key, overflow="fold", max_width=24)
    for name in columns:
        view.add_column(name, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        cells = [_format(row[name]) for name in (*keys, *columns.values())]
        if row["failure"] is not None:
            cells[len(keys)] = "failed"
        view.add_row(*map(Text, cells), style="bold" if i == best else "")
    left_out = "" if count == len(COLUMNS) else " All columns are in sweep.md."
    failed = any(row["failure"] is not None for row in rows)
    view.caption = Text(CAVEAT + left_out + (f"\n{_describe_failures(rows)}" if failed else ""))
    return view


def _to_csv(rows: list[dict[str, Any]], heading: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, heading)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _describe_failures(rows: Sequence[dict[str, Any]]) -> str:
    failures = [row["failure"] for row in rows if row["failure"] is not None]
    return f"{len(failures)} of {len(rows)} jobs failed. " + " ".join(f"{reason}." for reason in failures)


def _parse_number(text: str | None) -> float | str:
    try:
        return float(text or "")
    except ValueError:
        return str(text)


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _format(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
