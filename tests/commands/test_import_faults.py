"""A damaged, empty, mixed or mislabelled file of any format: one clear message, and nothing half-written."""

from pathlib import Path
from typing import Any

import pytest
from support.evaluation_examples import WHOLE, write_all

from zooter.commands import cli

PICTURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))


def refusal(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Import a folder that must be refused with one line, and return that line."""
    out = folder.parent / "out" / "records.parquet"
    assert cli.main(["import", name, str(folder), f"out={out}"]) == 2
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert "; found " in said
    assert str(folder) in said
    return said


def main_file(folder: Path, name: str) -> Path:
    """The file that holds the example's results."""
    return folder / next(iter(WHOLE[name]))


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("named", [True, False], ids=["named", "auto"])
@pytest.mark.parametrize("content", [b"", PICTURE, b"hello\n", b"\n\n", b"[1, 2]\n"], ids=repr)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, named: bool, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path / "in", WHOLE[name])
    file = main_file(tmp_path / "in", name)
    file.write_bytes(content)
    assert file.name in refusal(tmp_path / "in", name if named else "auto", capsys)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("named", [True, False], ids=["named", "auto"])
def test_a_truncated_file_is_refused(
    tmp_path: Path, name: str, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path / "in", WHOLE[name])
    file = main_file(tmp_path / "in", name)
    file.write_bytes(file.read_bytes()[:-20])
    assert file.name in refusal(tmp_path / "in", name if named else "auto", capsys)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".jsonl.gz", ".jsonl.zst"])
def test_a_file_with_a_wrong_suffix_is_refused(
    tmp_path: Path, name: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path / "in", WHOLE[name])
    file = main_file(tmp_path / "in", name)
    renamed = file.rename(file.with_suffix(suffix))
    refused = refusal(tmp_path / "in", "auto", capsys)
    assert renamed.name in refused or "expected evaluations in one of the formats" in refused


NAMES = list(WHOLE)
PAIRS = [  # each format with the next one, and every other pair in the slow tests
    pytest.param(a, b, marks=() if b == NAMES[(i + 1) % len(NAMES)] else pytest.mark.slow)
    for i, a in enumerate(NAMES)
    for b in NAMES
    if a != b
]


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_two_formats_in_one_folder_are_refused_by_the_file_that_does_not_belong(
    tmp_path: Path, name: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files: dict[str, Any] = {f"a/{file}": content for file, content in WHOLE[name].items()}
    files |= {f"b/{file}": content for file, content in WHOLE[other].items()}
    write_all(tmp_path / "in", files)
    refused = refusal(tmp_path / "in", "auto", capsys)
    assert any(Path(file).name in refused for file in files)
