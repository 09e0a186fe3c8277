"""Summarise a Hydra multirun in one table, one CSV and one plot of all its jobs.

`SweepSummary` has the methods of a Hydra callback and is named in `conf/train.yaml`; it does not import Hydra.
"""

import csv
import io
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zooter.data.files import write_atomically
from zooter.evaluation import router_plots

log = logging.getLogger(__name__)

METRICS = ("routed", "gap_closed", "low", "high", "best_single", "per_tag_best", "knn", "oracle")


class SweepSummary:
    """Write `sweep.csv`, `sweep.md` and, for a single swept key, `sweep.png` into the sweep's folder.

    Attributes:
        started: time of the multirun's start, in seconds since the epoch.
        jobs: folders of the jobs that ended in this process.
    """

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
        rows, failed = collect_jobs(self.jobs or job_folders(folder), self.started)
        if failed:
            log.warning("%s", _describe_failures(failed, len(rows)))
        if rows:
            write_summary(rows, folder, failed)

    def __getattr__(self, name: str) -> Any:
        # Hydra calls every hook of a callback; the others do nothing.
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


def job_folders(folder: Path) -> list[Path]:
    """List the folders of a sweep's jobs, which Hydra numbers, in the order of their numbers."""
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()), key=lambda path: int(path.name)
    )


def collect_jobs(jobs: Sequence[Path], since: float = 0.0) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the reports of finished jobs.

    Args:
        jobs: folders of jobs.
        since: seconds since the epoch; an older report counts as missing.

    Returns:
        One row per finished job, sorted by its values of the swept keys (those whose values differ), with these keys
        and `METRICS`; and the folder names of the jobs without a report.
    """
    finished = [
        job for job in jobs if (job / "report.json").is_file() and (job / "report.json").stat().st_mtime >= since
    ]
    failed = [job.name for job in jobs if job not in finished]
    reports = [json.loads((job / "report.json").read_text(encoding="utf-8")) for job in finished]
    overrides = [
        {item.partition("=")[0]: item.partition("=")[2] for item in report["settings"]["overrides"]}
        for report in reports
    ]
    keys = [key for key in (overrides[0] if overrides else ()) if len({values.get(key) for values in overrides}) > 1]
    rows = []
    for report, values in zip(reports, overrides, strict=True):
        low, high = report["test"]["gap_closed_ci"]
        metrics = {**report["test"], "low": low, "high": high}
        swept = {key: _parse_number(values.get(key)) for key in keys}
        rows.append({**swept, **{name: metrics[name] for name in METRICS}})
    return sorted(rows, key=lambda row: [(isinstance(row[key], str), row[key]) for key in keys]), failed


def write_summary(rows: list[dict[str, Any]], folder: Path, failed: Sequence[str] = ()) -> None:
    """Write the summary's files, and print its table.

    The row that closes most of the gap is marked. The plot is drawn only for one swept key, if all rows have a gap.

    Args:
        rows: of `collect_jobs`; at least one.
        folder: of the sweep.
        failed: names of failed jobs, for a note below the table.
    """
    keys = [key for key in rows[0] if key not in METRICS]
    heading = [*keys, *METRICS]
    write_atomically(folder / "sweep.csv", _to_csv(rows, heading))
    gaps = [None if row["gap_closed"] is None else float(row["gap_closed"]) for row in rows]
    defined = [-1e9 if gap is None else gap for gap in gaps]
    best = defined.index(max(defined))
    view = Table(title=f"sweep in {folder}")
    lines = ["| " + " | ".join(heading) + " |", "|" + " ---: |" * len(heading)]
    for name in heading:
        view.add_column(name, justify="right")
    for i, row in enumerate(rows):
        cells = [_format(row[name]) for name in heading]
        view.add_row(*map(Text, cells), style="bold" if i == best else "")
        cells = [cell.replace("|", "\\|") for cell in cells]
        lines.append("| " + " | ".join(f"**{cell}**" if i == best else cell for cell in cells) + " |")
    if failed:
        view.caption = _describe_failures(failed, len(rows))
        lines += ["", view.caption]
    write_atomically(folder / "sweep.md", "\n".join(lines) + "\n")
    if len(keys) == 1 and None not in gaps:
        router_plots.save_figure(router_plots.plot_sweep(rows, keys[0]), folder / "sweep.png")
    Console().print(view)


def _to_csv(rows: list[dict[str, Any]], heading: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, heading)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _describe_failures(failed: Sequence[str], finished: int) -> str:
    return f"{len(failed)} of {len(failed) + finished} jobs failed and are left out: {', '.join(failed)}."


def _parse_number(text: str | None) -> float | str:
    try:
        return float(text or "")
    except ValueError:
        return str(text)


def _format(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
