"""Embeddings: means over real tokens, whatever the batch, and a cache that computes nothing twice."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.made_up import encoder_folder
from transformers import AutoModel, AutoTokenizer

from zooter.errors import ConfigError
from zooter.router import torch_embedder
from zooter.router.encoder import Encoder
from zooter.router.pooling import pool_states

LAST = (-1,)
TEXTS = ["please add", "poem rhyme verse sonnet stanza please", "law", "please add", "sum sum sum"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("encoder"))


def one_by_one(folder: Path, text: str) -> np.ndarray:
    """The mean of the last layer's states, by transformers alone and without padding."""
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    return states[0].mean(dim=0).numpy()


def test_embeddings_are_means_over_real_tokens_whatever_the_batch(folder: Path) -> None:
    embeddings = Encoder(str(folder), layers=LAST).embed(TEXTS)
    expected = np.stack([one_by_one(folder, text) for text in TEXTS])
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 8, 10_000])
def test_the_batch_size_does_not_change_embeddings(folder: Path, batch_tokens: int) -> None:
    embeddings = Encoder(str(folder), layers=LAST, batch_tokens=batch_tokens).embed(TEXTS)
    np.testing.assert_allclose(embeddings, Encoder(str(folder), layers=LAST).embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize(("batch_tokens", "largest"), [(8_192, 12), (6, 6)])
def test_a_cpu_gets_no_larger_batches_than_fit_its_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch_tokens: int, largest: int
) -> None:
    sizes = []

    def recording(backbone: torch.nn.Module, tokens: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append(tokens.numel())
        return pool_states(backbone, tokens, *rest)

    monkeypatch.setattr(torch_embedder, "CPU_TOKENS", 12)
    monkeypatch.setattr(torch_embedder, "pool_states", recording)
    Encoder(str(folder), layers=LAST, batch_tokens=batch_tokens, device="cpu").embed(["please add"] * 12)
    assert sizes == [largest] * (24 // largest)


def test_a_cached_embedding_is_not_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Encoder(str(folder), layers=LAST).embed(TEXTS, tmp_path)

    def refuse(self: Encoder) -> None:
        raise AssertionError("the model was loaded again")

    monkeypatch.setattr(Encoder, "backbone", refuse)
    np.testing.assert_array_equal(Encoder(str(folder), layers=LAST).embed(TEXTS[::-1], tmp_path), first[::-1])


def test_only_new_texts_are_computed_when_the_set_grows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Encoder(str(folder), layers=LAST).embed(TEXTS, tmp_path)
    seen: list[str] = []
    tokenize = Encoder.tokenize
    monkeypatch.setattr(Encoder, "tokenize", lambda self, texts: seen.extend(texts) or tokenize(self, texts))
    Encoder(str(folder), layers=LAST).embed([*TEXTS, "court judge"], tmp_path)
    assert seen == ["court judge"]


def test_other_lengths_and_other_weights_have_other_fingerprints(folder: Path, tmp_path: Path) -> None:
    other = encoder_folder(tmp_path / "other")
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    names = {
        Encoder(str(folder), layers=LAST).fingerprint,
        Encoder(str(folder), max_length=16, layers=LAST).fingerprint,
    }
    assert len(names | {Encoder(str(other), layers=LAST).fingerprint}) == 3


def test_settings_that_cannot_change_an_embedding_leave_the_fingerprint(folder: Path) -> None:
    assert (
        Encoder(str(folder), layers=LAST, batch_tokens=7, device="cpu").fingerprint
        == Encoder(str(folder), layers=LAST).fingerprint
    )


def test_a_long_text_is_cut_with_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder(str(folder), max_length=8, layers=LAST)
    with caplog.at_level(logging.WARNING, "zooter"):
        embeddings = encoder.embed(["law " * 250_000, "law"])  # one megabyte
    assert [record.getMessage() for record in caplog.records if record.name == "zooter.router.encoder"] == [
        "1 of 2 queries are longer than 8 tokens; the rest of them is not read"
    ]
    np.testing.assert_allclose(embeddings[0], one_by_one(folder, "law " * 8), atol=1e-5)


def test_no_texts_give_no_rows_from_a_cache(folder: Path, tmp_path: Path) -> None:
    Encoder(str(folder), layers=LAST).embed(TEXTS, tmp_path)
    assert Encoder(str(folder), layers=LAST).embed(TEXTS[:0], tmp_path).shape[0] == 0


def test_the_default_encoder_loads_offline_and_embeds_similar_texts_closely() -> None:
    embeddings = Encoder(max_length=32).embed(
        ["A cat sat on the mat.", "A kitten lay on the rug.", "Tax law of Norway"]
    )
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[0, 1] > cosine[0, 2] + 0.3


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=re.escape("pip install no-such-package")):
        _ = Encoder("pkg://no_such_package/model").folder


def test_a_hub_model_that_cannot_be_downloaded_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"expected encoder\.model to be a folder or a reachable hub id"):
        _ = Encoder("no-one/no-such-model").folder


def test_a_length_too_short_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_length to be greater than or equal to 8"):
        Encoder(max_length=2)


def test_layers_are_averaged_each_and_concatenated(folder: Path) -> None:
    tokens = AutoTokenizer.from_pretrained(folder)("please add sum", return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(**tokens, output_hidden_states=True).hidden_states
    expected = np.concatenate([states[layer][0].mean(dim=0).numpy() for layer in (0, 2)])
    np.testing.assert_allclose(Encoder(str(folder), layers=(0, 2)).embed(["please add sum"])[0], expected, atol=1e-5)


def test_a_layer_that_the_model_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.layers between -3 and 2"):
        Encoder(str(folder), layers=(2, 4, 6)).embed(["please"])
