"""The layers of the package: imports point strictly down, and heavy libraries stay where they are needed."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "src" / "zooter"

# The pipeline: a package imports only packages before it. `serve` and `evaluation` are of one layer.
LAYERS = [
    {"errors"},
    {"data"},
    {"metrics"},
    {"collect"},
    {"router"},
    {"training"},
    {"selector"},
    {"evaluation", "serve"},
    {"commands"},
]
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
# What serving an ONNX export imports: none of it may load torch.
SERVING = ["router.onnx_router", "router.loading", "serve.server", "serve.selector_loading"]
HEAVY = {"torch", "transformers", "pytorch_lightning", "sklearn", "scipy", "matplotlib"}


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports anywhere in it; `from zooter import x` counts as zooter.x."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def package_of(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def test_the_listing_of_the_package_is_the_pipeline() -> None:
    packages = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert packages == set(LAYER_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_strictly_down(path: Path) -> None:
    mine = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    others = {package_of(name) for name in imports(path) if name.startswith("zooter.")} - {"", mine}
    upward = {other for other in others if LAYER_OF[other] >= LAYER_OF[mine]}
    assert not upward, f"{mine} (layer {LAYER_OF[mine]}) imports {upward}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_commands_import_hydra(path: Path) -> None:
    configured = path in (PACKAGE / "commands" / "hydra_app.py", PACKAGE / "commands" / "hydra_errors.py")
    assert bool({name for name in imports(path) if name.split(".")[0] in {"hydra", "omegaconf"}}) == configured


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("name", SERVING)
def test_serving_an_export_imports_nothing_that_trains(name: str) -> None:
    script = f"import sys, zooter.{name}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not loaded.stdout.split()


def test_the_init_files_of_packages_import_nothing() -> None:
    for path in PACKAGE.rglob("*/__init__.py"):
        assert not imports(path), path


def test_every_test_file_stands_where_its_module_does() -> None:
    whole = {f"serve/test_{name}.py" for name in ("export", "faults", "fuzz", "live_zoo")}
    whole |= {"collect/reader/test_skills.py", "training/tagger/test_tagger.py"}
    whole |= {"commands/test_import_faults.py", "evaluation/test_pages_in_a_browser.py"}
    whole |= {"data/formats/test_inspect_log_against_inspect.py"}
    for path in sorted((ROOT / "tests").glob("*/**/test_*.py")):
        module = PACKAGE / path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        assert module.exists() or path.relative_to(ROOT / "tests").as_posix() in whole, path


def test_routing_and_serving_install_nothing_that_trains() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = {re.match(r"[\w-]+", given).group() for given in [*project["dependencies"], *extras["serve"]]}  # type: ignore[union-attr]
    trains = {re.match(r"[\w-]+", given).group() for given in extras["train"]} - {"pyarrow"}  # type: ignore[union-attr]
    assert {"torch", "transformers", "pytorch-lightning", "hydra-core", "omegaconf"} <= trains
    assert not names & trains
    assert len(project["dependencies"]) < 6
