"""Battles of two models."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.evaluations import cells, read_rows, write_json, write_lines

from zooter.errors import RecordsError


def battle(winner: str, text: str = "Hi", **changes: Any) -> dict[str, Any]:
    """Return a battle as LMArena's data sets of 33, 100 and 140 thousand have it."""
    return {
        "question_id": "x", "model_a": "alpha", "model_b": "beta", "winner": winner, "judge": "j", "turn": 1,
        "conversation_a": [{"role": "user", "content": text}, {"role": "assistant", "content": "A!"}],
        "conversation_b": [{"role": "user", "content": text}, {"role": "assistant", "content": "B!"}],
        "language": "English", "is_code": False, **changes,
    }  # fmt: skip


def test_the_winner_has_half_the_loser_minus_half_and_ties_zero(tmp_path: Path) -> None:
    winners = ["model_a", "model_b", "tie", "tie (bothbad)", "both_bad"]
    rows = read_rows(write_lines(tmp_path / "b.jsonl", *(battle(winner) for winner in winners)))
    assert [row["reward"] for row in rows] == [0.5, -0.5, -0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert [(row["candidate"], row["response"]) for row in rows[:2]] == [("alpha", "A!"), ("beta", "B!")]
    assert {row["query"] for row in rows} == {"Hi"}


def test_categories_that_are_true_are_tags(tmp_path: Path) -> None:
    categories = {"math_v0.1": {"math": True}, "criteria_v0.1": {"complexity": False, "specificity": True}}
    path = tmp_path / "battles.parquet"
    pq.write_table(pa.Table.from_pylist([battle("tie", category_tag=categories, is_code=True)]), path)
    assert read_rows(path)[0]["tags"] == ["math", "specificity", "code"]


def test_turns_are_joined_and_contents_may_be_parts(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image", "image": "…"}]},
             {"role": "assistant", "content": "ok"}, {"role": "user", "content": "two"}]  # fmt: skip
    assert read_rows(write_json(tmp_path / "b.json", [battle("tie", conversation_a=turns)]))[0]["query"] == "one\ntwo"


def test_the_competitions_csv_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "model_a", "model_b", "prompt", "response_a", "response_b",
                         "winner_model_a", "winner_model_b", "winner_tie"])  # fmt: skip
        writer.writerow([1, "alpha", "beta", json.dumps(['Say\n"hi"', "again"]), '["hi", null]', '["no"]', 0, 1, 0])
    rows = read_rows(path)
    assert cells(rows) == [('Say\n"hi"\nagain', "alpha", -0.5), ('Say\n"hi"\nagain', "beta", 0.5)]
    assert [row["response"] for row in rows] == ["hi", "no"]


def test_winners_and_losers_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("query,winner,loser,tie\nHi,alpha,beta,false\nHello,beta,alpha,\nHey,alpha,beta,true\n")
    assert cells(read_rows(path)) == [
        ("Hi", "alpha", 0.5), ("Hi", "beta", -0.5), ("Hello", "beta", 0.5), ("Hello", "alpha", -0.5),
        ("Hey", "alpha", 0.0), ("Hey", "beta", 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (battle("left"), "as 'winner' in .*line 2; found 'left'"),
        (battle("tie", model_b=None), "a text as 'model_b' in .*line 2; found nothing"),
        (battle("tie", conversation_a=[]), "the user's text in 'conversation_a'"),
    ],
)
def test_a_faulty_battle_is_refused_by_file_and_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        read_rows(write_lines(tmp_path / "b.jsonl", battle("tie"), row), "arena")


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "b.json", [battle("tie"), battle("tie")])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RecordsError, match=r"b\.json, row 2"):
        read_rows(path)
