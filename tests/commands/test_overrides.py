"""The command line before Hydra reads it."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF

from zooter.collect.rewarder.verify import VerifyRewarder
from zooter.commands import config, overrides
from zooter.errors import ConfigError, RecordsError


def test_a_setting_that_was_left_open_is_asked_for_by_its_key() -> None:
    overrides.refuse_missing(set())
    with pytest.raises(ConfigError, match=r"expected a value for a.b; found none; add a.b=… to the command"):
        overrides.refuse_missing({"c", "a.b"})


@pytest.fixture
def options(tmp_path: Path) -> Path:
    for name in ("margin", "random", "knn", "_part"):
        (tmp_path / f"{name}.yaml").write_text("")
    return tmp_path


def test_each_named_selector_chooses_its_file_and_two_always_stand_beside(options: Path) -> None:
    expanded = overrides.expand_selectors(["infer.py", "selectors=[margin, knn]", "records=FILE"], [options])
    assert expanded == [
        "infer.py", "records=FILE", "+selector@selectors.margin=margin", "+selector@selectors.knn=knn",
        "+selector@selectors.random=random",
    ]  # fmt: skip
    assert overrides.expand_selectors(["infer.py"], [options])[1:] == [
        f"+selector@selectors.{n}={n}" for n in ("random", "knn")
    ]
    assert overrides.expand_selectors(["selectors=margin"], [options])[0] == "+selector@selectors.margin=margin"


def test_selectors_of_ones_own_folder_are_chosen_too(options: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "selector").mkdir(parents=True)
    (tmp_path / "own" / "selector" / "mine.yaml").write_text("")
    for flags in (["--config-dir", str(tmp_path / "own")], [f"--config-dir={tmp_path / 'own'}"]):
        folders = overrides.option_folders([*flags, "seed=1"], tmp_path / "conf", "selector")
        assert folders == [tmp_path / "conf" / "selector", tmp_path / "own" / "selector"]
    assert "+selector@selectors.mine=mine" in overrides.expand_selectors(["selectors=[mine]"], [options, folders[1]])


@pytest.mark.parametrize(
    ("mode", "hint"),
    [("drift", "or give mode=drift a file of them: queries=FILE$"), ("evaluate", "leave mode out to route it$")],
)
def test_one_query_is_refused_where_it_is_not_routed(mode: str, hint: str) -> None:
    overrides.refuse_query("route")
    with pytest.raises(ConfigError, match=hint):
        overrides.refuse_query(mode)


@pytest.mark.parametrize("name", ["margn", "_part"])
def test_a_name_without_a_file_is_refused(options: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"expected selectors among \['knn', 'margin', 'random'\]; found \['{name}'\]"
    ):
        overrides.expand_selectors([f"selectors=[margin,{name}]"], [options])


def test_the_mode_is_the_last_given_and_a_mistyped_one_is_refused_with_the_nearest() -> None:
    modes = ["route", "evaluate", "to_huggingface"]
    assert overrides.read_mode(["query=mode=x", "export=some"], modes, "route") == "route"
    assert overrides.read_mode(["mode=route", "mode=evaluate"], modes, "route") == "evaluate"
    assert overrides.read_mode(["mode=imitate"], modes, "route") == "to_huggingface"
    with pytest.raises(ConfigError, match=r"expected mode among .* found 'evalute'; write mode=evaluate"):
        overrides.read_mode(["mode=evalute"], modes, "route")


@pytest.mark.parametrize(
    ("argument", "mode", "new"),
    [
        ("sure=0.3", "serve", "switch_margin"),
        ("selectors.margin.distinct=true", "evaluate", "selectors.margin.merge_token_variants"),
        ("selectors.margin.threshold.running=false", "evaluate", "selectors.margin.threshold.online_threshold"),
        ("+selector.threshold.share=0.2", "calibrate", "selector.threshold.escalation_rate"),
    ],
)
def test_an_override_by_an_old_name_is_refused_by_its_new_name(argument: str, mode: str, new: str) -> None:
    with pytest.raises(ConfigError, match=rf"expected {new}; found .*, its old name; write {new}=…"):
        overrides.refuse_renamed(["export=some", argument], mode)


def test_other_overrides_of_the_same_word_are_left_alone() -> None:
    arguments = ["target.share=0.2", "label.beta=0.3", "sure", "pause=1"]
    assert overrides.refuse_renamed(arguments, "calibrate") is None
    with pytest.raises(ConfigError, match="expected cooldown"):
        overrides.refuse_renamed(arguments, "serve")


def test_every_renamed_key_names_a_setting_that_there_is() -> None:
    modules = {
        "ServeSettings": "zooter.serve.settings",
        "MarginSelector": "zooter.selector.cascade.margin",
        "EscalationThreshold": "zooter.selector.budget",
        "RandomSelector": "zooter.selector.baseline.random",
        "FrozenRecipe": "zooter.training.recipe",
        "FinetuneRecipe": "zooter.training.recipe",
    }
    assert set(modules) == set(overrides.RENAMED_KEYS)
    for name, renamed in overrides.RENAMED_KEYS.items():
        settings = {field.name for field in fields(getattr(import_module(modules[name]), name))}
        assert set(renamed.values()) <= settings
        assert not set(renamed) & settings


def test_an_absent_file_is_refused_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="found nothing there"):
        overrides.check_training_input({"records": str(tmp_path / "nothing.parquet")})


def test_a_file_of_another_format_is_accepted_with_its_format_only(tmp_path: Path) -> None:
    path = tmp_path / "evals.csv"
    path.write_text("question,a,b\n")
    with pytest.raises(RecordsError, match=r"end in \.parquet"):
        overrides.check_training_input({"records": str(path)})
    overrides.check_training_input({"records": str(path), "format": "auto"})
    with pytest.raises(RecordsError, match="found nothing there"):
        overrides.check_training_input({"records": str(tmp_path / "nothing.csv"), "format": "auto"})


@pytest.mark.parametrize(
    ("values", "words"), [({"records": None}, "neither"), ({"records": "a", "reader": {"count": 1}}, "both")]
)
def test_training_takes_a_table_or_a_reader_not_both(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"expected either records=FILE or a reader=…; found {words}"):
        overrides.check_training_input(values)


def test_short_names_stand_for_overrides() -> None:
    given = ["train.py", "truth=verify", "compare_encoder=minilm", "pool_file=my.yaml", "truth.method=math", "pool=any"]
    assert overrides.expand_short_names(given) == [
        "train.py", "rewarder@truth=verify", "encoder@compare_encoder=minilm", "pool=_file", "pool.path=my.yaml",
        "truth.method=math", "pool=any",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_a_truth_and_a_pool_file_bind(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("candidates: {mine: {price: 1.0}}")
    given = ["truth=verify", f"pool_file={path}", "truth.method=exact", "run_dir=some", "records=some"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose(name, overrides.expand_short_names(given)), resolve=True)
    settings = config.build(values)
    assert settings.truth == VerifyRewarder("exact")
    assert settings.pool.names == ("mine",)


def test_a_choice_that_is_set_to_null_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / "file.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"expected reader among \['file'\]; found null; leave reader=… out"):
        overrides.refuse_null_choices(["until=tag", "reader=null"], tmp_path)
    overrides.refuse_null_choices(["records=null", "reader=file", "folds=null"], tmp_path)


@pytest.mark.parametrize("argument", ["compare_encoder=null", "encoder@compare_encoder=null"])
def test_a_second_choice_of_a_group_that_is_set_to_null_is_refused(tmp_path: Path, argument: str) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "minilm.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"expected compare_encoder among \['minilm'\]; found null; leave"):
        overrides.refuse_null_choices([argument], tmp_path)


@pytest.mark.parametrize("place", [1, 2, 3])
def test_selectors_stand_beside_the_other_overrides_wherever_an_option_is(options: Path, place: int) -> None:
    arguments = ["infer.py", "records=FILE", "selectors=[margin]"]
    arguments[place:place] = ["--cfg", "job"]
    expanded = overrides.expand_selectors(arguments, [options])
    positional = [i for i, argument in enumerate(expanded) if "=" in argument]
    assert positional == list(range(positional[0], positional[0] + len(positional)))
