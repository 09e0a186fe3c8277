"""What `infer.py` does with an export, beside routing."""

import json
import shutil
from pathlib import Path

from support.made_up import rows, table

from zooter.commands.route import RouteSettings, run
from zooter.router import manifest


def test_an_onnx_form_is_compared_on_each_query_of_a_recorded_table_once(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "export")
    assert list(run(RouteSettings(folder, queries=table(tmp_path / "table.parquet", 12), mode="export"))) == []
    found = json.loads((folder / manifest.PARITY).read_text(encoding="utf-8"))
    assert len(rows(12)) == 36, "three candidates answer each query"
    assert (found["int8"]["queries"], found["float32"]["queries"]) == (12, 12)
    assert manifest.verify(folder)["onnx"] == {"default": found["default"], **{k: found[k] for k in manifest.WEIGHTS}}


def test_drift_is_looked_for_in_the_queries_of_a_recorded_table_once_each(export: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    distinct = dict.fromkeys(str(row["query"]) for row in rows(60))
    queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in distinct))
    whole = list(run(RouteSettings(export, queries=table(tmp_path / "table.parquet", 60), mode="drift")))
    assert whole == list(run(RouteSettings(export, queries=queries, mode="drift")))
