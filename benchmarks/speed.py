"""Measure whole-process times, CPU times and peak memory: `python benchmarks/speed.py [RECORDS]`.

With RECORDS a first run with an empty cache, one with another β, a sweep of 11 values of β, five folds, `infer.py` on
500 queries; always the embedded zoo's run, and the same once more with nothing missing, which may ask nothing.
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

from zooter.data import reward_table

ROOT = Path(__file__).resolve().parents[1]
BETAS = ",".join(str(i / 10) for i in range(11))


def measure(arguments: list[str], cache: Path) -> tuple[float, float, float, str]:
    """Run a command; return its seconds, seconds of CPU, peak GiB and output. Stop with its output if it fails."""
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
    view = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} failed:\n{view}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - started, cpu_seconds, usage.ru_maxrss / 2**20, view


def recorded_commands(table: Path, folder: Path) -> dict[str, list[str]]:
    """List the commands on a recorded table."""
    queries = folder / "queries.jsonl"
    texts = reward_table.read(table).queries[:500]
    queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in texts), encoding="utf-8")
    train = ["train.py", "experiment=recorded", f"records={table}"]
    return {
        "first run": [*train, f"run_dir={folder}/first"],
        "first run, encoder=ngrams": [*train, f"run_dir={folder}/ngrams", "encoder=ngrams"],
        "another β": [*train, f"run_dir={folder}/second", "label.beta=0.1"],
        "sweep of 11 β": ["train.py", "-m", *train[1:], f"run_dir={folder}/sweep", f"label.beta={BETAS}"],
        "folds=5": [*train, f"run_dir={folder}/folds", "folds=5"],
        "infer.py, 500 queries": [
            "infer.py", f"export={folder}/first/export", f"queries={queries}", f"out={folder}/out.jsonl",
        ],
    }  # fmt: skip


def main(table: Path | None) -> None:
    view = Table(title=f"{table.name if table else 'the zoo'}, {os.cpu_count()} cores")
    for heading in ("command", "seconds", "processor", "peak GiB"):
        view.add_column(heading, justify="left" if heading == "command" else "right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repeated = "experiment=zoo, nothing missing"
        commands = recorded_commands(table, folder) if table else {}
        commands["experiment=zoo, first run"] = ["train.py", "experiment=zoo", f"run_dir={folder}/zoo"]
        commands[repeated] = ["train.py", "experiment=zoo", f"run_dir={folder}/zoo_again"]
        for title, arguments in commands.items():
            seconds, cpu_seconds, peak, output = measure(arguments, folder / "cache")
            if title == repeated and ("asking for" in output or "rewards in" in output):
                raise SystemExit(f"something was asked or rewarded again:\n{output}")
            view.add_row(title, f"{seconds:.1f}", f"{cpu_seconds:.1f}", f"{peak:.2f}")
            Console(stderr=True).print(f"{title}: {seconds:.1f} s")
    Console().print(view)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
