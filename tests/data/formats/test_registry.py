"""Formats by name, options, and recognition."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.evaluation_examples import FILES, WHOLE, write_all
from support.evaluations import read_rows, write_json, write_lines
from support.paths import ROOT

import zooter
from zooter.data.formats import registry
from zooter.errors import ConfigError, RecordsError, ZooterError


def test_an_unknown_format_is_refused_with_all_names() -> None:
    with pytest.raises(ConfigError, match=r"'auto'.*'wide'.*found 'xlsx'"):
        registry.build("xlsx")


def test_an_option_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\['candidates'\]"):
        registry.build("long", {"candidates": ("a",)})
    path = write_lines(tmp_path / "t.jsonl", {"query": "q", "candidate": "a", "reward": 1})
    with pytest.raises(ConfigError, match="nothing"):
        read_rows(path, nothing="x")


def test_a_file_of_no_format_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = write_json(tmp_path / "t.json", {"name": "zoo"})
    with pytest.raises(RecordsError, match=r"t.json with \['name'\]"):
        read_rows(path)


def test_a_path_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="nothing there"):
        read_rows(tmp_path / "nowhere", "long")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RecordsError, match="no such file in"):
        read_rows(tmp_path)


def test_read_table_takes_a_format_and_its_options(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,a,b\none,1,0\ntwo,,1\n")
    table = zooter.read_table(tmp_path / "t.csv", format="wide", options={"columns": {"query": "text"}})
    assert table.queries == ["one", "two"]
    assert table.rewards.values[0].tolist() == [1.0, 0.0]


def test_every_format_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([\w-]+)` .*$", text, re.MULTILINE)}
    assert set(rows) == set(registry.FORMATS)
    for name, kind in registry.FORMATS.items():
        for option in fields(kind):  # type: ignore[arg-type]
            assert re.search(rf"`{option.name}[.=]", rows[name]), (name, option.name)


def test_every_format_is_tried() -> None:
    assert set(FILES) == set(registry.FORMATS)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("whole_folder", [True, False])
def test_each_format_is_recognised_and_no_other(tmp_path: Path, name: str, whole_folder: bool) -> None:
    file, content = FILES[name]
    write = write_lines if file.endswith(".jsonl") else write_json
    path = write(tmp_path / file, content)
    assert registry.recognise(tmp_path if whole_folder else path).name == name


@pytest.mark.parametrize("name", [name for name, (file, _) in FILES.items() if file.endswith(".jsonl")])
def test_a_file_that_turns_into_another_format_is_refused_by_its_line(tmp_path: Path, name: str) -> None:
    file, content = FILES[name]
    if name == "mt-bench":
        write_lines(tmp_path / "question.jsonl", {"question_id": 1, "turns": ["q"]})
    path = write_lines(tmp_path / file, content, {"unrelated": 1})
    with pytest.raises(RecordsError, match=r"(line|row) 2"):
        read_rows(path, name)


ODD = [None, 7, -1.5, "", "odd", "\ud800", True, [], [None], ["odd"], {}, {"odd": 1}, float("inf"), 10**30]


def spoiled(value: Any) -> Iterator[Any]:
    """Yield copies in which one value, at any depth, is an odd one, and copies without one key."""
    yield from ODD
    if isinstance(value, dict):
        for key in value:
            yield {name: inner for name, inner in value.items() if name != key}
            for odd in spoiled(value[key]):
                yield {**value, key: odd}
    elif isinstance(value, list):
        for i in range(len(value)):
            for odd in spoiled(value[i]):
                yield [*value[:i], odd, *value[i + 1 :]]


def refusals(path: Path, name: str) -> list[str]:
    """Messages with which a path is refused by recognition and by a format; any other exception is raised."""
    messages = []
    for action in (lambda: registry.recognise(path), lambda: read_rows(path, name)):
        try:
            action()
        except ZooterError as error:
            messages.append(str(error))
    return messages


@pytest.mark.parametrize("name", WHOLE)
def test_whole_examples_are_read(tmp_path: Path, name: str) -> None:
    write_all(tmp_path, WHOLE[name])
    assert read_rows(tmp_path)
    assert registry.recognise(tmp_path).name == name


@pytest.mark.parametrize("name", WHOLE)
def test_an_odd_value_anywhere_is_read_or_refused_but_never_a_crash(tmp_path: Path, name: str) -> None:
    messages: list[str] = []
    for file, content in WHOLE[name].items():
        write_all(tmp_path, WHOLE[name])
        for odd in spoiled(content):
            write_all(tmp_path, {file: odd})
            messages += refusals(tmp_path, name)
    assert len(messages) > len(ODD)
    assert all(str(tmp_path) in message for message in messages)


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_is_read_or_refused_but_never_a_crash(tmp_path: Path, name: str) -> None:
    write_all(tmp_path, WHOLE[name])
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for size in range(0, len(data) - 1, 3):
            path.write_bytes(data[:size])
            with pytest.raises(ZooterError):
                read_rows(tmp_path, name)
        path.write_bytes(data)
