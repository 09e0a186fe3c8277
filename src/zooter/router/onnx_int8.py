"""An encoder's float32 ONNX graph → the same in int8, with the operators that ONNX Runtime has for it.

Weights are rounded once, by output channel. Activations are rounded as they come, each token with a scale of its own:
a few tokens are ten times as large as the others, and one scale for all of them (ONNX Runtime's own dynamic
quantisation) changed 4 % of choices; it would also let the other texts of a batch change what is said of one. A few
channels are as large in every token; part of that is moved into the weights first, as SmoothQuant does (Xiao et al.
2023, arXiv 2211.10438, equation 4). A head behind it stays in float32: it is small, and what it says is compared.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter.ort_fusions import optimize_for_ort

MICROSOFT = "com.microsoft"
MIN_SCALE = 1_024  # weights of a matrix or an embedding that are worth rounding
SMOOTH = 0.8  # share of the channels' differences that the weights take over; SmoothQuant's α
LOWEST_GELU = 0.17  # below 0, that the function goes

Floats32 = NDArray[np.float32]


def quantise(model: ir.Model, ids: Sequence[Sequence[int]]) -> ir.Model:
    """The graph of an encoder in int8; changes `model`, whose inputs are named as in `zooter.router.onnx_graph`.

    Args:
        ids: token ids of some texts, which show how large activations get.
    """
    model, _ = optimize_for_ort(model)
    graph = model.graph
    _fold_concatenated(graph)
    _mask_by_padding(graph)
    _add_then_normalise(graph)
    nodes = list(graph)
    products = [node for node in nodes if node.op_type in ("MatMul", "Attention") and _weights(node, 1) is not None]
    largest = _largest(model, products, ids)
    after = {node: _maker(node.inputs[0]) for node in products}
    for node in products:
        if node.op_type == "Attention":
            _attention(graph, node, largest[node])
        elif after[node] in ("BiasGelu", "Gelu"):
            _after_gelu(graph, node)
        elif after[node] == "Attention":
            _plainly(graph, node)
        else:
            _replace(graph, node, _by_token(graph, node, largest[node]))
    for node in nodes:
        if node.op_type == "Gather" and _weights(node, 0) is not None:
            _embedding(graph, node)
    RemoveUnusedNodesPass()(model)
    model.opset_imports[MICROSOFT] = 1
    return model


def _plainly(graph: ir.Graph, node: ir.Node) -> None:
    """What attention gives has no outliers: one scale does for all tokens."""
    name, (rounded, scale) = node.outputs[0].name, _round(_matrix(node), axis=0)
    inputs = [node.inputs[0], _constant(graph, f"{name}.w", rounded), _constant(graph, f"{name}.s", scale)]
    _replace(graph, node, ir.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT))


def _by_token(graph: ir.Graph, node: ir.Node, largest: Floats32) -> ir.Node:
    """The product with the channels' differences partly moved into the weights and a scale for each token."""
    weights, name = _matrix(node), node.outputs[0].name
    smooth = np.maximum(largest, 1e-5) ** SMOOTH / np.maximum(np.abs(weights).max(axis=1), 1e-5) ** (1.0 - SMOOTH)
    smooth /= np.exp(np.log(smooth).mean())
    even = _insert(graph, node, "Mul", [node.inputs[0], _constant(graph, f"{name}.even", 1.0 / smooth)])
    size = _insert(graph, node, "Abs", [even])
    return _product(graph, node, even, size, weights * smooth[:, None], zero=128)


def _after_gelu(graph: ir.Graph, node: ir.Node) -> None:
    """GELU's values are nearly all positive: they are raised above 0 to use all of the 8 bits."""
    weights, name = _matrix(node), node.outputs[0].name
    raised = _insert(graph, node, "Add", [node.inputs[0], _constant(graph, f"{name}.up", np.float32(LOWEST_GELU))])
    product = _product(graph, node, raised, raised, weights, zero=0)
    graph.insert_before(node, product)
    down = _constant(graph, f"{name}.down", -LOWEST_GELU * weights.sum(axis=0))
    _replace(graph, node, ir.node("Add", [product.outputs[0], down]))


def _product(graph: ir.Graph, node: ir.Node, values: ir.Value, size: ir.Value, weights: Floats32, zero: int) -> ir.Node:
    """values (n, l, k) @ weights (k, j), each token's values divided by its largest `size` before rounding."""
    name, (rounded, scale) = node.outputs[0].name, _round(weights, axis=0)
    step = _constant(graph, f"{name}.step", np.float32(1.0 / (255 - zero)))
    zeros = _constant(graph, f"{name}.zero", np.uint8(zero))
    most = _insert(graph, node, "ReduceMax", [size, _constant(graph, f"{name}.axis", np.array([-1]))], keepdims=1)
    entered = _insert(graph, node, "QuantizeLinear", [_insert(graph, node, "Div", [values, most]), step, zeros])
    inputs = [
        entered, _constant(graph, f"{name}.w", rounded), step, _constant(graph, f"{name}.s", scale), zeros,
    ]  # fmt: skip
    found = ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
    graph.insert_before(node, found)
    return ir.node("Mul", [found.outputs[0], most])


