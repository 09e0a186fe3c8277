"""Data sets through the library `datasets`: made-up rows with the very columns of published ones, down to rewards."""

import copy
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF
from support.published import JUDGED, PUBLISHED, save

from zooter.collect.reader.hub import HubReader
from zooter.commands import config
from zooter.data.types import Response
from zooter.errors import ConfigError, RecordsError

needs_datasets = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the library datasets")


def composed(*overrides: str) -> dict[str, Any]:
    return copy.deepcopy(_composed(*overrides))


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("train", [*overrides, "run_dir=some"]), resolve=True)  # type: ignore


@needs_datasets
@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_preset_reads_the_published_columns_down_to_rewards(preset: str, tmp_path: Path) -> None:
    rows, labels, answer = PUBLISHED[preset]
    values = composed(f"reader={preset}", "rewarder=verify", "rewarder@truth=verify")
    folder = save(tmp_path / "data", rows, labels, values["reader"]["split"])
    reader = config.build({**values["reader"], "path": str(folder)})
    queries = reader.read()
    assert len(queries) == len(rows)
    if preset == "math500":
        pytest.importorskip("math_verify")
    if preset not in JUDGED:
        rewarder = config.build(values["rewarder"])
        texts = [Response(queries[0].id, "a", 0, answer), Response(queries[0].id, "b", 0, "nonsense")]
        assert rewarder.reward([queries[0]] * 2, texts).tolist() == [1.0, 0.0]


# Public sources of DivInstruct → a row with the published columns.
SOURCES: dict[str, dict[str, Any]] = {
    "ultrachat": {"prompt": "Greet me.", "prompt_id": "1", "messages": [{"role": "user", "content": "Greet me."}]},
    "sharegpt": {"id": "1", "conversations": [{"from": "human", "value": "Greet me."}]},
    "wizardlm_sharegpt": {"idx": "1", "conversations": [{"from": "human", "value": "Greet me."}]},
    "wizardlm_alpaca": {"instruction": "Greet me.", "output": "Hello."},
    "alpaca": {"instruction": "Greet me.", "input": "", "output": "Hello.", "text": "…"},
    "flan": {"inputs": "Greet me.", "targets": "Hello.", "task": "greeting"},
    "math_train": {"problem": "Greet me.", "level": "Level 1", "type": "Algebra", "solution": "…"},
    "unnatural": {"instruction": "Greet.", "instances": [
        {"instruction_with_input": "Greet me.", "input": "me", "constraints": "", "output": "Hello."}]},
    "dolly": {"instruction": "Greet me.", "context": "", "response": "Hello.", "category": "open_qa"},
    "oasst": {"message_id": "1", "parent_id": None, "text": "Greet me.", "role": "prompter", "lang": "en"},
    "lima": {"conversations": ["Greet me.", "Hello."], "source": "stackexchange"},
    "mbpp": {"task_id": 1, "text": "Greet me.", "code": "", "test_list": ["assert True"], "test_setup_code": ""},
}  # fmt: skip


@needs_datasets
@pytest.mark.parametrize("preset", SOURCES)
def test_a_source_of_training_queries_is_read(preset: str, tmp_path: Path) -> None:
    values = composed(f"reader={preset}")["reader"]
    folder = save(tmp_path / "data", [SOURCES[preset]], {}, values["split"])
    [query] = config.build({**values, "path": str(folder), "streaming": False}).read()
    assert query.text == "Greet me."


@needs_datasets
def test_mgsm_reads_ten_languages_as_tags(tmp_path: Path) -> None:
    values = composed("reader=mgsm", "rewarder=verify")
    readers = values["reader"]["readers"]
    assert len(readers) == 10
    for i, (language, node) in enumerate(readers.items()):
        assert (node["path"], node["name"]) == ("juletxara/mgsm", language)
        row = {"question": f"{language} {i}?", "answer": None, "answer_number": i, "equation_solution": None}
        node |= {"path": str(save(tmp_path / language, [row], {}))}
    queries = config.build(values["reader"]).read()
    assert [(query.tags, query.reference) for query in queries] == [((name,), str(i)) for i, name in enumerate(readers)]
    right = [Response(query.id, "a", 0, f"\\boxed{{{query.reference}}}") for query in queries]
    assert config.build(values["rewarder"]).reward(queries, right).tolist() == [1.0] * 10


@needs_datasets
def test_rows_are_chosen_by_their_columns_and_blank_ones_left_out(tmp_path: Path) -> None:
    rows = [
        {"role": "prompter", "parent": None, "text": "first"}, {"role": "assistant", "parent": "1", "text": "second"},
        {"role": "prompter", "parent": "2", "text": "third"}, {"role": "prompter", "parent": None, "text": " "},
    ]  # fmt: skip
    folder = str(save(tmp_path / "data", rows, {}))

    def texts(**options: Any) -> list[str]:
        return [query.text for query in HubReader(folder, query="{text}", skip_blank=True, **options).read()]

    assert texts(where={"role": "prompter", "parent": None}) == ["first"]
    assert texts(where={"parent": ["1", "2"]}) == ["second", "third"]
    with pytest.raises(RecordsError, match=r"the data set .*'rol'"):
        texts(where={"rol": "prompter"})


