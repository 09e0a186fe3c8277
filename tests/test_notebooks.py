"""The notebooks run as they are, on a small run of the zoo, and are in git with small outputs."""

import base64
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from PIL import Image
from support.paths import ROOT
from support.processes import run_forked

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LEAST_PICTURES = {"01_read_a_run": 5, "02_sweep_beta": 1, "03_compare_selectors": 4}
MAX_BYTES = 500_000
# Absolute paths, objects' addresses, terminal colours, progress bars and dates.
NOISE = re.compile(
    r"(?<![\w.])/(tmp|home|work|root|Users)/|0x[0-9a-f]{6,}|\x1b\[|it/s|━|\d\d:\d\d:\d\d|20\d\d-\d\d-\d\d"
)


def load_execute() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute_notebooks", ROOT / "notebooks" / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = load_execute()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 queries; its folder stands where the notebooks look."""
    folder = tmp_path_factory.mktemp("notebooks")
    arguments = ["experiment=zoo", "reader.count=120", "compare_beta=[]", "logger=none"]
    arguments += [f"run_dir={folder}/run", f"cache_dir={folder}/cache"]
    done = run_forked(ROOT / "train.py", arguments, ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_the_notebooks_are_these() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(LEAST_PICTURES)


def texts(output: Any) -> list[str]:
    """What an output shows as text."""
    shown = [output.get("text", ""), *output.get("data", {}).values()]
    return [text for text in shown if isinstance(text, str)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_git_is_short_and_shows_what_every_cell_is_for(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert len(notebook.cells) <= 16
    assert all(len(cell.source.splitlines()) <= 25 for cell in notebook.cells)
    assert pictures(notebook) >= LEAST_PICTURES[path.stem]
    assert path.stat().st_size < MAX_BYTES, "python notebooks/execute.py makes pictures small"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_in_git_differs_from_machine_to_machine(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    for cell in cells:
        assert "execution" not in cell.metadata, "times"
        for output in cell.outputs:
            assert output.output_type in ("display_data", "execute_result"), "errors, warnings and progress bars"
            for text in texts(output):
                assert not NOISE.search(text), NOISE.search(text)


def test_a_picture_is_made_small_without_losing_its_shape() -> None:
    picture = Image.effect_noise((200, 100), 80.0)
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    small = base64.b64decode(execute.shrink(base64.b64encode(buffer.getvalue()).decode()))
    assert Image.open(io.BytesIO(small)).size == (200, 100)
    assert len(Image.open(io.BytesIO(small)).getcolors()) <= execute.COLOURS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_shows_pictures(
    run: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"RUN": str(run), "BETAS": "0,1", "SELECTORS": "routed,margin", "CACHE": str(run.parent / "cache")}
    for key, value in given.items():
        monkeypatch.setenv(f"ZOOTER_{key}", value)
    assert pictures(execute.execute(path)) >= LEAST_PICTURES[path.stem]


@pytest.mark.slow
def test_a_notebook_without_a_run_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOTER_RUN", str(tmp_path / "made"))
    monkeypatch.setenv("ZOOTER_CACHE", str(tmp_path / "cache"))
    assert pictures(execute.execute(NOTEBOOKS[0])) >= LEAST_PICTURES[NOTEBOOKS[0].stem]
    assert (tmp_path / "made" / "report.json").is_file()
