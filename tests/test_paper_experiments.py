"""The presets of Margin Sampling and ModelSwitch: what they would ask, on made-up rows with the published columns."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF
from support.published import PUBLISHED, save

from zooter.commands import config, train

pytestmark = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the library datasets")


def preset(name: str, folder: Path, *changes: str) -> dict[str, Any]:
    """Compose a preset, each data set replaced by a tiny local one, without the network or a key."""
    overrides = [f"experiment={name}", f"run_dir={folder / 'run'}", f"cache_dir={folder / 'cache'}", "logger=none"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("train", [*overrides, *changes]), resolve=True)
    assert isinstance(values, dict)
    for name, node in data_sets(values["reader"]["readers"]):
        rows, labels, _ = PUBLISHED.get(name) or ([{"question": f"{name}?", "answer_number": 1}], {}, "")
        node |= {"path": str(save(folder / name, rows, labels, node["split"])), "sample": None}
    return values


def data_sets(readers: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in readers.items():
        if "readers" in node:
            yield from data_sets(node["readers"])
        else:
            yield name, node


@pytest.mark.parametrize(
    ("name", "changes", "queries", "samples"),
    [
        ("margin_paper", ["pool=margin_gpt", "responder=openai"], 9, 1),
        ("modelswitch_paper", [], 17, 16),
    ],
)
def test_a_plan_needs_no_key_and_prints_calls_tokens_and_price(
    name: str, changes: list[str], queries: int, samples: int, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for key in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    values = preset(name, tmp_path, "plan=true", *changes)
    assert train.main(values, []) is None
    shown = capsys.readouterr().out
    lines = {words[1]: words for line in shown.splitlines() if (words := line.split()) and words[0] == "respond"}
    assert set(lines) == set(values["pool"]["candidates"])
    for words in lines.values():
        assert words[2] == str(queries * samples)
        assert float(words[-1]) > 0.0, "no price"
    assert "tokens in" in shown


def test_a_task_alone_brings_its_labels_and_method(tmp_path: Path) -> None:
    overrides = ["experiment=margin_paper", "reader=sst2", f"run_dir={tmp_path}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose("train", overrides), resolve=True)
    assert values["responder"]["sampling"]["labels"] == ["negative", "positive"]
    assert values["rewarder"]["method"] == "squad"
    settings = config.build(values)
    assert set(settings.selectors) == {"margin", "predicted", "hybrid", "frugal"}


def test_every_task_of_the_papers_is_a_tag_with_a_method(tmp_path: Path) -> None:
    for name in ("margin_paper", "modelswitch_paper"):
        values = preset(name, tmp_path / name)
        settings = config.build(values)
        queries = settings.reader.read()
        assert {query.tags[0] for query in queries} == set(values["reader"]["readers"])
        assert all(query.reference for query in queries if query.tags != ("sst2",))  # one of its two has none
        assert set(values["rewarder"]["by_tag"]) <= set(values["reader"]["readers"])
