"""Embed texts on a CPU by the int8 graph of an encoder, which also serves, in half of torch's time."""

import functools
import logging
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from zooter.errors import ExportError
from zooter.router.encoder import EmbedBatch, Encoder
from zooter.router.encoder_graphs import graph_files
from zooter.router.model_inputs import pad
from zooter.router.onnx_int8 import MICROSOFT
from zooter.router.onnx_router import start_session

log = logging.getLogger(__name__)

# Of weights. Tracing takes seconds, in which torch embeds thousands of texts with a smaller encoder.
LEAST_BYTES = 2**24
BATCH_TOKENS = 512  # padded; int8's states of more leave the cache: 2,048 take a quarter more time


@functools.cache
def choose_precision(encoder: Encoder, cache: Path) -> Literal["float32", "int8"]:
    """Choose the precision of an encoder's embeddings, and make the graph for int8 where it is missing.

    It is "int8" for encoders of the size of MiniLM and more, on a CPU that multiplies 8-bit numbers exactly, if ONNX
    Runtime can compute them. Else it is "float32", for a reason that is logged once unless it is the encoder's size.

    Args:
        encoder: its precision is "auto".
        cache: folder that keeps graphs.
    """
    if encoder.torch_device().type != "cpu":
        return "float32"
    if sum(path.stat().st_size for path in encoder.folder.glob("*.safetensors")) < LEAST_BYTES:
        return "float32"
    if not products_are_exact():
        log.info("embedding in float32: this CPU's 8-bit products overflow (it has no VNNI)")
        return "float32"
    try:
        with graph_files(encoder, cache):
            return "int8"
    except ExportError as error:
        log.info("embedding in float32: %s", error)
        return "float32"


def start_embedding(encoder: Encoder, cache: Path) -> tuple[EmbedBatch, int]:
    """Load an encoder's int8 graph; return what embeds a batch of token ids, and the padded tokens of a batch at most.

    Args:
        encoder: whose embeddings are computed.
        cache: folder that keeps the graph.
    """
    if not products_are_exact():  # another machine of the cluster has chosen int8, or the settings have
        log.warning("8-bit products overflow on this CPU: its int8 embeddings are wrong; set encoder.precision=float32")
    with graph_files(encoder, cache) as files:
        session = start_session(files["int8"], torch.get_num_threads())

    def embed_batch(ids: list[list[int]]) -> NDArray[np.float32]:
        """Embed b rows of token ids: (b, e)."""
        return np.asarray(session.run(["embeddings"], pad(ids))[0])

    return embed_batch, min(encoder.batch_tokens, BATCH_TOKENS)


@functools.cache
def products_are_exact() -> bool:
    """Probe whether this CPU sums products of 8-bit numbers without overflow, as those with VNNI, AMX or on ARM do.

    Others add pairs of products in 16 bits, and keep 32,767 of 2 · 255 · 127.
    """
    values, weights = np.full((4, 64), 255, dtype=np.uint8), np.full((64, 16), 127, dtype=np.int8)
    kinds = {"x": ir.TensorType(ir.DataType.UINT8), "w": ir.TensorType(ir.DataType.INT8)}
    x = ir.Value(name="x", type=kinds["x"], shape=ir.Shape(values.shape))
    constant = ir.Value(
        name="w", type=kinds["w"], shape=ir.Shape(weights.shape), const_value=ir.tensor(weights, name="w")
    )
    node = ir.node("MatMulInteger", [x, constant])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.INT32)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[constant], opset_imports={"": 20, MICROSOFT: 1})
    proto = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    products = ort.InferenceSession(proto, providers=["CPUExecutionProvider"]).run(["y"], {"x": values})[0]
    return bool((products == values.astype(int) @ weights).all())
