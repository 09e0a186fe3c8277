"""Features in chunks: fits on them are those on all rows at once."""

import numpy as np
import pytest
import torch
from torch import nn

from zooter.data import mapped
from zooter.data.types import Rewards, Tags
from zooter.router.net import encoder_and_text_features
from zooter.training import cross_fitting, feature_rows, head_init
from zooter.training.closed_form import fit_classifier, fit_ridge
from zooter.training.feature_rows import FeatureRows, map_features

N = 50
FEATURES = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
REWARDS = Rewards(np.random.default_rng(0).random((N, 2)), ("a", "b"))
TAGS = Tags.from_rows([["x"] if row[0] > 0 else ["y", "z"] if row[1] > 0 else [] for row in FEATURES])


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of seven rows, the last one of a single row."""
    monkeypatch.setattr(mapped, "CHUNK_ROWS", 7)
    monkeypatch.setattr(feature_rows, "CHUNK_ROWS", 7)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_the_selected_rows_in_order() -> None:
    rows = FeatureRows.of(FEATURES).take(np.arange(10, 30)).take(np.arange(0, 20, 2)).transformed(torch.neg)
    slices, values = zip(*rows.chunks(), strict=True)
    assert slices == (slice(0, 7), slice(7, 10))
    assert torch.equal(torch.cat(values), -FEATURES[10:30:2])


def test_fits_in_chunks_are_those_at_once(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    in_chunks = fits()
    monkeypatch.setattr(feature_rows, "CHUNK_ROWS", N)
    for actual, expected in zip(in_chunks, fits(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def fits() -> list[np.ndarray]:
    linear = nn.Linear(4, 3)
    fit_classifier(linear, FEATURES, TAGS)
    head = head_init.init_head(FEATURES, REWARDS, [TAGS], temperature=1.0, width=4, dropout=0.0)
    residual = head_init.fit_residual_ridges(head, FEATURES, REWARDS)[0.1]
    out_of_fold = cross_fitting.cross_fit(FEATURES, REWARDS, [TAGS], seed=0)
    ridge = fit_ridge(FEATURES, np.where(REWARDS.values > 0.9, np.nan, REWARDS.values))[0.1]
    arrays = [linear.weight, head.mean, head.scale, head.rewards[0]]
    return [*(x.detach().numpy() for x in arrays), residual, ridge, out_of_fold.from_tags, out_of_fold.residual[0.1]]


@pytest.mark.usefixtures("small_chunks")
def test_features_in_a_file_are_those_in_memory() -> None:
    embeddings, texts = FEATURES.numpy(), [f"What is {i} + 1?" for i in range(N)]
    assert torch.equal(map_features(embeddings, texts), encoder_and_text_features(embeddings, texts))
