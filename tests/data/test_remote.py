"""Files in an object store: the cell store, tables, locks and folders, in memory and (slow) against a server of S3."""

import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support.collecting import collector, rows

from zooter.commands import remote_folders
from zooter.data import reward_table
from zooter.data.locks import HOLDER, exclusive
from zooter.data.remote import COMPLETE, as_path, download_folder, upload_folder
from zooter.data.store import Store
from zooter.errors import StoreError


@pytest.fixture(scope="module", params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in memory, or a bucket of moto's S3 server on a free port."""
    if request.param == "memory":
        yield as_path("memory://bucket")
        return
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "made up")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        path = as_path("s3://bucket")
        path.fs.mkdir("bucket")  # type: ignore[attr-defined]
        yield path
    server.stop()


def test_a_store_of_cells_works_as_on_a_disk(bucket: Path) -> None:
    store = Store(bucket / "cells", "g")
    for i in range(4):
        store.append_part(pa.table({"key": [f"k{i}"], "value": [i]}), "s")
    assert store.missing(["k1", "new"]).tolist() == [1]
    store.merge_parts("s")
    assert [path.name for path in (bucket / "cells" / "group-g").iterdir()] == ["s.parquet"]
    assert store.read(["k3", "k0"])["value"].to_pylist() == [3, 0]
    for i in range(4):
        store.append(pa.table({"key": [f"n{i}"], "value": [i]}))
    store.compact(max_shards=2)
    assert len(list((bucket / "cells" / "group-g").iterdir())) == 1
    assert pickle.loads(pickle.dumps(store)).missing(["k1"]).tolist() == []


def test_a_live_run_fills_a_cache_and_writes_its_table_in_a_bucket(bucket: Path, tmp_path: Path) -> None:
    run = collector(tmp_path, cache_dir=bucket / "cache")
    run.collect(bucket / "run" / "records.parquet")
    again = collector(tmp_path, cache_dir=bucket / "cache")
    again.collect(tmp_path / "records.parquet")
    assert again.responder.calls == []  # type: ignore[attr-defined]
    (tmp_path / "remote.parquet").write_bytes((bucket / "run" / "records.parquet").read_bytes())
    assert rows(tmp_path / "remote.parquet") == rows(tmp_path / "records.parquet")
    table = reward_table.read(bucket / "run" / "records.parquet")
    assert table.queries == reward_table.read(tmp_path / "records.parquet").queries


def test_the_second_of_two_drivers_is_told_who_holds_the_cache(bucket: Path) -> None:
    told = pytest.raises(StoreError, match=r"no other process writes into: .*/bucket/held; found held by process")
    with exclusive(bucket / "held", "cache"), told, exclusive(bucket / "held", "cache"):
        raise AssertionError("two hold it")
    with exclusive(bucket / "held", "cache"):
        pass


def test_the_lock_of_a_killed_driver_says_so_and_is_deleted_by_hand(bucket: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = {"pid": ended.pid, "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}
    (bucket / "left" / HOLDER).write_text(json.dumps(lock))
    refused = rf"held by process {ended.pid} on .*, which has ended; .* delete .*/bucket/left/.lock.json"
    with pytest.raises(StoreError, match=refused), exclusive(bucket / "left", "cache"):
        raise AssertionError("two hold it")
    (bucket / "left" / HOLDER).unlink()
    with exclusive(bucket / "left", "cache"):
        pass


def test_a_folder_is_complete_only_with_its_marker(bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "weights").write_text("1")
    upload_folder(tmp_path, bucket / "whole")
    assert (download_folder(bucket / "whole" / "export") / "weights").read_text() == "1"
    (bucket / "whole" / COMPLETE).unlink()
    with pytest.raises(StoreError, match=r"a complete folder at .*/bucket/whole/export"):
        download_folder(bucket / "whole" / "export")


def test_a_run_folder_is_uploaded_at_the_end_and_not_after_a_failure(bucket: Path) -> None:
    with remote_folders.local_copies(["a=b", f"run_dir={bucket / 'run1'}"]) as arguments:
        folder = Path(arguments[1].removeprefix("run_dir="))
        (folder / "report.json").write_text("{}")
    assert (bucket / "run1" / "report.json").read_text() == "{}"
    assert not folder.exists()
    with pytest.raises(KeyError), remote_folders.local_copies([f"run_dir={bucket / 'run2'}"]):
        raise KeyError
    assert not (bucket / "run2").exists()
    with remote_folders.local_copies([f"export={bucket / 'run1'}"]) as arguments:
        assert (Path(arguments[0].removeprefix("export=")) / "report.json").exists()
