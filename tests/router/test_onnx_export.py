"""An encoder's graphs are traced once for all exports that have the same encoder."""

import shutil
from pathlib import Path

import pytest
from support.made_up import rows

from zooter.errors import ExportError
from zooter.router import onnx_export, onnx_graph
from zooter.router.encoder import Encoder
from zooter.router.manifest import WEIGHTS

TEXTS = [str(row["query"]) for row in rows(40)]


def test_the_encoder_of_a_second_export_comes_from_the_cache(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[Encoder] = []
    trace = onnx_graph.trace_encoder
    monkeypatch.setattr(onnx_graph, "trace_encoder", lambda encoder: traced.append(encoder) or trace(encoder))
    cache, formats = tmp_path / "cache", onnx_export.ExportFormats()
    for name in ("first", "second"):
        shutil.copytree(export, tmp_path / name)
        formats.write(tmp_path / name, TEXTS, cache=cache)
        assert len(traced) == 1
    for weights in WEIGHTS.values():
        assert (tmp_path / "first" / weights).read_bytes() == (tmp_path / "second" / weights).read_bytes()

    def refuse(encoder: Encoder) -> None:
        raise ExportError(expected="no tracing", found="some", do="nothing")

    monkeypatch.setattr(onnx_graph, "trace_encoder", refuse)
    formats.write(tmp_path / "second", TEXTS[1:], cache=cache)  # other texts have the same graphs
    damaged = next((cache / "graphs").glob("*/int8.onnx"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(ExportError, match="no tracing"):
        formats.write(tmp_path / "second", TEXTS, cache=cache)
    assert not [path for path in (cache / "graphs").iterdir() if path.name.startswith(".")], "no draft is left"