@needs_datasets
def test_labels_of_a_preset_are_those_of_the_margin() -> None:
    values = composed("reader=sst2", "responder=huggingface")
    assert values["responder"]["sampling"]["labels"] == ["negative", "positive"]
    assert composed("reader=gsm8k", "responder=huggingface")["responder"]["sampling"]["labels"] == []
    assert composed("responder=huggingface")["responder"]["sampling"]["labels"] == []


@needs_datasets
def test_queries_of_presets_read_as_meant(tmp_path: Path) -> None:
    rows, labels, _ = PUBLISHED["mmlu"]
    folder = save(tmp_path / "mmlu", rows, labels)
    [query] = config.build({**composed("reader=mmlu")["reader"], "path": str(folder)}).read()
    assert query.text == (
        "Which is red?\n\nA. sky\nB. blood\nC. sea\nD. snow\n\nAnswer with the letter of the right option."
    )
    assert (query.reference, query.tags) == ("B", ("colours",))
    rows, labels, _ = PUBLISHED["math500"]
    folder = save(tmp_path / "math", rows, labels)
    [query] = config.build({**composed("reader=math500")["reader"], "path": str(folder)}).read()
    assert query.text == "Halve 1.\n\nPut your final answer within \\boxed{}."
    rows, labels, _ = PUBLISHED["sst2"]
    folder = save(tmp_path / "sst2", rows, labels, "validation")
    queries = config.build({**composed("reader=sst2")["reader"], "path": str(folder)}).read()
    assert [query.reference for query in queries] == ["positive", None]
    rows, labels, _ = PUBLISHED["flask"]
    folder = save(tmp_path / "flask", rows, labels)
    [query] = config.build({**composed("reader=flask")["reader"], "path": str(folder)}).read()
    assert query.tags == ("Math", "Coding")


@pytest.mark.parametrize("preset", PUBLISHED)
def test_the_method_of_a_preset_is_that_of_the_verifier(preset: str) -> None:
    values = composed(f"reader={preset}", "rewarder=verify", "rewarder@truth=verify")
    method = values["reader"]["method"]
    assert (values["rewarder"]["method"], values["truth"]["method"]) == (method, method)
    assert composed(f"reader={preset}", "rewarder=verify", "rewarder.method=exact")["rewarder"]["method"] == "exact"


@needs_datasets
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", "folder"])
def test_files_and_folders_are_read(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    table = datasets.Dataset.from_list([{"question": f"q{i}", "answer": f"a{i}"} for i in range(3)])
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / f"test{suffix if suffix != 'folder' else '.parquet'}"
    if suffix in (".csv", ".tsv"):
        table.to_csv(str(path), sep="\t" if suffix == ".tsv" else ",")
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table))
    else:
        table.to_parquet(str(path))
    reader = HubReader(str(path.parent if suffix == "folder" else path), reference="{answer}")
    assert [(query.text, query.reference) for query in reader.read()] == [(f"q{i}", f"a{i}") for i in range(3)]


@needs_datasets
def test_a_draw_depends_on_the_seed_only(tmp_path: Path) -> None:
    folder = str(save(tmp_path / "data", [{"question": f"q{i}"} for i in range(50)], {}))
    first = [query.text for query in HubReader(folder, sample=5).read()]
    assert first == [query.text for query in HubReader(folder, sample=5).read()]
    assert first != [query.text for query in HubReader(folder, sample=5, seed=1).read()]
    assert len(set(first)) == 5


@needs_datasets
def test_several_references_and_equal_queries(tmp_path: Path) -> None:
    rows = [{"question": "q", "answers": ["x", "y"]}, {"question": "q", "answers": ["z"]}]
    [query] = HubReader(str(save(tmp_path / "data", rows, {})), reference="{answers}").read()
    assert query.references == ("x", "y")


@needs_datasets
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"query": "{text}"}, ConfigError, r"templates of the columns \['answer', 'question'\]"),
        ({"query": "{question:roman}"}, ConfigError, "the form 'roman'"),
        ({"query": "{answer}"}, RecordsError, "a blank one in row 1"),
        ({"split": "train"}, RecordsError, r"the data set .*split train"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    folder = save(tmp_path / "data", [{"question": "q", "answer": " "}], {})
    with pytest.raises(error, match=words):
        HubReader(str(folder), **options).read()


@needs_datasets
def test_a_hub_that_cannot_be_reached_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*arguments: object, **options: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(RecordsError, match="org/name, split test, v1; found Couldn't reach the Hub; check"):
        HubReader("org/name", revision="v1").read()


def test_without_a_data_set_or_the_library_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"add reader\.path="):
        HubReader().read()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        HubReader("org/name").read()
