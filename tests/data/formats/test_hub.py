"""Data sets of the Hugging Face hub and those that `save_to_disk` wrote; none of these tests has a network."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from support.evaluations import cells, read_rows

from zooter.data.formats.hub import hub_id
from zooter.errors import RecordsError

LONG = {"question": ["q", "q"], "model": ["a", "b"], "score": [1.0, 0.0]}
WIDE = {"prompt": ["p", "q"], "a": [1.0, 0.0], "b": [0.0, 1.0]}


def parts() -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": datasets.Dataset.from_dict(LONG), "test": datasets.Dataset.from_dict(LONG)})


def test_a_saved_data_set_is_read_by_its_columns(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(LONG).save_to_disk(tmp_path / "long")
    assert cells(read_rows(tmp_path / "long")) == [("q", "a", 1.0), ("q", "b", 0.0)]
    datasets.Dataset.from_dict(WIDE).save_to_disk(tmp_path / "wide")
    assert sorted(cells(read_rows(tmp_path / "wide"))) == [
        ("p", "a", 1.0), ("p", "b", 0.0), ("q", "a", 0.0), ("q", "b", 1.0),
    ]  # fmt: skip


def test_the_parts_of_a_data_set_become_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts().save_to_disk(tmp_path / "saved")
    saved = read_rows(tmp_path / "saved")
    assert sorted(row["split"] for row in saved) == ["test", "test", "train", "train"]
    asked: list[str] = []

    def load_dataset(identifier: str) -> Any:
        asked.append(identifier)
        return parts()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_rows(Path("hf:org/evaluations"), columns={"query": "question"}) == saved
    assert asked == ["org/evaluations"]


def test_only_an_address_is_looked_for_on_the_hub() -> None:
    assert hub_id(Path("hf:org/a-name_1.0")) == "org/a-name_1.0"
    for text in ("org/name", "hf:name", "hf:a/b/c", "folder/hf:a/b", "/hf:a/b"):
        assert hub_id(Path(text)) is None
    with pytest.raises(RecordsError, match=r"nothing there.*hf:ORG/NAME"):
        read_rows(Path("org/name"))


def test_without_a_hub_the_message_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(identifier: str) -> Any:
        raise ConnectionError("Couldn't reach 'org/nothing' on the Hub (OfflineModeIsEnabled)\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(RecordsError, match=r"set org/nothing on .*; found .*Couldn't reach.*save_to_disk") as error:
        read_rows(Path("hf:org/nothing"))
    assert "\n" not in str(error.value)
