"""Atomic writes and file hashes."""

import hashlib
from pathlib import Path

import pytest

from zooter.data.files import atomic_dir, sha256, write_atomically


def test_writing_a_file_creates_its_folder_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "file.txt", "é")
    write_atomically(tmp_path / "new" / "file.txt", b"second")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]
    assert (tmp_path / "new" / "file.txt").read_bytes() == b"second"


def test_a_failed_write_leaves_the_earlier_content_and_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_text("kept")
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", "a file cannot replace a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken" / "inside").read_text() == "kept"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    for name in ("first", "second"):
        with atomic_dir(folder) as temporary:
            (temporary / name).touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_stays_as_it_was_if_the_block_fails(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "first").touch()

    def fail_halfway() -> None:
        with atomic_dir(folder) as temporary:
            (temporary / "second").touch()
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert [path.name for path in folder.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_files_of_a_folder_can_be_read_by_whoever_can_read_the_folder(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "export") as draft:
        (draft / "onnx").mkdir()
        for path in (draft / "head", draft / "onnx" / "model"):
            path.touch(mode=0o600)
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "export").rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_the_hash_of_a_file_is_the_sha256_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
