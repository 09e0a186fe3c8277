"""README.md shows what its commands print: `make run`, and what tags and β do to one of its queries."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
METHOD = re.compile(r"^ (\S.*?) {2,}(\d\.\d{3}) ", re.MULTILINE)
NUMBER = re.compile(r"(-?\d+\.?\d*)")


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=3_600, check=False,
        env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def block_with(words: str) -> str:
    return next(block for block in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if words in block)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """`make run`; returns the run's folder and what was printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder / "run", python("train.py", "experiment=zoo", f"run_dir={folder}/run", f"cache_dir={folder}/cache")


def test_the_methods_have_the_rewards_that_are_shown(run: tuple[Path, str]) -> None:
    """Rewards differ in the third decimal between one thread and several."""
    shown, printed = (dict(METHOD.findall(text)) for text in (block_with("routed, β = 0.3"), run[1]))
    assert len(shown) == 9
    assert {name: float(value) for name, value in printed.items()} == pytest.approx(
        {name: float(value) for name, value in shown.items()}, abs=0.01
    )


def test_tags_and_beta_do_what_is_shown(run: tuple[Path, str]) -> None:
    shown, printed = block_with("smoothed (β = 0.3)"), python("benchmarks/smoothing.py", str(run[0]))
    words = [" ".join(NUMBER.sub("", text).split()) for text in (shown, printed)]
    assert words[0] == words[1]
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (shown, printed)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.03, rel=0.03)
