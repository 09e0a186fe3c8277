"""Entry points in processes of their own, forked from one that has loaded PyTorch."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# Loading these takes seconds, which a forked process does without.
PRELOADED = [
    "torch", "transformers.models.bert.modeling_bert", "matplotlib.pyplot", "hydra", "zooter.commands.train",
    "zooter.commands.evaluate", "zooter.commands.calibrate", "zooter.commands.route", "zooter.evaluation.sweep",
    "zooter.collect.responder.openai",
]  # fmt: skip
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOADED)


def run_forked(script: Path, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as `python script arguments…` does in a folder; PyTorch is loaded already."""
    with tempfile.TemporaryDirectory() as outputs:
        streams = Path(outputs) / "out", Path(outputs) / "err"
        process = PROCESSES.Process(target=run_script, args=(script, arguments, folder, streams))
        process.start()
        process.join(300)
        if process.is_alive():
            process.kill()
            process.join()
        output, errors = (path.read_text(encoding="utf-8") for path in streams)
    return subprocess.CompletedProcess([str(script), *arguments], int(process.exitcode or 0), output, errors)


def run_script(script: Path, arguments: list[str], folder: Path, streams: tuple[Path, Path]) -> None:
    """Run a script in this process; what it prints, and its errors, go to two files."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    redirect_output(*streams)
    os.chdir(folder)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def redirect_output(output: Path, errors: Path) -> None:
    """Write what this process prints, and its errors, to files; both may be the same."""
    for descriptor, path in enumerate((output, errors), start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
