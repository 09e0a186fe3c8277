"""Benchmarks go on working when the library changes: no test runs them, which takes minutes."""

import ast
import importlib
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_name_that_a_benchmark_imports_from_zooter_exists(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
        if node.module and node.module.split(".")[0] == "zooter":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):  # then it is a module in a package, or there is none
                    importlib.import_module(f"{node.module}.{name.name}")
