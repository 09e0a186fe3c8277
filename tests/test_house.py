"""The layers of the house: imports point strictly down, and the outside stays where it belongs."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "zooter"

# Lower floors know nothing of higher ones, and rooms on one floor do not know one another.
FLOORS = [
    ["errors"],
    ["types", "pool", "entry", "skills"],
    ["ledger", "columns"],
    ["split", "store", "tables", "label", "metric", "margin", "curve", "manifest", "surface", "tokens", "quantise"],
    ["records", "recorded", "encoder", "objective", "baseline", "tasks", "cells", "progress", "runtime", "inspect"],
    ["responder", "reader"],
    ["net", "tagger", "rewarder", "ask"],
    ["recipe", "router", "start", "evaluate", "live", "labelled"],
    ["batches"],
    ["distill", "export", "plot", "plan", "crossfit", "drift", "graph", "student"],
    ["selector", "portable"],
    ["replay", "flight", "account"],
    ["contest"],
    ["standing"],
    ["report", "chart", "sweep", "begin", "infer", "serve", "settings"],
    ["board"],
    ["compare", "calibrate", "imitate"],
    ["pipeline", "command"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
WITHOUT_TORCH = ({room for floor in FLOORS[:4] for room in floor} - {"skills"}) | {
    "records", "baseline", "evaluate", "plot", "report", "cells", "progress", "ask", "live", "plan", "labelled",
    "ledger", "recorded", "replay", "flight", "tasks", "account", "contest", "standing", "chart", "board",
    "runtime", "inspect",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports anywhere in it; `from zooter import x` counts as zooter.x."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def room(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def test_every_module_has_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms == set(FLOOR_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_strictly_down(path: Path) -> None:
    mine = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    others = {room(name) for name in imports(path) if name.startswith("zooter.")} - {"", mine}
    upward = {other for other in others if FLOOR_OF[other] >= FLOOR_OF[mine]}
    assert not upward, f"{mine} (floor {FLOOR_OF[mine]}) imports {upward}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_hydra_stops_at_the_door(path: Path) -> None:
    assert not {name for name in imports(path) if name.split(".")[0] in {"hydra", "omegaconf"}}


@pytest.mark.parametrize("name", sorted(WITHOUT_TORCH))
def test_the_lower_floors_do_without_torch(name: str) -> None:
    heavy = {found.split(".")[0] for found in imports(PACKAGE / f"{name}.py")}
    assert not heavy & {"torch", "transformers", "pytorch_lightning"}


def test_nothing_is_exported_again_by_an_init_file() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert not imports(path), path


def test_every_test_file_stands_for_a_module_or_a_whole() -> None:
    wholes = {"house", "conf", "smoke", "zoo", "notebooks", "transformers_serve"}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert tested - wholes <= set(FLOOR_OF)
    assert {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")} <= set(FLOOR_OF)


def test_routing_and_serving_install_nothing_that_trains() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = {re.match(r"[\w-]+", given).group() for given in [*project["dependencies"], *extras["serve"]]}  # type: ignore[union-attr]
    trains = {re.match(r"[\w-]+", given).group() for given in extras["train"]} - {"pyarrow"}  # type: ignore[union-attr]
    assert {"torch", "transformers", "pytorch-lightning", "hydra-core", "omegaconf"} <= trains
    assert not names & trains
    assert len(project["dependencies"]) < 6
