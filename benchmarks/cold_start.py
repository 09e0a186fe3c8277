"""Measure what serving needs from a fresh environment: `python benchmarks/cold_start.py EXPORT [--index DIR]`.

Builds a wheel, installs it with the extra `serve` alone into a fresh environment, and there measures a process from its
start to its first decision, and its memory; medians of several processes. Fails where torch or Hydra come along.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
TIMES = 7
HEAVY = ("torch", "transformers", "pytorch_lightning", "hydra", "omegaconf", "sklearn", "scipy")
PROGRAM = """
import importlib.util, json, resource, sys, time
began = time.perf_counter()
from zooter.router.onnx_router import OnnxRouter
imported = time.perf_counter()
router = OnnxRouter.from_export(sys.argv[1])
loaded = time.perf_counter()
choices = router.route(["Write a haiku about the sea and then count its syllables, please."])
decided = time.perf_counter()
longest = router.route(["word " * 2_000] * 32)
print(json.dumps({
    "import": imported - began, "load": loaded - imported, "first decision": decided - loaded,
    "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "precision": router.precision,
    "installed": [name for name in %r if importlib.util.find_spec(name)],
    "choice": choices.chosen_candidates()[0], "candidates": router.pool.names,
}))
"""


def install(folder: Path, index: list[str]) -> Path:
    """Make a fresh environment with `zooter[serve]`, and return its bin folder."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    scripts = folder / "venv" / "bin"
    subprocess.run(
        [scripts / "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt",
         *index, f"{ROOT}[serve]"],
        check=True,
    )  # fmt: skip
    return scripts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("export", type=Path)
    parser.add_argument("pip", nargs="*", help="further arguments of pip, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scripts = install(Path(name), arguments.pip)
        measurements, process_seconds = [], []
        for _ in range(TIMES):
            process_started = time.perf_counter()
            completed = subprocess.run(
                [scripts / "python", "-c", PROGRAM % (HEAVY,), arguments.export.resolve()],
                cwd=name, check=True, capture_output=True, text=True,
            )  # fmt: skip
            process_seconds.append(time.perf_counter() - process_started)
            measurements.append(json.loads(completed.stdout))
        subprocess.run([scripts / "zooter", "inspect", arguments.export.resolve()], cwd=name, check=True)
    if measurements[0]["installed"]:
        raise SystemExit(f"zooter[serve] brought {measurements[0]['installed']} along")
    view = Table(
        "what", title=f"a process of its own, zooter\\[serve] alone, {measurements[0]['precision']}, {TIMES} times"
    )
    view.add_column("median", justify="right")
    for key in ("import", "load", "first decision"):
        view.add_row(f"{key}, seconds", f"{statistics.median(row[key] for row in measurements):.2f}")
    started = statistics.median(sum(row[key] for key in ("import", "load", "first decision")) for row in measurements)
    view.add_row("import to first decision, seconds", f"{started:.2f}")
    view.add_row("whole process with 32 long texts, seconds", f"{statistics.median(process_seconds):.2f}")
    view.add_row("peak memory, MB", f"{statistics.median(row['MB'] for row in measurements):.0f}")
    Console().print(view)


if __name__ == "__main__":
    main()
