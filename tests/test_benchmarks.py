"""Benchmarks go on working when the library changes: no test runs them, which takes minutes."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_name_that_a_benchmark_imports_from_zooter_exists(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zooter")]
    missing = [
        f"{node.module}.{name.name}"
        for node in imports
        for name in node.names
        if not hasattr(module := importlib.import_module(str(node.module)), name.name)
        and name.name not in {inner.name for inner in pkgutil.iter_modules(getattr(module, "__path__", ()))}
    ]
    assert missing == []
