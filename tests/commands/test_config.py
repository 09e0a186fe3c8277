"""Plain settings → components, and errors for people."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.collecting import ShoutingResponder
from support.paths import CONF, ROOT

from zooter.commands import config, overrides
from zooter.commands.moved import MOVED_TARGETS
from zooter.data.split import Split
from zooter.errors import ConfigError, RecordsError
from zooter.training.labels import TagSmoothing
from zooter.training.tagger.cluster import ClusterTagger
from zooter.training.tagger.column import ColumnTagger

SPLIT = "zooter.data.split.Split"
COLUMN, CLUSTER = "zooter.training.tagger.column.ColumnTagger", "zooter.training.tagger.cluster.ClusterTagger"


def refusal(node: Any, path: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        config.build(node, path)
    return str(caught.value)


# -- building


def test_a_node_becomes_the_component_it_names() -> None:
    assert config.build({"_target_": SPLIT, "val": 0.2}) == Split(val=0.2)


def test_nodes_inside_are_built_first_also_in_lists() -> None:
    inner = {"_target_": CLUSTER, "clusters": 4}
    built = config.build({"taggers": [{"_target_": COLUMN, "otherwise": inner}, None], "n": 1})
    assert built == {"taggers": [ColumnTagger(otherwise=ClusterTagger(clusters=4)), None], "n": 1}


def test_a_partial_node_is_called_later_with_more() -> None:
    make_split = config.build({"_target_": SPLIT, "_partial_": True, "val": 0.2})
    assert isinstance(make_split, partial)
    assert make_split(test=0.3) == Split(val=0.2, test=0.3)


def test_building_leaves_the_settings_as_they_were() -> None:
    node = {"_target_": SPLIT, "_partial_": False, "val": 0.2}
    config.build(node)
    assert node == {"_target_": SPLIT, "_partial_": False, "val": 0.2}


def test_a_whole_number_is_a_float_and_null_is_fine_where_it_is_allowed() -> None:
    assert config.build({"_target_": "zooter.training.labels.TagSmoothing", "beta": 1}) == TagSmoothing(beta=1)
    assert config.build({"_target_": CLUSTER, "clusters": None}) == ClusterTagger()


@given(st.text(st.sampled_from("ab${}\\:. ")))
def test_texts_are_never_read_as_interpolations(text: str) -> None:
    built = config.build({"_target_": "zooter.data.pool.Candidate", "name": "a", "model": text, "extra": {"a": [text]}})
    assert (built.model, built.extra) == (text, {"a": [text]})


# -- what is refused


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"_target_": SPLIT, "vall": 0.1},
            "keys of split among ['salt', 'test', 'val']; found ['vall']; correct or remove them; did you mean val?",
        ),
        (
            {"_target_": SPLIT, "val": "much"},
            "expected split.val to be a valid number; found 'much'; correct the value",
        ),
        ({"_target_": SPLIT, "val": True}, "expected split.val to be a valid number; found True"),
        ({"_target_": SPLIT, "val": None}, "expected split.val to be a valid number; found None"),
        ({"_target_": SPLIT, "salt": 0}, "expected split.salt to be a valid string; found 0"),
        ({"_target_": CLUSTER, "clusters": 2.5}, "expected split.clusters to be a valid integer; found 2.5"),
        (
            {"_target_": "zooter.training.labels.TagSmoothing", "hard": 1},
            "expected split.hard to be a valid boolean; found 1",
        ),
        ({"_target_": "zooter.data.pool.Candidate"}, "expected values for ['name'] of split; found none; set them"),
        ({"_target_": "os.system", "command": "true"}, "found os.system; choose an option of zooter"),
        ({"_target_": "zooterfake.thing"}, "found zooterfake.thing; choose an option of zooter"),
        ({"_target_": "zooter.nowhere.Split"}, "expected zooter.nowhere.Split to be importable, for split"),
        ({"_target_": "zooter.data.split.Splitt"}, "expected split._target_ to exist; found zooter.data.split.Splitt"),
        (
            {"_target_": "zooter.training.labels.UNITS"},
            "expected split._target_ to exist; found zooter.training.labels.UNITS",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_node_that_does_not_fit_is_refused(node: dict[str, Any], message: str) -> None:
    assert message in refusal(node, "split")


@pytest.mark.parametrize(("old", "new"), [("sure", "switch_margin"), ("at_once", "max_concurrent_requests")])
def test_a_renamed_key_is_refused_by_its_new_name(old: str, new: str) -> None:
    node = {"_target_": "zooter.serve.settings.ServeSettings", "export": "some", old: 1}
    assert refusal(node) == f"expected {new}; found {old}, its old name; write {new}"


def test_a_target_that_has_moved_is_refused_by_its_new_name() -> None:
    message = refusal({"_target_": "zooter.selector.margin.MarginSelector"}, "selector")
    assert "to be zooter.selector.cascade.margin.MarginSelector; found zooter.selector.margin.MarginSelector" in message
    for new in MOVED_TARGETS.values():
        assert callable(config.locate(new, "it"))


def test_a_wrong_key_deep_inside_is_named_by_its_path() -> None:
    node = {"_target_": COLUMN, "otherwise": {"_target_": CLUSTER, "words": "few"}}
    assert "expected tagger.otherwise.words to be a valid integer; found 'few'" in refusal(node, "tagger")
    assert "expected parts[1].val to be a valid number" in refusal([1, {"_target_": SPLIT, "val": "x"}], "parts")


def test_the_range_of_a_value_is_checked_by_its_component() -> None:
    assert "expected split.val to be less than 1; found 2.0" in refusal({"_target_": SPLIT, "val": 2.0}, "split")


# -- errors for people


@pytest.fixture(autouse=True)
def _no_shown_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_shown_errors", [])


def test_an_expected_error_is_one_message_and_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert config.exit_code() == 0
    with config.errors_for_people():
        raise RecordsError(expected="a column [bold]", found="[/nothing]" + "x" * 300, do="add it")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"RecordsError: expected a column [bold]; found [/nothing]{'x' * 300}; add it\n"
    assert config.exit_code() == 2


def test_a_job_that_works_does_not_take_an_earlier_failure_back() -> None:
    with config.errors_for_people():
        raise ConfigError(expected="x", found="y", do="z")
    with config.errors_for_people():
        pass
    assert config.exit_code() == 2


def test_an_error_that_nobody_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), config.errors_for_people():
        _ = 1 / 0
    assert config.exit_code() == 0


def test_an_interrupt_is_said_and_ends_with_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, config.errors_for_people():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert "interrupted; finished results and caches are kept" in capsys.readouterr().err


def test_a_class_of_ones_own_is_built_once_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2}
    with pytest.raises(ConfigError, match="ZOOTER_PACKAGES=mypackage"):
        config.build(node, "rewarder")
    monkeypatch.setenv("ZOOTER_PACKAGES", "mine,fractions")
    assert config.build(node, "rewarder") == 0.5
    with pytest.raises(ConfigError, match="ZOOTER_PACKAGES"):
        config.build({"_target_": "fractionsother.X"}, "rewarder")


def test_a_reader_and_a_rewarder_of_ones_own_record_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ROOT / "docs" / "examples" / "own"
    monkeypatch.syspath_prepend(str(own))
    monkeypatch.setenv("ZOOTER_PACKAGES", "sums")
    pool = tmp_path / "pool.yaml"
    pool.write_text("candidates: {small: {price: 1.0}, large: {price: 2.0}}")
    chosen = ["reader=sums", "reader.count=3", "rewarder=brevity", "truth=verify", f"pool_file={pool}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = [*overrides.expand_short_names(chosen), "responder=replay", "run_dir=run"]
        values = OmegaConf.to_container(compose("train", [f"hydra.searchpath=[file://{own}]", *given]), resolve=True)
    settings = config.build({**values, "cache_dir": str(tmp_path / "cache")})
    replace(settings.collector, responder=ShoutingResponder()).collect(tmp_path / "table.parquet")
    rows = pq.read_table(tmp_path / "table.parquet").to_pylist()
    columns = ("query", "candidate", "response", "reward", "truth")
    assert {tuple(row[column] for column in columns) for row in rows} == {
        (f"What is {i} plus {i}?", name, f"{name} WHAT IS {i} PLUS {i}?", -23.0, float(i == 0))  # 0 + 0 ends in 0
        for i in range(3)
        for name in ("small", "large")
    }
