"""A router as an ONNX graph in float32, of standard operators alone: a traced encoder and a head built node by node.

Tracing takes seconds, and all routers with one encoder share its graph: only the head differs.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from zooter.errors import ExportError
from zooter.router.encoder import Encoder
from zooter.router.linear_head import LinearHead
from zooter.router.net import CLIP, Head, RouterHead
from zooter.router.pooling import Pooling, pool_states
from zooter.router.text_features import TEXT_FEATURES

INPUTS = ["input_ids", "attention_mask"]
MAX_BYTES = 2**31 - 2**24  # of weights: a graph is one protobuf message, of 2 GiB at most
OPSET, IR_VERSION = 20, 10  # as torch writes them


class PooledEncoder(nn.Module):
    """A transformers encoder followed by `pool_states`."""

    def __init__(self, backbone: nn.Module, layers: tuple[int, ...], pooling: Pooling = "mean") -> None:
        """Pool the hidden states of these layers of `backbone`."""
        super().__init__()
        self.backbone, self.layers, self.pooling = backbone, layers, pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Compute embeddings (n, e) of token ids (n, l) under a mask (n, l)."""
        return pool_states(self.backbone, input_ids, attention_mask, self.layers, self.pooling)


def trace_encoder(encoder: Encoder) -> ir.Model:
    """Trace an encoder into a graph, with a dynamic number of texts and of tokens.

    Returns:
        A model with the inputs `INPUTS` (n, l) and the output `embeddings` (n, e).

    Raises:
        ExportError: the encoder cannot be exported to ONNX, or is too large for one graph.
    """
    backbone = encoder.backbone("eager").requires_grad_(False)
    size = sum(weight.numel() * weight.element_size() for weight in backbone.parameters())
    if size > MAX_BYTES:
        raise ExportError(
            expected=f"an encoder of at most {MAX_BYTES / 1e9:.1f} GB for the ONNX form, in {encoder.model}",
            found=f"{size / 1e9:.1f} GB in float32",
            do="set export.onnx=false; the export routes with torch then",
        )
    pooled = PooledEncoder(backbone, encoder.layers, encoder.pooling).eval()
    ids = torch.full((2, 16), 5)
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    n, length = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=1, max=encoder.max_length)
    shapes = {name: {0: n, 1: length} for name in INPUTS}
    try:
        with silence_exporter(), torch.inference_mode():
            program = torch.onnx.export(
                pooled, (ids, mask), dynamo=True, verbose=False, external_data=False,
                input_names=INPUTS, output_names=["embeddings"], dynamic_shapes=shapes,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise ExportError(
            expected=f"an encoder that can be exported to ONNX, in {encoder.model}",
            found=str(error).splitlines()[0],
            do="set export.onnx=false; the export routes with torch then",
        ) from error
    assert program is not None
    return program.model


def given_embeddings(width: int) -> ir.Model:
    """Make a graph without an encoder: its one input, `embeddings` (n, e), is what `attach_head` appends a head to.

    Args:
        width: e.
    """
    shape = ir.Shape(["texts", width])
    embeddings = ir.Value(name="embeddings", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    return ir.Model(ir.Graph([embeddings], [embeddings], nodes=[], opset_imports={"": OPSET}), ir_version=IR_VERSION)


def attach_head(model: ir.Model, head: RouterHead) -> ir.Model:
    """Append a head to an encoder's graph, by the formula of `zooter.router.net` or `zooter.router.linear_head`.

    The router's graph has three outputs: `logits` (n, m), whose softmax is the probabilities, `rewards` (n, m), the
    expected ones, and `tags` (n, t), probabilities of the tags of the first set. For a `Head` it has a third input, the
    text features `surface` (n, `TEXT_FEATURES`).

    Args:
        model: from `trace_encoder` or `given_embeddings`; changed in place.
        head: its features are the encoder's embeddings, then any text features.

    Returns:
        `model`.
    """
    if isinstance(head, LinearHead):
        _attach_linear_head(model, head)
    else:
        _attach_default_head(model, head)
    return model


def _attach_linear_head(model: ir.Model, head: LinearHead) -> None:
    embeddings, nodes = model.graph.outputs.pop(), GraphBuilder(model.graph)
    logits = nodes.linear(head.linear, embeddings, name="logits")
    centred = nodes.add("Sub", logits, nodes.add("ReduceMean", logits, torch.tensor([-1])))
    rewards = nodes.add("Mul", centred, head.temperature, name="rewards")
    model.graph.outputs.extend([logits, rewards, nodes.no_columns(embeddings, name="tags")])


def _attach_default_head(model: ir.Model, head: Head) -> None:
    surface = ir.Value(name="surface", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["texts", TEXT_FEATURES]))
    model.graph.inputs.append(surface)
    nodes, clip = GraphBuilder(model.graph), torch.tensor(CLIP)
    add, linear = nodes.add, nodes.linear
    features = add("Concat", model.graph.outputs.pop(), surface, axis=-1)
    z = add("Clip", add("Div", add("Sub", features, head.mean), head.scale), -clip, clip)
    tag_probs = [add("Softmax", linear(classifier, z), axis=-1) for classifier in head.classifiers]
    by_set = [add("MatMul", probs, rewards) for probs, rewards in zip(tag_probs, head.rewards, strict=True)]
    tag_rewards = add("Mean", *by_set) if by_set else nodes.constant(head.overall)
    residual = add("Gemm", z, head.residual, transB=1)
    if len(head.shares):
        residual = add("Mul", residual, add("MatMul", tag_probs[0], head.shares[:, None]))
    first, _, _, last = head.correction  # linear, GELU, dropout, linear
    correction = linear(last, add("Gelu", linear(first, z)))
    centred = add("Sub", correction, add("ReduceMean", correction, torch.tensor([-1])))
    scaled = add("Mul", centred, head.temperature)
    rewards = add("Add", add("Add", tag_rewards, residual), scaled, name="rewards")
    logits = add("Div", rewards, head.calibration, name="logits")
    tags = add("Identity", tag_probs[0], name="tags") if tag_probs else nodes.no_columns(z, name="tags")
    model.graph.outputs.extend([logits, rewards, tags])


@dataclass(frozen=True)
class GraphBuilder:
    """Append nodes and constants to a graph.

    Attributes:
        graph: nodes are appended in the order of the calls, which is the order of computation.
    """

    graph: ir.Graph

    def add(self, kind: str, *inputs: ir.Value | Tensor, name: str | None = None, **attributes: float) -> ir.Value:
        """Append a node of a standard operator.

        Args:
            kind: the operator, "MatMul" say.
            inputs: values of the graph; tensors become constants.
            name: of the output; None numbers it.
            attributes: of the operator.

        Returns:
            The node's first output, float32.
        """
        values = [self.constant(value) if isinstance(value, Tensor) else value for value in inputs]
        node = ir.node(kind, values, attributes=attributes)
        output = node.outputs[0]
        output.name, output.type = name or f"head.{kind}.{len(self.graph)}", ir.TensorType(ir.DataType.FLOAT)
        self.graph.append(node)
        return output

    def linear(self, layer: nn.Module, x: ir.Value, name: str | None = None) -> ir.Value:
        """Append a linear layer of torch, with bias, applied to x (n, d)."""
        assert isinstance(layer, nn.Linear)
        return self.add("Gemm", x, layer.weight, layer.bias, name=name, transB=1)

    def no_columns(self, x: ir.Value, name: str) -> ir.Value:
        """Append a node that makes (n, 0) of x (n, d)."""
        zero = torch.tensor([0])
        return self.add("Slice", x, zero, zero, zero + 1, name=name)

    def constant(self, value: Tensor) -> ir.Value:
        """Add a tensor to the graph's initialisers."""
        array = value.detach().cpu().numpy()
        tensor = ir.tensor(array, name=f"head.{len(self.graph.initializers)}")
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        constant = ir.Value(name=tensor.name, const_value=tensor, type=kind, shape=shape)
        self.graph.register_initializer(constant)
        return constant


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Suppress standard output, log messages and warnings, which exporters fill with their progress."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
