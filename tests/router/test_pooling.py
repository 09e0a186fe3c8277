"""The presets pool, prefix and cut as their models' cards say, alike in torch, in training and in ONNX."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from support.preset_encoders import PRESETS, preset, preset_folder
from transformers import AutoModel, AutoTokenizer

from zooter.errors import ExportError
from zooter.router import onnx_graph
from zooter.router.encoder import Encoder
from zooter.router.pooling import pool_states

TEXTS = ["please add sum plus minus digits please add", "law", "poem verse sonnet", "court judge law " * 7]
INSTRUCTION = "Instruct: Identify the topic and the kind of task of the user's query\nQuery:"


@pytest.fixture(scope="module", params=PRESETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = preset_folder(tmp_path_factory.mktemp(name), name)
    return Encoder(**{**preset(name), "model": str(folder), "revision": None, "max_length": 48, "device": "cpu"})


def by_the_card(encoder: Encoder, name: str) -> np.ndarray:
    """Embed `TEXTS` one by one, without padding, by transformers alone and the usage in the model's card."""
    tokenizer, model = AutoTokenizer.from_pretrained(encoder.folder), AutoModel.from_pretrained(encoder.folder).eval()
    prefix = {"multilingual_e5_small": "query: ", "qwen3_embedding": INSTRUCTION}.get(name, "")
    pooled = []
    for text in TEXTS:
        tokens = tokenizer(prefix + text, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        pooled.append({"multilingual_e5_small": states.mean(dim=0), "qwen3_embedding": states[-1]}.get(name, states[0]))
    return torch.stack(pooled).numpy()


def test_a_preset_embeds_as_its_card_says(encoder: Encoder, name: str) -> None:
    expected = by_the_card(encoder, name)
    np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.1  # the texts' embeddings differ


def test_a_text_that_is_cut_keeps_the_last_special_token(encoder: Encoder) -> None:
    cut = encoder.tokenize(["law " * 100])[0]
    assert len(cut) == 48
    assert cut[-1] == 2


@pytest.mark.slow
def test_the_onnx_graph_of_a_preset_embeds_as_torch_does(encoder: Encoder) -> None:
    session = ort.InferenceSession(ir.to_proto(onnx_graph.trace_encoder(encoder)).SerializeToString())
    tokens, mask = (tensor.numpy() for tensor in encoder.pad(encoder.tokenize(TEXTS)))
    embeddings = session.run(["embeddings"], {"input_ids": tokens, "attention_mask": mask})[0]
    np.testing.assert_allclose(embeddings, encoder.embed(TEXTS), atol=1e-5)


def test_an_encoder_too_large_for_one_graph_is_refused_with_its_size(
    name: str, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 1_000)
    with pytest.raises(ExportError, match=r"export\.onnx=false"):
        onnx_graph.trace_encoder(encoder)


class Given(torch.nn.Module):
    """States that are given."""

    def __init__(self, *states: torch.Tensor) -> None:
        super().__init__()
        self.hidden_states = states

    def forward(self, **inputs: object) -> "Given":
        return self


def test_pooling_takes_first_last_or_mean_of_real_tokens_in_each_layer() -> None:
    first = torch.tensor([[[1.0], [2.0], [9.0]], [[3.0], [5.0], [7.0]]])
    backbone, mask = Given(first, 10 * first), torch.tensor([[1, 1, 0], [1, 1, 1]])
    expected = {"cls": [1.0, 3.0], "last_token": [2.0, 7.0], "mean": [1.5, 5.0]}
    for pooling, values in expected.items():
        pooled = pool_states(backbone, mask, mask, (0, 1), pooling)  # type: ignore[arg-type]
        torch.testing.assert_close(pooled, torch.tensor([[value, 10 * value] for value in values]))


def test_pooling_and_prefix_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = str(preset_folder(tmp_path, "bge_m3"))
    names = {Encoder(folder, pooling=pooling).fingerprint for pooling in ("mean", "cls", "last_token")}  # type: ignore[arg-type]
    assert len(names | {Encoder(folder, prefix="query: ").fingerprint}) == 4
