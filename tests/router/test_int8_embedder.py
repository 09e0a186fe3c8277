"""Embeddings by the int8 graph: near torch's, the same in any batch, and kept apart from them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.made_up import rows

from zooter.errors import ExportError
from zooter.router import encoder_graphs, int8_embedder
from zooter.router.encoder import Encoder

TEXTS = [*(str(row["query"]) for row in rows(12)), "law", "please court judge law verse rhyme " * 9]


@pytest.fixture
def folder(export: Path) -> Path:
    """The folder of an encoder whose graphs are in the cache beside it."""
    return export.parent.parent


@pytest.fixture(autouse=True)
def _choose_again() -> Iterator[None]:
    int8_embedder.choose_precision.cache_clear()
    yield
    int8_embedder.choose_precision.cache_clear()


def encoder(folder: Path, precision: str = "auto") -> Encoder:
    return Encoder(str(folder / "encoder"), layers=(1, 2), precision=precision, device="cpu")  # type: ignore[arg-type]


def test_int8_embeddings_are_near_torchs_and_the_same_in_any_batch(folder: Path) -> None:
    int8 = encoder(folder, "int8")
    embed_batch, _ = int8_embedder.start_embedding(int8, folder / "cache")
    ids = int8.tokenize(TEXTS)
    together, alone = embed_batch(ids), np.concatenate([embed_batch([row]) for row in ids])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    by_torch = encoder(folder, "float32").embed(TEXTS)
    cosine = (together * by_torch).sum(axis=1)
    cosine /= np.linalg.norm(together, axis=1) * np.linalg.norm(by_torch, axis=1)
    assert 0.99 < cosine.min() < 1.0


def test_both_precisions_have_stores_of_their_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "graphs").symlink_to(folder / "cache" / "graphs")
    vectors = {name: encoder(folder, name).embed(TEXTS, tmp_path) for name in ("float32", "int8")}
    assert len(list((tmp_path / "embeddings").iterdir())) == 2
    assert (vectors["int8"] != vectors["float32"]).any()
    np.testing.assert_array_equal(encoder(folder, "int8").embed(TEXTS, tmp_path), vectors["int8"])


def test_auto_embeds_in_float32_where_no_training_has_resolved_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_embedder, "LEAST_BYTES", 0)
    by_torch = encoder(folder, "float32").embed(TEXTS)
    np.testing.assert_allclose(encoder(folder).embed(TEXTS, tmp_path), by_torch, atol=1e-5)
    np.testing.assert_allclose(encoder(folder).embed(TEXTS), by_torch, atol=1e-5)


def test_auto_is_int8_for_large_encoders_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_embedder, "products_are_exact", lambda: True)
    assert encoder(folder).resolve(folder / "cache").precision == "float32"
    int8_embedder.choose_precision.cache_clear()
    monkeypatch.setattr(int8_embedder, "LEAST_BYTES", 0)
    assert encoder(folder).resolve(folder / "cache").precision == "int8"
    assert encoder(folder).resolve(None).precision == "float32", "without a cache, which keeps the graph"


def test_a_cpu_that_overflows_or_an_encoder_without_a_graph_embeds_in_float32_and_says_why_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(encoder: Encoder) -> None:
        raise ExportError(expected="an encoder", found="another", do="nothing")

    monkeypatch.setattr(int8_embedder, "LEAST_BYTES", 0)
    monkeypatch.setattr(encoder_graphs.onnx_graph, "trace_encoder", refuse)
    for exact, reason in ((False, "8-bit products overflow"), (True, "expected an encoder")):
        monkeypatch.setattr(int8_embedder, "products_are_exact", lambda exact=exact: exact)
        int8_embedder.choose_precision.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.INFO, "zooter"):
            assert [encoder(folder).resolve(tmp_path).precision for _ in range(2)] == ["float32"] * 2
        assert [reason in record.getMessage() for record in caplog.records] == [True]


def test_a_cpu_that_overflows_and_embeds_in_int8_all_the_same_is_warned_about(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(int8_embedder, "products_are_exact", lambda: False)
    int8_embedder.start_embedding(encoder(folder, "int8"), folder / "cache")
    assert "set encoder.precision=float32" in caplog.text
