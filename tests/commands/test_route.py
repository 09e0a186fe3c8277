"""Routing from the command line."""

import json
from pathlib import Path

import pytest

from zooter.commands.route import RouteSettings, run
from zooter.errors import ConfigError


def test_torch_and_onnx_make_the_same_decisions(export: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"query": "please add sum", "query_id": "7"}\n{"query": "please rhyme verse"}\n')
    onnx, torch = (
        [json.loads(line) for line in run(RouteSettings(export, queries=queries, device=device))]
        for device in (None, "cpu")
    )
    assert [row["candidate"] for row in onnx] == [row["candidate"] for row in torch] == ["calculator", "poet"]
    assert onnx[0]["query_id"] == torch[0]["query_id"] == "7"
    for first, second in zip(onnx, torch, strict=True):
        assert first["probs"] == pytest.approx(second["probs"], abs=0.05)


def test_decisions_go_to_a_file_where_one_is_named(export: Path, tmp_path: Path) -> None:
    assert list(run(RouteSettings(export, query="please add sum", out=tmp_path / "out.jsonl"))) == []
    assert json.loads((tmp_path / "out.jsonl").read_text())["candidate"] == "calculator"


@pytest.mark.parametrize(("query", "queries", "words"), [(None, None, "neither"), ("text", Path("file"), "both")])
def test_one_query_or_a_file_is_routed_not_both(query: str | None, queries: Path | None, words: str) -> None:
    with pytest.raises(ConfigError, match=f"expected either query=… or queries=FILE; found {words}"):
        RouteSettings(Path("export"), query, queries)
