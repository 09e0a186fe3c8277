"""Comparing a file of queries with those of training."""

import json
from pathlib import Path

from support.made_up import rows, table

from zooter.commands.drift import DriftSettings, run


def test_drift_is_tested_on_the_distinct_queries_of_a_recorded_table(export: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    distinct = dict.fromkeys(str(row["query"]) for row in rows(60))
    queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in distinct))
    lines = list(run(DriftSettings(export, table(tmp_path / "table.parquet", 60))))
    assert lines
    assert lines == list(run(DriftSettings(export, queries)))
    assert list(run(DriftSettings(export, queries, tmp_path / "drift.txt"))) == []
    assert (tmp_path / "drift.txt").read_text().splitlines() == lines
