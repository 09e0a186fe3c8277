"""The end of a Hydra multirun: one table, one CSV and one plot of all its jobs.

`Summary` has the methods of a Hydra callback and is named in `conf/train.yaml`; it does not import Hydra.
"""

import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zooter import plot
from zooter.store import write_atomically

log = logging.getLogger(__name__)

METRICS = ("routed", "gap_closed", "low", "high", "best_single", "per_tag_best", "knn", "oracle")


class Summary:
    """Writes `sweep.csv`, `sweep.md` and, for one swept key, `sweep.png` into the sweep's folder."""

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        rows = collect(folder)
        if rows:
            summarise(rows, folder)

    def __getattr__(self, name: str) -> Any:
        # Hydra calls every hook of a callback; this one has nothing to do in the others.
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)


def collect(folder: Path) -> list[dict[str, Any]]:
    """One row per finished job: the swept keys, which are those whose values differ, and the metrics."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/report.json"))]
    overrides = [dict(item.split("=", 1) for item in found["settings"]["overrides"]) for found in reports]
    keys = [key for key in (overrides[0] if overrides else ()) if len({row.get(key) for row in overrides}) > 1]
    rows = []
    for found, given in zip(reports, overrides, strict=True):
        test = found["test"]
        low, high = test["gap_closed_ci"]
        values = {**test, "low": low, "high": high}
        rows.append({**{key: _value(given.get(key)) for key in keys}, **{name: values[name] for name in METRICS}})
    return sorted(rows, key=lambda row: [(isinstance(row[key], str), row[key]) for key in keys])


def summarise(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the three files and show the table; the row that closes most of the gap is marked."""
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
        shown.add_row(*cells, style="bold" if i == best else "")
        lines.append("| " + " | ".join(f"**{cell}**" if i == best else cell for cell in cells) + " |")
    head = ["| " + " | ".join(heading) + " |", "|" + " ---: |" * len(heading)]
    write_atomically(folder / "sweep.md", "\n".join([*head, *lines]) + "\n")
    if len(keys) == 1 and min(closed) > -1e9:
        plot.save(plot.sweep(rows, keys[0]), folder / "sweep.png")
    Console().print(shown)


def _value(text: str | None) -> float | str:
    try:
        return float(text or "")
    except ValueError:
        return str(text)


def _show(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