def _attention(graph: ir.Graph, node: ir.Node, largest: Floats32) -> None:
    """Attention whose weights (d, 3d) make queries, keys and values at once."""
    whole = _by_token(graph, node, largest)
    parts = ir.node("Split", [whole.outputs[0]], attributes={"axis": -1, "num_outputs": 3}, num_outputs=3)
    for new in (whole, parts):
        graph.insert_before(node, new)
    heads = {"num_heads": node.attributes["num_heads"]}
    inputs = [*parts.outputs, node.inputs[2], node.inputs[3]]
    _replace(graph, node, ir.node("MultiHeadAttention", inputs, attributes=heads, domain=MICROSOFT))


def _largest(model: ir.Model, products: Sequence[ir.Node], ids: Sequence[Sequence[int]]) -> dict[ir.Node, Floats32]:
    """How large each channel of each product's input gets on some texts."""
    entering = {node: node.inputs[0] for node in products}
    seen = [value for value in dict.fromkeys(entering.values()) if value is not None]
    if not seen:
        return {}
    before = len(model.graph.outputs)
    model.graph.outputs.extend(seen)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    del model.graph.outputs[before:]
    found = [np.zeros(1, dtype=np.float32) for _ in seen]
    for row in ids:
        tokens = np.array([row], dtype=np.int64)
        fed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        outputs = session.run([value.name for value in seen], fed)
        found = [np.maximum(old, np.abs(new[0]).max(axis=0)) for old, new in zip(found, outputs, strict=True)]
    by_value = dict(zip(seen, found, strict=True))
    return {node: by_value[value] for node, value in entering.items() if value is not None}


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


def _add_then_normalise(graph: ir.Graph) -> None:
    """Sum and layer norm apart: ONNX Runtime's operator for both at once is three times slower on a CPU."""
    for node in [node for node in graph if node.op_type == "SkipLayerNormalization"]:
        first, second, weight, shift, bias = [*node.inputs, None][:5]
        if bias is not None:
            first = _insert(graph, node, "Add", [first, bias])
        how = {"axis": -1, "epsilon": node.attributes["epsilon"].as_float()}
        inputs = [_insert(graph, node, "Add", [first, second]), weight, shift]
        found = ir.node("LayerNormalization", inputs, attributes=how)
        graph.insert_before(node, found)
        ir.convenience.replace_all_uses_with(node.outputs[0], found.outputs[0])
        graph.remove(node)


def _fold_concatenated(graph: ir.Graph) -> None:
    """Weights that the fusion of attention has put side by side become one."""
    for node in list(graph):
        parts = [value.const_value if value is not None else None for value in node.inputs]
        if node.op_type == "Concat" and all(part is not None for part in parts):
            whole = np.concatenate([part.numpy() for part in parts if part], axis=node.attributes["axis"].as_int())
            ir.convenience.replace_all_uses_with(
                node.outputs[0], _constant(graph, f"{node.outputs[0].name}.whole", whole)
            )


def _weights(node: ir.Node, position: int) -> Floats32 | None:
    """A constant float32 matrix that a node reads and that is worth rounding."""
    value = node.inputs[position]
    if value is None or value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
        return None
    array = value.const_value.numpy()
    return array if array.ndim == 2 and array.size >= MIN_SCALE else None


def _maker(value: ir.Value | None) -> str:
    node = value.producer() if value is not None else None
    return node.op_type if isinstance(node, ir.Node) else ""


def _matrix(node: ir.Node) -> Floats32:
    weights = _weights(node, 1)
    assert weights is not None
    return weights


def _insert(graph: ir.Graph, before: ir.Node, kind: str, inputs: Sequence[ir.Value | None], **how: int) -> ir.Value:
    node = ir.node(kind, inputs, attributes=how)
    graph.insert_before(before, node)
    return node.outputs[0]


def _round(weights: Floats32, axis: int) -> tuple[NDArray[np.int8], Floats32]:
    """int8 weights of the same shape, and a scale for each column (axis 0) or row (axis 1)."""
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / 127.0
    return np.round(weights / scale).astype(np.int8), scale.ravel().astype(np.float32)


def _constant(graph: ir.Graph, name: str, value: NDArray[np.generic] | np.generic) -> ir.Value:
    array = np.asarray(value, dtype=np.float32 if value.dtype == np.float64 else None)
    tensor = ir.tensor(array, name=name)
    made = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(made)
    return made


def _replace(graph: ir.Graph, node: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(graph, node, [node], [new], node.outputs, new.outputs)
