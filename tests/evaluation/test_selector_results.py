"""Selections as arrays, and as a table of all selections."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from zooter.data.types import Query, Response
from zooter.evaluation import selector_results
from zooter.selector.ledger import Fee, Ledger
from zooter.selector.protocol import RecordedSelection, Selection

ONE = Response("q0", "a", 0, "x", input_tokens=3, output_tokens=2, cost=1.0, seconds=0.5)
TWO = Response("q0", "b", 1, "y", input_tokens=4, output_tokens=5, cost=2.0, seconds=0.25)
FAILED = Response("q1", "a", 0, "", error="down")
FREE = Response("q2", "b", 0, "z")
DECIDED = [
    RecordedSelection(
        Query("q0", "first"), Selection(TWO, 0.75, "surer"), Ledger([[ONE, ONE], [TWO]], [Fee("router", 0.5, 0.125)])
    ),
    RecordedSelection(Query("q1", "second"), Selection(None), Ledger([[FAILED]])),
    RecordedSelection(Query("q2", "third"), Selection(FREE), Ledger([[FREE]])),
]
QUALITY = np.array([1.0, 0.0, 0.5])


def test_the_results_of_three_selections() -> None:
    results = selector_results.collect_results(DECIDED, QUALITY, ["a", "b"])
    assert results.cost[:2].tolist() == [4.5, 0.0]
    assert math.isnan(results.cost[2])  # answered at an unknown cost
    assert results.fees.tolist() == [0.5, 0.0, 0.0]
    assert results.calls.tolist() == [[2, 1], [1, 0], [0, 1]]
    assert results.samples.tolist() == [3, 1, 1]
    assert results.tokens.tolist() == [[10, 9], [0, 0], [0, 0]]
    assert results.rounds.tolist() == [2, 1, 1]
    assert results.seconds.tolist() == [0.875, 0.0, 0.0]
    assert results.failed.tolist() == [0, 1, 0]
    assert results.chosen.tolist() == [1, -1, 1]


def test_every_decision_is_a_row_from_which_the_numbers_follow(tmp_path: Path) -> None:
    results = {name: selector_results.collect_results(DECIDED, QUALITY, ["a", "b"]) for name in ("one", "two")}
    selector_results.write_decisions(tmp_path / "decisions.parquet", {"one": DECIDED, "two": DECIDED}, results)
    rows = pq.read_table(tmp_path / "decisions.parquet").to_pylist()
    assert [row["selector"] for row in rows] == ["one"] * 3 + ["two"] * 3
    assert {key: rows[0][key] for key in ("query_id", "candidate", "sample", "quality", "confidence", "why")} == {
        "query_id": "q0", "candidate": "b", "sample": 1, "quality": 1.0, "confidence": 0.75, "why": "surer",
    }  # fmt: skip
    assert json.loads(rows[0]["calls"]) == {"a": 2, "b": 1}
    assert (rows[0]["cost"], rows[0]["fees"], rows[0]["seconds"]) == (4.5, 0.5, 0.875)
    assert (rows[1]["candidate"], rows[1]["sample"], rows[1]["failed"]) == (None, None, 1)
    assert rows[2]["cost"] is None
