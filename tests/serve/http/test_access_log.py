"""The access log never stops the server, and says what it lost."""

import json
import logging
import os
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from zooter.errors import ConfigError
from zooter.serve.http import access_log
from zooter.serve.http.access_log import AccessLog


@pytest.fixture
def lost() -> Counter:
    return Counter("lost", "Rows", registry=CollectorRegistry())


def count(counter: Counter) -> float:
    return next(iter(counter.collect())).samples[0].value


def test_rows_are_written_in_order_without_missing_values(tmp_path: Path, lost: Counter) -> None:
    log = AccessLog(str(tmp_path / "log"), lost)
    for i in range(1_000):
        log.write({"i": i, "fault": None})
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [row["i"] for row in rows] == list(range(1_000))
    assert set(rows[0]) == {"time", "i"}
    assert count(lost) == 0


def test_a_pipe_that_nobody_reads_delays_nothing_and_dropped_rows_are_counted(
    tmp_path: Path, lost: Counter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "MAX_WAITING", 100)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    log = AccessLog(str(tmp_path / "pipe"), lost)
    for i in range(3_000):  # each of 100 bytes, and a pipe holds 64 KiB
        log.write({"i": i, "path": "x" * 64})
    assert count(lost) > 1_000
    assert [record.getMessage() for record in caplog.records] == [
        "rows of the access log are lost: it is not written as fast as it grows"
    ]
    start = time.perf_counter()
    log.close(seconds=0.1)
    assert time.perf_counter() - start < 5
    while log._thread.is_alive():
        try:
            os.read(reader, 2**16)
        except BlockingIOError:
            time.sleep(0.001)
    os.close(reader)


def test_a_full_disk_is_one_warning_and_every_row_is_counted(lost: Counter, caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog("/dev/full", lost)
    for i in range(1_000):
        log.write({"i": i})
    log.close()
    assert count(lost) == 1_000
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text


def test_a_renamed_file_is_left_when_the_log_is_opened_again(
    tmp_path: Path, lost: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(str(tmp_path / "log"), lost)
    log.write({"i": 0})
    log.reopen()
    while not (tmp_path / "log").read_text():
        time.sleep(0.001)
    (tmp_path / "log").rename(tmp_path / "old")
    log.reopen()
    log.write({"i": 1})
    log.close()
    assert [json.loads((tmp_path / name).read_text())["i"] for name in ("old", "log")] == [0, 1]
    with pytest.raises(ConfigError, match="a file for the access log at"):
        AccessLog(str(tmp_path / "none" / "log"), lost)
    assert not caplog.records
    assert logging.getLogger("zooter").isEnabledFor(logging.WARNING)
