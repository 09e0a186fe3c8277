"""Recorded tables as selectors read them."""

import json
import math
from pathlib import Path

import pytest

from zooter.data import response_table, reward_table
from zooter.data.pool import Candidate, Pool
from zooter.errors import RecordsError


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def row(query: str, candidate: str, **fields: object) -> dict[str, object]:
    return {"query": query, "candidate": candidate, "reward": None, **fields}


def test_samples_are_sorted_and_missing_costs_are_computed_from_prices(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [
        row("q", "b", sample=1, reward=0.0, response="two", input_tokens=10, output_tokens=20),
        row("q", "b", sample=0, reward=1.0, response="one", cost=7.0, truth=0.5,
            first_tokens=[{"token": "on", "logprob": -0.5}]),
        row("q", "a", reward=0.25, response="three", input_tokens=1, output_tokens=1),
    ])  # fmt: skip
    table = response_table.read(file, Pool((Candidate("b", price=2.0), Candidate("a"))))
    cells = table.cells[0]["b"]
    assert [cell.response.text for cell in cells] == ["one", "two"]
    assert [cell.response.cost for cell in cells] == [7.0, 2.0 * 30 / 1e6]
    assert [cell.quality for cell in cells] == [0.5, 0.0]  # the truth where there is one
    assert [cell.response.first_tokens for cell in cells] == [(("on", -0.5),), None]
    assert table.pool.names == ("b", "a")
    assert table.prices["b"] == pytest.approx((7.0 + 6e-5) / 2)
    assert math.isnan(table.prices["a"])
    assert table.rewards().values.tolist() == [[0.5, 0.25]]
    assert table.qualities().values.tolist() == [[0.25, 0.25]]


def test_repeated_rows_count_as_further_samples_as_they_do_in_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewards = [("a", 0, 1.0), ("b", 0, 0.5), ("a", 0, 0.0), ("a", 1, 0.5)]
    file = write(tmp_path / "t.jsonl", [row("q", name, sample=k, reward=reward) for name, k, reward in rewards])
    table = response_table.read(file)
    assert [cell.response.sample for cell in table.cells[0]["a"]] == [0, 1, 2]
    assert [cell.reward for cell in table.cells[0]["a"]] == [1.0, 0.0, 0.5]
    assert table.rewards().values.tolist() == reward_table.read(file).rewards.values.tolist() == [[0.5, 0.5]]
    assert "2 rows of" in caplog.text


def test_an_empty_text_is_refused_by_its_row(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [row("q", "a"), row(" ", "b")])
    with pytest.raises(RecordsError, match=r"'query' of every row.*row 2"):
        response_table.read(file)


def test_a_candidate_of_the_pool_that_is_not_recorded_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [row("q", "a")])
    with pytest.raises(RecordsError, match=r"rows of \['z'\]"):
        response_table.read(file, Pool.from_names(["a", "z"]))


def test_taking_rows_keeps_prices(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [row("q", "a", cost=1.0), row("r", "a", cost=3.0)])
    part = response_table.read(file).take([1])
    assert (part.texts, part.prices["a"]) == (["r"], 2.0)
