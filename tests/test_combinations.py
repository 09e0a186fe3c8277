"""Every combination of net, encoder, objective, tagger and trainer composes; every pair of options trains."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.fake_responder import FakeResponder
from support.made_up import TOPICS, deberta_folder, encoder_folder, table
from support.paths import CONF
from support.preset_encoders import PRESETS, preset_folder

from zooter.commands import config
from zooter.commands.train_settings import TrainSettings
from zooter.data import reward_table
from zooter.data.split import Split
from zooter.errors import ConfigError
from zooter.router.encoder import Encoder
from zooter.training.tagger.instag import InstagTagger

pytestmark = pytest.mark.slow

GROUPS = ("objective", "tagger", "trainer", "net", "encoder")
OPTIONS = {group: sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml")) for group in GROUPS}
# An encoder of n-grams has no weights for a net that trains them.
REFUSED = {("finetune", "ngrams"), ("zooter", "ngrams")}
GIVEN = ["records=table.parquet", "run_dir=run", "logger=none"]


@cache
def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("train", [*overrides, *GIVEN]), resolve=True)
    assert isinstance(values, dict)
    return values


def combined(chosen: dict[str, str]) -> dict[str, Any]:
    """What the command line composes for these options, as long as each of them sets nothing but its own keys."""
    parts = [composed(f"{group}={option}") for group, option in chosen.items()]
    own = [{key: part[key] for key in own_keys(group)} for group, part in zip(chosen, parts, strict=True)]
    return {**composed(), **{key: value for part in own for key, value in part.items()}}


def own_keys(group: str) -> set[str]:
    return {group, "label"} if group == "net" else {group}  # the paper's net comes with the paper's labels


@pytest.mark.parametrize("group", GROUPS)
def test_an_option_sets_nothing_but_its_own(group: str) -> None:
    for option in OPTIONS[group]:
        values, default = composed(f"{group}={option}"), composed()
        changed = {key for key in values if values[key] != default[key]}
        assert changed <= own_keys(group), option


def test_every_combination_builds_or_is_refused_with_a_reason() -> None:
    count = 0
    for options in product(*OPTIONS.values()):
        count += 1
        chosen = dict(zip(OPTIONS, options, strict=True))
        if (chosen["net"], chosen["encoder"]) in REFUSED:
            with pytest.raises(ConfigError, match="encoder=ngrams, which has none to train"):
                config.build(combined(chosen))
            continue
        assert isinstance(config.build(combined(chosen)), TrainSettings)
    assert count == np.prod([len(options) for options in OPTIONS.values()]) >= 384


def test_a_combination_is_what_the_command_line_composes() -> None:
    chosen = {"objective": "reverse_kl", "tagger": "cluster", "trainer": "gpu", "net": "zooter", "encoder": "mdeberta"}
    assert composed(*(f"{group}={option}" for group, option in chosen.items())) == combined(chosen)


# -- training: rows that have every pair of options, each chosen for the pairs that are still missing

Pair = frozenset[tuple[str, str]]


def pairs_of(row: dict[str, str]) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def is_refused(row: dict[str, str]) -> bool:
    return (row.get("net"), row.get("encoder")) in REFUSED


def covering_rows() -> list[dict[str, str]]:
    """Choose rows greedily: each begins with a missing pair, and takes the options of most missing pairs."""
    every = {
        pair
        for one, other in combinations(GROUPS, 2)
        for options in product(OPTIONS[one], OPTIONS[other])
        for pair in pairs_of(dict(zip((one, other), options, strict=True)))
    }
    missing = {pair for pair in every if not is_refused(dict(pair))}
    rows: list[dict[str, str]] = []
    while missing:
        row = dict(min(missing, key=sorted))
        for group in GROUPS:
            if group not in row:
                extended = [row | {group: option} for option in OPTIONS[group]]
                row = max((r for r in extended if not is_refused(r)), key=lambda r: len(pairs_of(r) & missing))
        rows.append({group: row[group] for group in GROUPS})
        missing -= pairs_of(row)
    return rows


ROWS = covering_rows()


def test_the_rows_have_every_pair_of_options() -> None:
    for one, other in combinations(GROUPS, 2):
        pairs = {(row[one], row[other]) for row in ROWS}
        assert pairs == set(product(OPTIONS[one], OPTIONS[other])) - REFUSED
    assert len(ROWS) <= 36


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combinations")
    encoder_folder(folder / "minilm")
    deberta_folder(folder / "mdeberta")
    for name in PRESETS:
        preset_folder(folder / name, name)
    table(folder / "table.parquet", 150)
    return folder


@pytest.fixture
def single_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what DistributedDataParallel sets up in this process."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in set(os.environ) - set(before):
        del os.environ[name]


def topic_of(text: str) -> str:
    query = text.rpartition("User query: ")[2]
    return next(topic for topic, words in TOPICS.items() if query.split()[1] in words.split())


def on_tiny_models(settings: TrainSettings, home: Path, encoder: str) -> TrainSettings:
    """The same settings with a random encoder, a responder that tags by topic, one epoch and no GPU."""
    text_encoder = settings.encoder
    if isinstance(text_encoder, Encoder):
        layers = (1, 2) if len(text_encoder.layers) > 1 else text_encoder.layers
        text_encoder = replace(text_encoder, model=str(home / encoder), layers=layers)
    tagger: Any = settings.tagger
    if isinstance(tagger, InstagTagger):
        replies = FakeResponder(lambda text: json.dumps([{"tag": topic_of(text), "explanation": ""}]))
        tagger = replace(tagger, responder=replies, encoder=None, cache_dir=home / "cache")
    return replace(
        settings,
        encoder=text_encoder,
        tagger=tagger,
        net=replace(settings.net, epochs=1),  # type: ignore[type-var]
        trainer=partial(settings.trainer, accelerator="cpu"),
        cache_dir=home / "cache",
    )


@pytest.mark.usefixtures("single_process")
@pytest.mark.parametrize("chosen", ROWS, ids=lambda row: "-".join(row.values()))
def test_every_pair_of_options_trains(home: Path, tmp_path: Path, chosen: dict[str, str]) -> None:
    method = on_tiny_models(config.build(combined(chosen)), home, chosen["encoder"]).method
    read = reward_table.read(home / "table.parquet")
    part = Split().parts(read.queries)[0]
    data = method.embed(read, part, home / "cache")
    trained = method.train_part(data, part, tmp_path)
    assert trained.fit.steps > 0
    assert np.isfinite(trained.fit.val_loss)
    logits = trained.logits(data, part.test)
    assert logits.shape == (len(part.test), 3)
    assert np.isfinite(logits).all()
