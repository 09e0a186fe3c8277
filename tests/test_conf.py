"""Every YAML binds to what it configures, with and without being chosen."""

from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from support.paths import CONF

from zooter.commands import config
from zooter.errors import ConfigError
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import Needs

SELECTORS = sorted(path.stem for path in CONF.glob("selector/[!_]*.yaml"))  # several are chosen at once, by name
OPTIONS = sorted(path for path in CONF.glob("*/[!_]*.yaml") if path.parent.name != "selector")  # _*.yaml: their parts
EXPERIMENTS = sorted(path.stem for path in CONF.glob("experiment/*.yaml"))
GIVEN = ["records=some.parquet", "run_dir=some"]


ENCODERS = sorted(path.stem for path in CONF.glob("encoder/*.yaml"))
NETS = ("frozen", "finetune", "zooter")


def composed(name: str, overrides: list[str]) -> dict[str, Any]:
    return _composed(name, tuple(overrides))


@cache
def _composed(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return values


def override(option: Path) -> str:
    return f"{option.parent.name}={option.stem}"


@pytest.mark.parametrize("option", OPTIONS, ids=override)
def test_every_option_builds(option: Path) -> None:
    settings = config.build(composed("train", [override(option), *GIVEN]))
    assert settings.records == Path("some.parquet")


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_builds(name: str) -> None:
    node = composed("train", [f"+selector={name}", *GIVEN])["selector"]
    built = config.build(node)
    assert isinstance(built.needs, Needs)
    assert type(built).__module__.startswith("zooter.selector.")
    if name.endswith("_modelswitch"):
        return  # another's settings for the same class
    # Prompts have no default: they stand in the YAML alone.
    given = {f.name: getattr(built, f.name) for f in fields(built) if f.default is f.default_factory is MISSING}
    default = type(built)(**given)
    for key in {key for key, value in node.items() if not isinstance(value, dict)} - {config.TARGET}:
        assert getattr(built, key) == getattr(default, key), f"conf and {type(built).__name__} disagree on {key}"


def test_infer_binds() -> None:
    settings = config.build(composed("infer", ["export=some", "queries=some.jsonl"]))
    assert settings.queries == Path("some.jsonl")


@pytest.mark.parametrize("mode", ["drift", "export"])
def test_the_modes_for_a_file_of_queries_bind(mode: str) -> None:
    settings = config.build(composed(mode, ["export=some", "queries=some.jsonl"]))
    assert settings.queries == Path("some.jsonl")


def test_serve_binds_and_its_defaults_are_those_of_its_class() -> None:
    settings = config.build(composed("serve", ["export=some", "pool_file=some.yaml"]))
    assert settings == type(settings)(Path("some"), Path("some.yaml"))


def test_evaluate_binds_with_several_selectors_and_changes_to_one() -> None:
    chosen = [f"+selector@selectors.{name}={name}" for name in ("margin", "knn")]
    changed = ["selectors.margin.signal=logit", "+selector@selectors.other=margin"]
    settings = config.build(composed("evaluate", [*chosen, *changed, "records=some", "run_dir=some"]))
    assert list(settings.selectors) == ["margin", "knn", "other"]
    assert [settings.selectors[name].signal for name in ("margin", "other")] == ["logit", "probability"]
    assert settings.split == type(settings.split)()


@pytest.mark.parametrize(("chosen", "kind"), [([], type(None)), (["selector=margin"], MarginSelector)])
def test_calibrate_binds_for_the_router_and_for_a_cascade(chosen: list[str], kind: type) -> None:
    settings = config.build(composed("calibrate", [*chosen, "export=some", "records=some", "target.share=0.2"]))
    assert isinstance(settings.selector, kind)
    assert settings.split == type(settings.split)()


def test_presets_of_reward_models_ask_for_no_code() -> None:
    presets = [path.stem for path in OPTIONS if path.parent.name == "rewarder"]
    nodes = {name: composed("train", [f"rewarder={name}", *GIVEN])["rewarder"] for name in presets}
    models = {name: node["model"] for name, node in nodes.items() if "trust_remote_code" in node}
    assert {"skywork_600m", "skywork_8b", "oasst", "armorm"} <= set(models)
    assert not any(nodes[name]["trust_remote_code"] for name in models)
    assert all(model.count("/") == 1 for name, model in models.items() if name != "zoo")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_every_net_and_encoder(experiment: str, encoder: str) -> None:
    # Every pair of the three comes up; each composition takes a sixth of a second.
    net = NETS[(EXPERIMENTS.index(experiment) + ENCODERS.index(encoder)) % len(NETS)]
    chosen = [f"experiment={experiment}", f"encoder={encoder}", f"net={net}"]
    found = composed("train", [*chosen, *GIVEN])
    assert found["net"]["_target_"].lower().endswith(f"{net}recipe")
    assert found["encoder"] == composed("train", [f"encoder={encoder}", *GIVEN])["encoder"]
    if encoder == "ngrams" and net != "frozen":
        with pytest.raises(ConfigError, match="which has none to train"):
            config.build(found)
        return
    config.build(found)


def test_the_paper_preset_has_the_published_settings() -> None:
    found = composed("train", ["experiment=zooter_paper", *GIVEN])
    assert found["encoder"]["model"] == "microsoft/mdeberta-v3-base"
    assert found["encoder"]["layers"] == [-1]
    assert found["net"]["_target_"].endswith("ZooterRecipe")
    assert (found["net"]["lr"], found["net"]["weight_decay"], found["net"]["epochs"]) == (1e-5, 5e-7, 5)
    label = {key: found["label"][key] for key in ("beta", "temperature", "unit", "order", "shrinkage", "hard")}
    assert label == {"beta": 0.3, "temperature": 1.0, "unit": "reward", "order": "soften_then_average",
                     "shrinkage": 0.0, "hard": False}  # fmt: skip
    assert found["objective"]["_target_"].endswith("ForwardKL")
    sampling = found["responder"]["sampling"]
    assert (sampling["temperature"], sampling["max_new_tokens"]) == (0.7, 2048)
    assert len(config.build(found).pool.candidates) == 6


def test_groups_of_tags_and_rows_to_read_are_set_on_the_command_line() -> None:
    values = composed("train", ["groups={law: MMLU, art: MMLU}", "reader=hub", "reader.where={lang: [en, de]}", *GIVEN])
    assert values["groups"] == {"law": "MMLU", "art": "MMLU"}
    assert values["reader"]["where"] == {"lang": ["en", "de"]}


def test_debates_of_modelswitch_make_fifteen_calls() -> None:
    mad = composed("train", ["+selector=mad_modelswitch", *GIVEN])["selector"]
    chateval = composed("train", ["+selector=chateval_modelswitch", *GIVEN])["selector"]
    assert (mad["agents"] * mad["rounds"], len(mad["candidates"])) == (15, 1)
    assert chateval["turns"] * len(chateval["names"]) == 15
    assert chateval["names"] == ["General Public", "Critic", "Scientist"]


@pytest.mark.parametrize("overrides", [["labell.beta=1"], ["label.betta=1"], ["tagger=clusters"]])
def test_a_misspelt_key_or_option_is_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigCompositionException):
        composed("train", [*overrides, *GIVEN])


def test_the_defaults_of_a_yaml_are_those_of_its_class() -> None:
    values = composed("train", GIVEN)
    for key in ("label", "split", "net", "encoder"):
        built = config.build(values[key])
        assert built == type(built)(), f"conf and {type(built).__name__} disagree"
    verify = config.build(composed("train", ["rewarder=verify", *GIVEN])["rewarder"])
    assert verify == type(verify)()
