"""The decision log: who may read it, what it leaves out, and what it says of lost rows."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from zooter.data.types import query_id
from zooter.errors import ConfigError
from zooter.serve import decision_log
from zooter.serve.decision_log import DecisionLog
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings

ROW = {"query": "I am a@b.org, call 555-0100", "candidate": "small", "response": "Hello a@b.org", "why": "best"}


def write(rows: list[dict[str, Any]], settings: ServeSettings) -> tuple[list[dict[str, Any]], float]:
    """Log rows and close; return what is in the files, and the number of lost rows."""
    metrics = Metrics()

    async def log() -> None:
        decisions = DecisionLog(settings, metrics.dropped_rows.labels("decision"))
        for row in rows:
            decisions.add(row)
        await decisions.close()

    asyncio.run(log())
    assert settings.decisions is not None
    files = sorted(settings.decisions.glob("*.parquet"))
    written = [row for path in files for row in pq.read_table(path).to_pylist()]
    return written, metrics.registry.get_sample_value("zooter_log_rows_dropped_total", {"log": "decision"}) or 0.0


def test_only_the_servers_user_may_read_the_files(tmp_path: Path) -> None:
    rows, lost = write([ROW], ServeSettings(tmp_path, decisions=tmp_path / "new" / "log"))
    assert (rows[0]["query"], rows[0]["query_id"], lost) == (ROW["query"], query_id(ROW["query"]), 0)
    assert (tmp_path / "new" / "log").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "log").iterdir()} == {0o600}


def test_texts_can_be_redacted_or_left_out(tmp_path: Path) -> None:
    patterns = [r"\S+@\S+\w", r"\d{3}-\d{4}"]
    redacted, _ = write([ROW], ServeSettings(tmp_path, decisions=tmp_path / "a", decisions_redact=patterns))
    assert (redacted[0]["query"], redacted[0]["response"]) == ("I am ***, call ***", "Hello ***")
    without, _ = write([ROW], ServeSettings(tmp_path, decisions=tmp_path / "b", decisions_texts=False))
    assert (without[0]["query"], without[0]["response"]) == (None, None)
    assert without[0]["query_id"] == query_id(ROW["query"])
    assert b"a@b.org" not in b"".join(path.read_bytes() for path in (tmp_path / "b").iterdir())
    with pytest.raises(ConfigError, match="regular expressions as decisions_redact"):
        write([ROW], ServeSettings(tmp_path, decisions=tmp_path / "c", decisions_redact=["("]))


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=re.escape(f"a folder for the decision log at {tmp_path / 'file'}")):
        write([ROW], ServeSettings(tmp_path, decisions=tmp_path / "file"))


def test_a_full_disk_is_one_warning_and_every_row_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    _, lost = write([ROW] * 3, ServeSettings(tmp_path, decisions=tmp_path / "log", decisions_rows=1))
    assert lost == 3
    assert [record.getMessage() for record in caplog.records] == [
        "rows of the decision log are lost: [Errno 28] No space left on device"
    ]
    assert not list((tmp_path / "log").iterdir())


def test_long_texts_are_written_before_they_fill_the_memory(tmp_path: Path) -> None:
    metrics = Metrics()

    async def log() -> int:
        decisions = DecisionLog(
            ServeSettings(tmp_path, decisions=tmp_path / "log"), metrics.dropped_rows.labels("decision")
        )
        for _ in range(3):
            decisions.add({**ROW, "query": "x" * (decision_log.MAX_CHARACTERS // 2)})
        waiting = len(decisions._rows)
        await decisions.close()
        return waiting

    assert asyncio.run(log()) == 1
    assert len(list((tmp_path / "log").glob("*.parquet"))) == 2
