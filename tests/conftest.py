"""Shared fixtures, and the settings of hypothesis."""

import base64
import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hypothesis import settings
from support.paths import CONF

from zooter.data.types import Rewards, Tags
from zooter.evaluation import router_metrics
from zooter.training.labels import TagSmoothing

settings.register_profile("zooter", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("zooter")


# Modules that take longest, the longest first: one of them must not start when the other worker has nothing left.
LONGEST = (
    "test_notebooks", "test_smoke", "commands/test_train", "test_transformers_serve", "serve/test_live_zoo",
    "commands/test_fit", "collect/test_respond", "serve/test_reload", "commands/test_to_huggingface",
    "test_zooter_paper", "test_combinations",
    "serve/test_faults", "collect/rewarder/checking/test_sandbox", "router/test_onnx_router",
)  # fmt: skip


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)  # PNG


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first."""
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Exclude imported objects from garbage collection, which would stop servers in threads for tenths of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on a made-up table and return the export with its ONNX form. Tests that change it must change a copy.

    It is trained once: the first worker that needs it trains, another waits. Beside it stand its encoder, its table and
    its cache.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"  # workers share the parent
    with FileLock(home.with_suffix(".lock")):
        if not (home / "run" / "export").exists():
            _train(home)
    return home / "run" / "export"


def _train(home: Path) -> None:
    # Loading torch takes seconds, which most tests do without.
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from support.made_up import encoder_folder, table

    from zooter.commands import config, train

    home.mkdir(exist_ok=True)
    encoder_folder(home / "encoder")
    overrides = [
        f"records={table(home / 'table.parquet')}", f"run_dir={home / 'run'}", f"cache_dir={home / 'cache'}",
        f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]", "trainer=cpu", "net.lr=1e-3", "logger=none",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("train", overrides), resolve=True)
    assert isinstance(values, dict)
    train.run(config.build(values), values)


@pytest.fixture
def undrawn_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write one pixel for each plot: drawing takes a quarter of a small training, and is tested with the plots."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(PIXEL))


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes rows as JSON Lines; a row may be an object, or a line as text or bytes."""

    def write(*rows: Any, name: str = "table.jsonl", end: str = "\n", start: bytes = b"") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, bytes) else _line(row).encode() for row in rows]
        path.write_bytes(start + b"".join(line + end.encode() for line in lines))
        return path

    return write


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes columns as Parquet, by default a valid table of two queries and two candidates."""

    def write(name: str = "table.parquet", without: str = "", **columns: Any) -> Path:
        valid = {"query": ["q1", "q1", "q2", "q2"], "candidate": ["a", "b", "a", "b"], "reward": [1.0, 0.5, 0.25, 0.0]}
        path = tmp_path / name
        pq.write_table(pa.table({k: v for k, v in {**valid, **columns}.items() if k != without}), path)
        return path

    return write


@pytest.fixture
def report() -> dict[str, Any]:
    """Make a report of 60 training and 40 test queries with missing cells and names that are hard to print."""
    rng = np.random.default_rng(0)
    names = ("a|b", "c<br>*d*", "e\nf", "g $x^$ [h](i)")
    values = rng.random((100, 4))
    values[rng.random((100, 4)) < 0.2] = np.nan
    values[:, 0] = rng.random(100)
    rewards, embeddings = Rewards(values, names), rng.normal(size=(100, 5)).astype(np.float32)
    tags = Tags.from_rows([[f"tag|{i % 3} $\\bad$"] if i % 4 else [] for i in range(100)])
    train, test = np.arange(60), np.arange(60, 100)
    prior = TagSmoothing().fit(rewards.take(train), tags.take(train))
    outcome = router_metrics.evaluate_router(
        rng.dirichlet(np.ones(4), 40),
        prior,
        (embeddings[train], embeddings[test]),
        (rewards.take(train), rewards.take(test)),
        (tags.take(train), tags.take(test)),
    )
    return {
        "test": router_metrics.summarise(outcome, {"tag|0 $\\bad$": "first|group", "tag|1 $\\bad$": "second"}),
        "validation": {"queries": 12, "reward": 0.5, "best_single": 0.4, "oracle": 0.9, "gap_closed": 0.2},
        "data": {"queries": 100, "dropped": 2, "cells": 400, "missing_cells": int(np.isnan(values).sum())},
        "settings": {"label": {"beta": 0.3}, "overrides": ["label.beta=0.3"]},
    }


def _value(mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "ci": [mean if low is None else low, mean if high is None else high]}


def _selector(quality: float, over: dict[str, Any], cost: float | None = 0.00125) -> dict[str, Any]:
    return {
        "queries": 40, "quality": _value(quality, quality - 0.1, quality + 0.1), "cost": _value(cost),
        "gap_closed": _value(0.5), "over_best_single": {**over, "queries": 40}, "arena": _value(None),
        "mean_task_rank": 1.5, "uplift": 0.5,
        "calls": {"a|b": 1.0, "$c$": 0.5}, "samples": 1.5, "tokens": [3.0, 4.0], "fees": 0.0, "rounds": 1.25,
        "seconds": 0.5, "failed": 2, "unanswered": 0, "chosen": {"a|b": 1.0, "$c$": 0.0},
    }  # fmt: skip


@pytest.fixture
def compared() -> dict[str, Any]:
    """Make the report of a comparison of three selectors on two candidates, with names that are hard to print."""
    points = {"budgets": [0.001, 0.002], "quality": [0.4, 0.6], "cost": [0.001, 0.002], "strong": [0.0, 1.0]}
    return {
        "queries": 40, "trained_on": 60, "measured_by": "reward", "best_single": "a|b", "weak": "$c$", "strong": "a|b",
        "notes": ["7 responses have *no* reward"],
        "selectors": {
            "best_single": _selector(0.5, _value(0.0)), "oracle": _selector(0.9, _value(0.4)),
            "margin": _selector(0.7, _value(0.2, 0.1, 0.3)), "bad": _selector(0.3, _value(-0.2, -0.3, -0.1)),
            "even": _selector(0.52, _value(0.02, -0.1, 0.1)),
        },
        "groups": {}, "differences": {}, "savings": {"margin": {**_value(0.25, 0.2, 0.3), "samples": 12.0}},
        "tags": [{"tag": "t|1", "queries": 40, "candidates": [0.5, None], "best_single": 0.5, "oracle": 0.9,
                  "margin": 0.7, "bad": 0.3, "even": 0.52}],
        "candidates": {"singles": {"a|b": {"quality": 0.5, "cost": 0.002, "mean_task_rank": 1.0, "uplift": 1.0},
                                   "$c$": {"quality": 0.4, "cost": 0.001, "mean_task_rank": None, "uplift": None}},
                       "hull": [[0.001, 0.002], [0.4, 0.5]], "aiq": 0.45},
        "agreement": {"a|b": {"queries": 40, "answers": "number", "pearson": _value(-0.7, -0.8, -0.6),
                              "bits": [0.0, 1.0], "quality": [0.9, 0.1]}},
        "coverage": None,
        "curves": {"margin": {**points, "area": _value(0.5, 0.4, 0.6), "aiq": _value(0.55), "apgr": _value(0.6),
                              "cpt": {"20%": _value(0.1), "50%": _value(0.3), "80%": _value(None)}}},
        "data": {"path": "x"}, "settings": {"selectors": ["margin"]}, "seconds": 1.0,
    }  # fmt: skip


def _line(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
