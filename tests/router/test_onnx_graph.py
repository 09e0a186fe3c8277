"""A head written out as a graph says what torch says, whatever its views."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from zooter.router import onnx_graph
from zooter.router.net import Head
from zooter.router.text_features import TEXT_FEATURES


def counts() -> ir.Model:
    """In the place of an encoder: the embeddings of three tokens are their numbers."""
    kinds = {"shape": ir.Shape(["texts", 3]), "type": ir.TensorType(ir.DataType.INT64)}
    ids, mask = (ir.Value(name=name, **kinds) for name in onnx_graph.INPUTS)
    cast = ir.node("Cast", [ids], attributes={"to": int(ir.DataType.FLOAT)})
    found = cast.outputs[0]
    found.name, found.type = "embeddings", ir.TensorType(ir.DataType.FLOAT)
    return ir.Model(ir.Graph([ids, mask], [found], nodes=[cast], opset_imports={"": 20}), ir_version=10)


def head(views: list[int]) -> Head:
    """With nothing left at its first value."""
    made = Head(3 + TEXT_FEATURES, 4, views, width=5).eval()
    for tensor in [*made.parameters(), *made.buffers()]:
        tensor.data = torch.randn(tensor.shape)
    made.scale, made.calibration = made.scale.abs() + 0.1, torch.tensor(0.7)
    return made


@pytest.mark.parametrize("views", [[], [3], [3, 6]])
def test_a_joined_graph_says_what_the_head_says(views: list[int]) -> None:
    torch.manual_seed(len(views))
    made, rng = head(views), np.random.default_rng(0)
    session = ort.InferenceSession(ir.to_proto(onnx_graph.attach_head(counts(), made)).SerializeToString())
    for n in (1, 7):
        ids, looks = rng.integers(0, 9, (n, 3)), rng.normal(size=(n, TEXT_FEATURES)).astype(np.float32)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "surface": looks}
        logits, rewards, tags = session.run(["logits", "rewards", "tags"], fed)
        read = torch.from_numpy(np.hstack([ids.astype(np.float32), looks]))
        with torch.inference_mode():
            np.testing.assert_allclose(rewards, made.expected(read), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(logits, made.expected(read) / 0.7, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(tags, made.tags(read), rtol=1e-4, atol=1e-5)
