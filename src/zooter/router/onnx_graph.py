"""A router as an ONNX graph in float32, of standard operators alone: its encoder traced, its head written out.

Tracing takes seconds, and all routers on one encoder have the same one: only the head is new in each.
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
from zooter.router.encoder import Encoder, mean_pool
from zooter.router.net import CLIP, Head
from zooter.router.text_features import TEXT_FEATURES

INPUTS = ["input_ids", "attention_mask"]


class PooledEncoder(nn.Module):
    """(n, l) token ids and their (n, l) mask → (n, e) embeddings."""

    def __init__(self, backbone: nn.Module, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return mean_pool(self.backbone, input_ids, attention_mask, self.layers)


def trace_encoder(encoder: Encoder) -> ir.Model:
    """The encoder's graph, with a dynamic number of texts and of tokens.

    Raises:
        ExportError: the encoder does things that ONNX cannot say.
    """
    reads = PooledEncoder(encoder.backbone("eager").requires_grad_(False), encoder.layers).eval()
    ids = torch.full((2, 16), 5)
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    n, length = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=1, max=encoder.max_length)
    shapes = {name: {0: n, 1: length} for name in INPUTS}
    try:
        with silence_exporter(), torch.inference_mode():
            program = torch.onnx.export(
                reads, (ids, mask), dynamo=True, verbose=False, external_data=False,
                input_names=INPUTS, output_names=["embeddings"], dynamic_shapes=shapes,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise ExportError(
            expected=f"an encoder that ONNX can say, in {encoder.model}",
            found=str(error).splitlines()[0],
            do="set export.onnx=false; the export routes with torch then",
        ) from error
    assert program is not None
    return program.model


def attach_head(model: ir.Model, head: Head) -> ir.Model:
    """An encoder's graph, changed into that of a router: with `head` behind it, as `Head.expected` has it.

    Its third input is `surface` (n, SIZE). It gives `logits` (n, m), whose softmax gives the probabilities; `rewards`
    (n, m), those expected; and `tags` (n, t), the probabilities of the tags of the first view.
    """
    looks = ir.Value(name="surface", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["texts", TEXT_FEATURES]))
    model.graph.inputs.append(looks)
    nodes, clip = GraphBuilder(model.graph), torch.tensor(CLIP)
    add, linear = nodes.add, nodes.linear
    read = add("Concat", model.graph.outputs.pop(), looks, axis=-1)
    z = add("Clip", add("Div", add("Sub", read, head.mean), head.scale), -clip, clip)
    probable = [add("Softmax", linear(classifier, z), axis=-1) for classifier in head.classifiers]
    of_views = [add("MatMul", tags, rewards) for tags, rewards in zip(probable, head.rewards, strict=True)]
    of_tags = add("Mean", *of_views) if of_views else nodes.constant(head.overall)
    residual = add("Gemm", z, head.residual, transB=1)
    if len(head.shares):
        residual = add("Mul", residual, add("MatMul", probable[0], head.shares[:, None]))
    first, _, _, last = head.correction  # linear, GELU, dropout, linear
    correction = linear(last, add("Gelu", linear(first, z)))
    moved = add("Sub", correction, add("ReduceMean", correction, torch.tensor([-1])))
    moved = add("Mul", moved, head.temperature)
    rewards = add("Add", add("Add", of_tags, residual), moved, name="rewards")
    logits = add("Div", rewards, head.calibration, name="logits")
    none = torch.tensor([0])
    tags = add("Identity", probable[0], name="tags") if probable else add("Slice", z, none, none, none + 1, name="tags")
    model.graph.outputs.extend([logits, rewards, tags])
    return model


@dataclass(frozen=True)
class GraphBuilder:
    """Adds to a graph: nodes in the order of their work, and constants."""

    graph: ir.Graph

    def add(self, kind: str, *inputs: ir.Value | Tensor, name: str | None = None, **how: float) -> ir.Value:
        """What a node of a standard kind gives, of values and of constants."""
        values = [self.constant(value) if isinstance(value, Tensor) else value for value in inputs]
        node = ir.node(kind, values, attributes=how)
        found = node.outputs[0]
        found.name, found.type = name or f"head.{kind}.{len(self.graph)}", ir.TensorType(ir.DataType.FLOAT)
        self.graph.append(node)
        return found

    def linear(self, layer: nn.Module, x: ir.Value) -> ir.Value:
        """What a torch layer of that kind gives."""
        assert isinstance(layer, nn.Linear)
        return self.add("Gemm", x, layer.weight, layer.bias, transB=1)

    def constant(self, value: Tensor) -> ir.Value:
        """A tensor in the graph."""
        array = value.detach().cpu().numpy()
        tensor = ir.tensor(array, name=f"head.{len(self.graph.initializers)}")
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        made = ir.Value(name=tensor.name, const_value=tensor, type=kind, shape=shape)
        self.graph.register_initializer(made)
        return made


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Exporters report their steps to standard output and the log, and packages that they do without as warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
