"""Whether a router routes on a table of a few hundred queries, and what is said before it is trained."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from support.made_up import TOPICS, encoder_folder

from zooter.data.reward_arrays import table_from_arrays
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part, Split
from zooter.router.encoder import Encoder
from zooter.training.advantages import AdvantageWeights, GateEvidence
from zooter.training.labels import TagSmoothing
from zooter.training.losses import ForwardKL
from zooter.training.method import TrainedRouter, TrainingMethod
from zooter.training.prepare import InitialFit
from zooter.training.recipe import FinetuneRecipe, FrozenRecipe, Recipe
from zooter.training.tagger.column import ColumnTagger

QUERIES = 398
CANDIDATES = ("large", "middle", "small")
POETRY = list(TOPICS).index("poetry")
FROZEN = FrozenRecipe(epochs=2)
# Topic → share of right answers of each candidate.
DIFFICULTY_ONLY = {"arithmetic": (0.95, 0.85, 0.75), "poetry": (0.75, 0.65, 0.55), "law": (0.45, 0.35, 0.25)}
SPECIALIST = {"arithmetic": (0.95, 0.85, 0.75), "poetry": (0.6, 0.95, 0.3), "law": (0.8, 0.4, 0.3)}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(str(encoder_folder(tmp_path_factory.mktemp("encoder"))), layers=(1, 2), device="cpu")


def made_up(shares: dict[str, tuple[float, ...]]) -> RewardTable:
    """A table of queries on three topics, with answers that are right or wrong."""
    rng = np.random.default_rng(0)
    tags = [list(TOPICS)[i % len(TOPICS)] for i in range(QUERIES)]
    queries = [f"please {' '.join(rng.choice(TOPICS[tag].split(), 4))} {i}" for i, tag in enumerate(tags)]
    rewards = (rng.random((QUERIES, len(CANDIDATES))) < np.array([shares[tag] for tag in tags])).astype(float)
    return table_from_arrays(queries, rewards, CANDIDATES, [[tag] for tag in tags])


@dataclass(frozen=True)
class Fitted:
    """A table, its split, and what does not depend on the net, which takes a second."""

    table: RewardTable
    part: Part
    initial_fit: InitialFit

    def train(self, encoder: Encoder, folder: Path, net: Recipe) -> tuple[TrainedRouter, list[str]]:
        """Train; returns the router and the candidates that it chooses on test queries."""
        method = method_of(encoder, net)
        data = method.embed(self.table, self.part, folder / "cache")
        router = method.train_part(data, self.part, folder, initial_fit=self.initial_fit)
        chosen = router.logits(data, self.part.test).argmax(axis=1)
        return router, [self.table.pool.names[j] for j in chosen]


def method_of(encoder: Encoder, net: Recipe) -> TrainingMethod:
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1)
    return TrainingMethod(encoder, ColumnTagger(), TagSmoothing(), net, ForwardKL(), trainer)


def fitted(shares: dict[str, tuple[float, ...]], encoder: Encoder, folder: Path) -> Fitted:
    table = made_up(shares)
    method, part = method_of(encoder, FROZEN), Split().parts(table.queries)[0]
    initial_fit = method.fit_part(method.embed(table, part, folder), part)
    assert isinstance(initial_fit, InitialFit)
    return Fitted(table, part, initial_fit)


@pytest.fixture(scope="module")
def difficulty_only(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(DIFFICULTY_ONLY, encoder, tmp_path_factory.mktemp("difficulty"))


@pytest.fixture(scope="module")
def specialist(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(SPECIALIST, encoder, tmp_path_factory.mktemp("specialist"))


@pytest.mark.parametrize("net", [FROZEN, FinetuneRecipe()], ids=["frozen", "finetune"])
def test_where_queries_differ_in_difficulty_only_the_best_single_model_answers_untrained(
    difficulty_only: Fitted, encoder: Encoder, tmp_path: Path, net: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    router, chosen = difficulty_only.train(encoder, tmp_path, net)
    assert set(chosen) == {"large"}
    assert router.fit.steps == 0
    assert not list(tmp_path.rglob("*.ckpt"))
    assert "no candidate's advantage can be foretold: the best single model answers, untrained" in caplog.text


def test_where_a_candidate_is_better_on_a_topic_that_topic_is_routed_to_it(
    specialist: Fitted, encoder: Encoder, tmp_path: Path
) -> None:
    router, chosen = specialist.train(encoder, tmp_path, FROZEN)
    assert router.choices()["routes"]
    tags = [row % len(TOPICS) for row in specialist.part.test]
    of_poetry = [name for name, tag in zip(chosen, tags, strict=True) if tag == POETRY]
    others = [name for name, tag in zip(chosen, tags, strict=True) if tag != POETRY]
    assert of_poetry.count("middle") > 0.9 * len(of_poetry)
    assert others.count("large") > 0.9 * len(others)


@pytest.mark.parametrize(
    ("evidence", "is_warned"), [(GateEvidence(0.05, 0.02, 0.3, {}), False), (GateEvidence(0.03, 0.02, 0.3, {}), True)]
)
def test_what_cross_fitting_tells_is_said_before_an_encoder_is_trained(
    specialist: Fitted, encoder: Encoder, tmp_path: Path, evidence: GateEvidence, is_warned: bool,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stop(*args: object, **kwargs: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("zooter.training.method.distill", stop)
    weights = AdvantageWeights(0, np.ones(3), np.ones(3), np.zeros(3))
    monkeypatch.setattr("zooter.training.cross_fitting.select_advantage_weights", lambda *args: (weights, evidence))
    caplog.set_level(logging.INFO)
    with pytest.raises(InterruptedError):
        specialist.train(encoder, tmp_path, FinetuneRecipe())
    assert f"out of fold, choices earn {evidence.gain:+.4f} (standard error 0.0200)" in caplog.text
    assert ("no clear gain over the best single model can be foretold" in caplog.text) == is_warned


def test_embeddings_are_in_float32_where_the_encoders_weights_are_trained(tmp_path: Path) -> None:
    int8 = Encoder(precision="int8")
    nets: tuple[Recipe, ...] = (FrozenRecipe(), FinetuneRecipe())
    methods = [TrainingMethod(int8, ColumnTagger(), TagSmoothing(), net, ForwardKL(), pl.Trainer) for net in nets]
    assert [method.resolve_encoder(tmp_path) for method in methods] == [int8, Encoder(precision="float32")]
