"""Files that several tests write, and how hypothesis runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from zooter import evaluate
from zooter.label import Smoothing
from zooter.types import Rewards, Tags

settings.register_profile("house", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("house")


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON Lines; a row may be an object, or a line as text or bytes."""

    def write(*rows: Any, name: str = "table.jsonl", end: str = "\n", start: bytes = b"") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, bytes) else _line(row).encode() for row in rows]
        path.write_bytes(start + b"".join(line + end.encode() for line in lines))
        return path

    return write


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns as Parquet: those of a good table of two queries and two candidates, where not given."""

    def write(name: str = "table.parquet", without: str = "", **columns: Any) -> Path:
        good = {"query": ["q1", "q1", "q2", "q2"], "candidate": ["a", "b", "a", "b"], "reward": [1.0, 0.5, 0.25, 0.0]}
        path = tmp_path / name
        pq.write_table(pa.table({k: v for k, v in {**good, **columns}.items() if k != without}), path)
        return path

    return write


@pytest.fixture
def found() -> dict[str, Any]:
    """A report of 60 training and 40 test queries with missing cells and names that are hard to print."""
    rng = np.random.default_rng(0)
    names = ("a|b", "c<br>*d*", "e\nf", "g $x^$ [h](i)")
    values = rng.random((100, 4))
    values[rng.random((100, 4)) < 0.2] = np.nan
    values[:, 0] = rng.random(100)
    rewards, embeddings = Rewards(values, names), rng.normal(size=(100, 5)).astype(np.float32)
    tags = Tags.of([[f"tag|{i % 3} $\\bad$"] if i % 4 else [] for i in range(100)])
    train, test = np.arange(60), np.arange(60, 100)
    prior = Smoothing().fit(rewards.take(train), tags.take(train))
    outcome = evaluate.outcome(
        rng.dirichlet(np.ones(4), 40),
        prior,
        (embeddings[train], embeddings[test]),
        (rewards.take(train), rewards.take(test)),
        (tags.take(train), tags.take(test)),
    )
    return {
        "test": evaluate.summary(outcome),
        "data": {"queries": 100, "dropped": 2, "cells": 400, "missing_cells": int(np.isnan(values).sum())},
        "settings": {"label": {"beta": 0.3}, "overrides": ["label.beta=0.3"]},
    }


def _line(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
