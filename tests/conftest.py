"""Files that several tests write, and how hypothesis runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

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


def _line(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
