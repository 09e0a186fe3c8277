"""A float32 ONNX graph → the same in int8, with the operators that ONNX Runtime has for it.

Weights are rounded once, symmetrically and by output channel; activations as they come, with one scale for a whole
batch (dynamic quantisation). The head stays in float32: it is small, and what it says is compared.
"""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter.ort_fusions import optimize_for_ort

MICROSOFT = "com.microsoft"
LEAST = 4_096  # weights of a matrix or an embedding that are worth rounding


def quantise(model: ir.Model) -> ir.Model:
    """The graph of a router in int8; changes `model`, whose inputs are named as in `zooter.graph`."""
    model, _ = optimize_for_ort(model)
    graph = model.graph
    _fold_concatenated(graph)
    _mask_by_padding(graph)
    head = _downstream(graph, "surface")
    for node in list(graph):
        if node in head:
            continue
        if node.op_type == "Attention" and node.domain == MICROSOFT:
            _attention(graph, node)
        elif node.op_type == "MatMul" and _weights(node, 1) is not None:
            _product(graph, node)
        elif node.op_type == "Gather" and _weights(node, 0) is not None:
            _embedding(graph, node)
    RemoveUnusedNodesPass()(model)
    model.opset_imports[MICROSOFT] = 1
    return model


def _product(graph: ir.Graph, node: ir.Node) -> None:
    weights = _weights(node, 1)
    assert weights is not None
    name = node.outputs[0].name
    rounded, scale = _round(weights, axis=0)
    inputs = [node.inputs[0], _constant(graph, f"{name}.w", rounded), _constant(graph, f"{name}.s", scale)]
    _replace(graph, node, ir.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT))


def _attention(graph: ir.Graph, node: ir.Node) -> None:
    """Attention whose weights (d, 3d) make queries, keys and values at once."""
    weights = _weights(node, 1)
    if weights is None:
        return
    name = node.outputs[0].name
    rounded, scale = _round(weights, axis=0)
    entering = ir.node("DynamicQuantizeLinear", [node.inputs[0]], num_outputs=3)
    graph.insert_before(node, entering)
    entered, entered_scale, entered_zero = entering.outputs
    inputs = [
        entered, _constant(graph, f"{name}.w", rounded), node.inputs[2], entered_scale,
        _constant(graph, f"{name}.s", scale), node.inputs[3], entered_zero,
        _constant(graph, f"{name}.z", np.zeros_like(scale, dtype=np.int8)),
    ]  # fmt: skip
    heads = {"num_heads": node.attributes["num_heads"]}
    _replace(graph, node, ir.node("QAttention", inputs, attributes=heads, domain=MICROSOFT))


def _embedding(graph: ir.Graph, node: ir.Node) -> None:
    """Rows are rounded each with its own scale, and made float32 again as they are read."""
    weights = _weights(node, 0)
    assert weights is not None
    name = node.outputs[0].name
    rounded, scale = _round(weights, axis=1)
    rows = ir.node("Gather", [_constant(graph, f"{name}.w", rounded), node.inputs[1]])
    scales = ir.node("Gather", [_constant(graph, f"{name}.s", scale[:, None]), node.inputs[1]])
    cast = ir.node("Cast", [rows.outputs[0]], attributes={"to": int(ir.DataType.FLOAT)})
    for new in (rows, scales, cast):
        graph.insert_before(node, new)
    _replace(graph, node, ir.node("Mul", [cast.outputs[0], scales.outputs[0]]))


def _mask_by_padding(graph: ir.Graph) -> None:
    """Let fused attention read the attention mask itself: int8 attention takes no other, and it is the same mask."""
    nodes = [node for node in graph if node.op_type == "Attention" and node.domain == MICROSOFT]
    if not nodes:
        return
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    cast = ir.node("Cast", [mask], attributes={"to": int(ir.DataType.INT32)})
    graph.insert_before(nodes[0], cast)
    for node in nodes:
        node.resize_inputs(6)
        node.replace_input_with(3, cast.outputs[0])
        node.replace_input_with(5, None)


def _fold_concatenated(graph: ir.Graph) -> None:
    """Weights that the fusion of attention has put side by side become one."""
    for node in list(graph):
        parts = [value.const_value if value is not None else None for value in node.inputs]
        if node.op_type == "Concat" and all(part is not None for part in parts):
            whole = np.concatenate([part.numpy() for part in parts if part], axis=node.attributes["axis"].as_int())
            ir.convenience.replace_all_uses_with(
                node.outputs[0], _constant(graph, f"{node.outputs[0].name}.whole", whole)
            )


def _downstream(graph: ir.Graph, name: str) -> set[ir.Node]:
    """The nodes that an input reaches."""
    found: set[ir.Node] = set()
    waiting = [value for value in graph.inputs if value.name == name]
    while waiting:
        for node in waiting.pop().consumers():
            if node not in found:
                found.add(node)
                waiting += node.outputs
    return found


def _weights(node: ir.Node, position: int) -> NDArray[np.float32] | None:
    """A constant float32 matrix that a node reads and that is worth rounding."""
    value = node.inputs[position]
    if value is None or value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
        return None
    array = value.const_value.numpy()
    return array if array.ndim == 2 and array.size >= LEAST else None


def _round(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights of the same shape, and a scale for each column (axis 0) or row (axis 1)."""
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / 127.0
    return np.round(weights / scale).astype(np.int8), scale.ravel().astype(np.float32)


def _constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value


def _replace(graph: ir.Graph, node: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(graph, node, [node], [new], node.outputs, new.outputs)
