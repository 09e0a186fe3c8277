"""A router that is trained on int8 embeddings: what it was trained to predict is what it serves."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from safetensors.numpy import load_file
from scipy.spatial.distance import cdist
from support.made_up import rows, table

import zooter
from zooter.data import reward_table
from zooter.data.split import Split
from zooter.router import manifest
from zooter.router.drift import detect_drift
from zooter.router.encoder import Encoder
from zooter.router.onnx_router import OnnxRouter
from zooter.router.torch_router import TorchRouter
from zooter.training.recipe import FrozenRecipe

TEXTS = [str(row["query"]) for row in rows(120, seed=1)[::3]]


@pytest.fixture(scope="module")
def home(export: Path) -> Path:
    """A folder with an encoder, and a cache that has its graphs."""
    return export.parents[1]


@pytest.fixture(scope="module")
def encoder(home: Path) -> Encoder:
    return Encoder(str(home / "encoder"), layers=(1, 2), device="cpu", precision="int8")


@pytest.fixture(scope="module")
def int8_export(home: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, deterministic=True)
    zooter.fit(
        table(folder / "table.parquet"), run_dir=folder / "run", cache_dir=home / "cache", encoder=encoder,
        net=FrozenRecipe(lr=1e-3, epochs=3), trainer=trainer,
    )  # fmt: skip
    return folder / "run" / "export"


def test_its_int8_form_predicts_what_training_predicted(int8_export: Path, home: Path, encoder: Encoder) -> None:
    served = OnnxRouter.from_export(int8_export, precision="int8")
    recorded = reward_table.read(int8_export.parents[1] / "table.parquet", {})
    train = [recorded.queries[i] for i in Split().parts(recorded.queries)[0].train]
    shares = json.loads((int8_export / manifest.REFERENCE).read_text())["choices"]  # of training's predictions
    choices = served.route(train).chosen_candidates()
    assert {name: choices.count(name) / len(train) for name in shares} == pytest.approx(shares, abs=1e-9)
    as_trained = TorchRouter.from_export(int8_export, "cpu").route_embedded(TEXTS, encoder.embed(TEXTS, home / "cache"))
    np.testing.assert_allclose(served.route(TEXTS).probs, as_trained[0].probs, atol=1e-5)


def test_its_float32_forms_agree_and_int8_is_compared_with_them(int8_export: Path) -> None:
    by_torch = TorchRouter.from_export(int8_export, "cpu").route(TEXTS)
    forms = {name: OnnxRouter.from_export(int8_export, precision=name).route(TEXTS) for name in ("float32", "int8")}
    np.testing.assert_allclose(forms["float32"].probs, by_torch.probs, atol=1e-5)
    same = np.array(forms["int8"].chosen_candidates()) == np.array(by_torch.chosen_candidates())
    assert same.mean() >= 0.95
    parity = json.loads((int8_export / manifest.PARITY).read_text())
    assert parity["float32"]["largest_probability_difference"] < 1e-5 < parity["int8"]["largest_probability_difference"]
    assert parity["int8"]["rewarded_queries"] == parity["int8"]["queries"]
    assert OnnxRouter.from_export(int8_export).precision == parity["default"]


def test_drift_is_measured_against_float32_embeddings_as_those_of_a_batch_are(
    int8_export: Path, home: Path, encoder: Encoder
) -> None:
    recorded = reward_table.read(int8_export.parents[1] / "table.parquet", {})
    kept = load_file(int8_export / manifest.REFERENCE_EMBEDDINGS)["embeddings"].astype(np.float32)
    float32, int8 = (
        replace(encoder, precision=name).embed(recorded.queries, home / "cache") for name in ("float32", "int8")
    )
    distances = [cdist(kept, vectors).min(axis=1).max() for vectors in (float32, int8)]
    assert distances[0] < 0.004 < distances[1], "0.002 is what rounding to 16 bits makes, 0.01 what int8 does"


def test_queries_like_those_of_training_are_no_drift_for_it(int8_export: Path) -> None:
    alike, other = detect_drift(int8_export, TEXTS, "cpu"), detect_drift(int8_export, ["law " * 9] * 30, "cpu")
    assert not alike.drifted
    assert other.drifted
