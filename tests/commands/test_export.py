"""Writing the ONNX form of an export that has none, or an old one."""

import json
import shutil
from pathlib import Path

from support.made_up import rows, table

from zooter.commands.export import ExportSettings, run
from zooter.router import manifest


def test_an_onnx_form_is_compared_on_each_query_of_a_recorded_table_once(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "export")
    run(ExportSettings(folder, table(tmp_path / "table.parquet", 12)))
    parity = json.loads((folder / manifest.PARITY).read_text(encoding="utf-8"))
    assert len(rows(12)) == 36, "three candidates answer each query"
    assert (parity["int8"]["queries"], parity["float32"]["queries"]) == (12, 12)
    facts = {"default": parity["default"], **{name: parity[name] for name in manifest.WEIGHTS}}
    assert manifest.verify(folder)["onnx"] == facts
