"""Whole-process times and peak memory of the main job: `python benchmarks/speed.py RECORDS`.

A first run with an empty cache, one with another β, a sweep of 11 values of β, five folds, `infer.py` on 500 queries.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from zooter import records

ROOT = Path(__file__).resolve().parents[1]
BETAS = ",".join(str(i / 10) for i in range(11))


def measure(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Seconds and peak GiB of one command; its output is shown when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "ZOOTER_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    shown = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} failed:\n{shown}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def main(table: Path) -> None:
    shown = Table(title=f"{table.name}, {os.cpu_count()} cores")
    for heading in ("command", "seconds", "peak GiB"):
        shown.add_column(heading, justify="left" if heading == "command" else "right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queries = folder / "queries.jsonl"
        texts = records.read(table).queries[:500]
        queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in texts), encoding="utf-8")
        train = ["train.py", "experiment=recorded", f"records={table}"]
        commands = {
            "first run": [*train, f"run_dir={folder}/first"],
            "another β": [*train, f"run_dir={folder}/second", "label.beta=0.1"],
            "sweep of 11 β": ["train.py", "-m", *train[1:], f"run_dir={folder}/sweep", f"label.beta={BETAS}"],
            "folds=5": [*train, f"run_dir={folder}/folds", "folds=5"],
            "infer.py, 500 queries": [
                "infer.py", f"export={folder}/first/export", f"queries={queries}", f"out={folder}/out.jsonl",
            ],
        }  # fmt: skip
        for title, arguments in commands.items():
            seconds, peak = measure(arguments, folder / "cache")
            shown.add_row(title, f"{seconds:.1f}", f"{peak:.2f}")
            Console(stderr=True).print(f"{title}: {seconds:.1f} s")
    Console().print(shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
