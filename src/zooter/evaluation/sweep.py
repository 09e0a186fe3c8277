"""The end of a Hydra multirun: one table, one CSV and one plot of all its jobs.

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
    """Writes `sweep.csv`, `sweep.md` and, for one swept key, `sweep.png` into the sweep's folder."""

    def __init__(self) -> None:
        self.started = 0.0
        self.jobs: list[Path] = []

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        self.started = time.time()

    def on_job_end(self, config: Any, **kwargs: Any) -> None:
        self.jobs.append(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        # A launcher that works in other processes tells this one of no job.
        rows, failed = collect(self.jobs or job_folders(folder), self.started)
        if failed:
            log.warning("%s", _failed(failed, len(rows)))
        if rows:
            summarise(rows, folder, failed)

    def __getattr__(self, name: str) -> Any:
        # Hydra calls every hook of a callback; this one has nothing to do in the others.
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


def job_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's jobs, which Hydra numbers, in the order of their numbers."""
    return sorted((path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()), key=_number)


def collect(jobs: Sequence[Path], since: float = 0.0) -> tuple[list[dict[str, Any]], list[str]]:
    """One row per finished job, and the names of the others: without a report, or with one older than `since`.

    A row has the swept keys, which are those whose values differ, and the metrics.
    """
    done = [job for job in jobs if (job / "report.json").is_file() and (job / "report.json").stat().st_mtime >= since]
    failed = [job.name for job in jobs if job not in done]
    reports = [json.loads((job / "report.json").read_text(encoding="utf-8")) for job in done]
    overrides = [
        {item.partition("=")[0]: item.partition("=")[2] for item in r["settings"]["overrides"]} for r in reports
    ]
    keys = [key for key in (overrides[0] if overrides else ()) if len({row.get(key) for row in overrides}) > 1]
    rows = []
    for found, given in zip(reports, overrides, strict=True):
        test = found["test"]
        low, high = test["gap_closed_ci"]
        values = {**test, "low": low, "high": high}
        rows.append({**{key: _value(given.get(key)) for key in keys}, **{name: values[name] for name in METRICS}})
    return sorted(rows, key=lambda row: [(isinstance(row[key], str), row[key]) for key in keys]), failed


def summarise(rows: list[dict[str, Any]], folder: Path, failed: Sequence[str] = ()) -> None:
    """Write the three files and show the table; the row that closes most of the gap is marked, failed jobs are told."""
    keys = [key for key in rows[0] if key not in METRICS]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*keys, *METRICS])
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "sweep.csv", buffer.getvalue())
    closed = [-1e9 if row["gap_closed"] is None else float(row["gap_closed"]) for row in rows]
    best = closed.index(max(closed))
    shown = Table(title=f"sweep in {folder}")
    lines = []
    heading = [*keys, *METRICS]
    for name in heading:
        shown.add_column(name, justify="right")
    for i, row in enumerate(rows):
        cells = [_show(row[name]) for name in heading]
        shown.add_row(*map(Text, cells), style="bold" if i == best else "")
        cells = [cell.replace("|", "\\|") for cell in cells]
        lines.append("| " + " | ".join(f"**{cell}**" if i == best else cell for cell in cells) + " |")
    head = ["| " + " | ".join(heading) + " |", "|" + " ---: |" * len(heading)]
    if failed:
        shown.caption = _failed(failed, len(rows))
        lines += ["", shown.caption]
    write_atomically(folder / "sweep.md", "\n".join([*head, *lines]) + "\n")
    if len(keys) == 1 and min(closed) > -1e9:
        router_plots.save_figure(router_plots.sweep(rows, keys[0]), folder / "sweep.png")
    Console().print(shown)


def _failed(failed: Sequence[str], finished: int) -> str:
    return f"{len(failed)} of {len(failed) + finished} jobs failed and are left out: {', '.join(failed)}."


def _number(job: Path) -> int:
    return int(job.name)


def _value(text: str | None) -> float | str:
    try:
        return float(text or "")
    except ValueError:
        return str(text)


def _show(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
