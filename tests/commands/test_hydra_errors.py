"""Mistyped settings: the message has the name that was meant, and following it works."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF

from zooter.commands.hydra_errors import closest_key, errors_of_settings
from zooter.errors import ConfigError


def composed(config: str, *overrides: str) -> None:
    with errors_of_settings(["reader", "pool"]), initialize_config_dir(str(CONF), version_base="1.3"):
        compose(config, list(overrides))


@pytest.mark.parametrize(
    ("config", "mistyped", "hint", "followed"),
    [
        ("train", "record=FILE", "did you mean records=…?", "records=FILE"),
        ("train", "label.bta=0.3", "did you mean label.beta=…?", "label.beta=0.3"),
        ("train", "labell.beta=0.3", "did you mean label=…?", "label.beta=0.3"),
        ("train", "beta=0.3", "did you mean label.beta=…?", "label.beta=0.3"),
        ("train", "reder=file", "did you mean reader=…?", "reader=file"),
        ("train", "tagger=clster", "write tagger=cluster", "tagger=cluster"),
        ("train", "encoder.max_len=9", "did you mean encoder.max_length=…?", "encoder.max_length=9"),
        ("evaluate", "rewarder=verfy", "write rewarder=verify", "rewarder=verify"),
        ("infer", "exprot=DIR", "did you mean export=…?", "export=DIR"),
    ],
)
def test_a_mistyped_name_is_refused_with_the_one_that_was_meant(
    config: str, mistyped: str, hint: str, followed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(config, mistyped)
    assert caught.value.do == hint
    assert caught.value.found in mistyped
    composed(config, followed)


def test_the_keys_and_options_that_there_are_stand_in_the_message() -> None:
    with pytest.raises(ConfigError, match=r"expected a key among \['beta', 'hard', .*; found label\.zzz; correct it"):
        composed("train", "label.zzz=1")
    with pytest.raises(ConfigError, match=r"expected pool among \['any', .*'zoo'.*\]; found qqq; choose one of them"):
        composed("train", "pool=qqq")


def test_a_value_that_cannot_be_read_is_refused_with_the_way_to_quote_it() -> None:
    with pytest.raises(ConfigError, match=r"found records=a\{; quote a value with commas"):
        composed("train", "records=a{")
    composed("train", "records='a{'")


def test_an_interpolation_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="Interpolation key 'nothing' not found"), errors_of_settings():
        OmegaConf.to_container(OmegaConf.create({"records": "${nothing}"}), resolve=True)


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), errors_of_settings():
        _ = 1 / 0


def test_the_closest_key_is_of_that_name_or_spelt_much_like_it() -> None:
    keys = ["label", "label.beta", "net.lr", "net.width", "recipe.width", "seed"]
    assert closest_key("beta", keys) == "label.beta"
    assert closest_key("net.lrr", keys) == "net.lr"
    assert closest_key("sede", keys) == "seed"
    assert closest_key("zzz", keys) is None
