"""Quantise an encoder's float32 ONNX graph to int8, with the operators that ONNX Runtime has for it.

Weights are rounded once, per output channel. What a layer norm or attention computes is about as large in every token,
and is rounded with a scale measured beforehand: one multiplication, one rounding. Elsewhere a few tokens are ten times
as large as the others, and each token has a scale of its own, computed with it. Either way a text's output does not
depend on the others of its batch, as it does with ONNX Runtime's own dynamic quantisation (one scale for all), which
also changed 4 % of choices. A few channels are large in every token: part of their size is moved into the weights
first, as in SmoothQuant (Xiao et al. 2023, arXiv 2211.10438, equation 4). The head behind the encoder stays in float32:
it is small, and choices depend on small differences of its output.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter.ort_fusions import optimize_for_ort

MICROSOFT = "com.microsoft"
MIN_WEIGHTS = 1_024  # smaller matrices and embeddings stay in float32
MIGRATION_STRENGTH = 0.8  # share of the channels' differences that is moved into the weights; SmoothQuant's α
ATTENTION_STRENGTH = 0.5  # the same for attention's output, whose channels differ less
EVEN_PRODUCERS = ("LayerNormalization", "Attention", "MultiHeadAttention")  # their tokens are about equally large
# Of 255 steps, 37 are below zero: GELU's minimum, −0.17, of a token whose largest value is 1, which is taken at least.
GELU_ZERO, GELU_LEAST = 37, 1.0

Floats32 = NDArray[np.float32]


def quantise(model: ir.Model, ids: Sequence[Sequence[int]]) -> ir.Model:
    """Quantise an encoder's graph to int8.

    Args:
        model: from `zooter.router.onnx_graph.trace_encoder`; changed in place.
        ids: token ids of some texts, on which the size of activations is measured.

    Returns:
        The quantised graph.
    """
    model, _ = optimize_for_ort(model)
    graph = model.graph
    _fold_concatenated_weights(graph)
    _use_padding_mask(graph)
    _split_skip_layer_norm(graph)
    nodes = list(graph)
    products = [
        node for node in nodes if node.op_type in ("MatMul", "Attention") and _roundable_weights(node, 1) is not None
    ]
    maxima = _activation_maxima(model, products, ids)
    producers = {node: _producer_type(node.inputs[0]) for node in products}
    for node in products:
        if producers[node] in EVEN_PRODUCERS:
            new = _product_of_even_tokens(graph, node, maxima[node])
        elif producers[node] in ("BiasGelu", "Gelu"):
            new = _product_after_gelu(graph, node)
        else:
            new = _product_per_token(graph, node, maxima[node])
        if node.op_type == "Attention":
            new = _attend_to_parts(graph, node, new)
        _replace(graph, node, new)
    for node in nodes:
        if node.op_type == "Gather" and _roundable_weights(node, 0) is not None:
            _quantise_embedding(graph, node)
    RemoveUnusedNodesPass()(model)
    model.opset_imports[MICROSOFT] = 1
    return model


def _product_of_even_tokens(graph: ir.Graph, node: ir.Node, maxima: Floats32) -> ir.Node:
    """Build a product with one scale for all tokens, measured beforehand, after smoothing the channels.

    Scales of channels and of the product are one multiplication.
    """
    strength = MIGRATION_STRENGTH if _producer_type(node.inputs[0]) == "LayerNormalization" else ATTENTION_STRENGTH
    weights, name = _weight_matrix(node), node.outputs[0].name
    smoothing = _smoothing(maxima, weights, strength)
    step = np.float32(max(float((maxima / smoothing).max()), 1e-12) / 127.0)
    factors = _constant(graph, f"{name}.even", 1.0 / (smoothing * step))
    values = _insert(graph, node, "Mul", [node.inputs[0], factors])
    quantised = _quantise(graph, node, values, np.float32(1.0), zero=128)
    return _int8_product(graph, node, quantised, weights * smoothing[:, None], step, zero=128)


def _product_per_token(graph: ir.Graph, node: ir.Node, maxima: Floats32) -> ir.Node:
    """Build a product with one scale per token, after smoothing the channels."""
    weights, name = _weight_matrix(node), node.outputs[0].name
    smoothing = _smoothing(maxima, weights, MIGRATION_STRENGTH)
    smoothed = _insert(graph, node, "Mul", [node.inputs[0], _constant(graph, f"{name}.even", 1.0 / smoothing)])
    largest = _token_maxima(graph, node, _insert(graph, node, "Abs", [smoothed]))
    return _scaled_product(graph, node, smoothed, largest, weights * smoothing[:, None], zero=128)


def _product_after_gelu(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """Build a product of GELU's output with one scale per token; values are mostly positive and use most of 8 bits."""
    values = node.inputs[0]
    least = _constant(graph, f"{node.outputs[0].name}.least", np.float32(GELU_LEAST))
    largest = _insert(graph, node, "Max", [_token_maxima(graph, node, values), least])
    return _scaled_product(graph, node, values, largest, _weight_matrix(node), zero=GELU_ZERO)


def _token_maxima(graph: ir.Graph, node: ir.Node, values: ir.Value | None) -> ir.Value:
    """Compute the largest value (n, l, 1) of each token's values (n, l, k)."""
    axis = _constant(graph, f"{node.outputs[0].name}.axis", np.array([-1]))
    return _insert(graph, node, "ReduceMax", [values, axis], keepdims=1)


def _smoothing(maxima: Floats32, weights: Floats32, strength: float) -> Floats32:
    """Compute (k,) factors that channels are divided by and rows of the weights multiplied by; geometric mean 1."""
    activation_sizes, weight_sizes = np.maximum(maxima, 1e-5), np.maximum(np.abs(weights).max(axis=1), 1e-5)
    smoothing: Floats32 = activation_sizes**strength / weight_sizes ** (1.0 - strength)
    return smoothing / np.exp(np.log(smoothing).mean())


def _scaled_product(
    graph: ir.Graph, node: ir.Node, values: ir.Value | None, largest: ir.Value, weights: Floats32, zero: int
) -> ir.Node:
    """Build values (n, l, k) @ weights (k, j) with each token's values divided by its largest one (n, l, 1)."""
    step = np.float32(1.0 / (255 - zero))
    quantised = _quantise(graph, node, _insert(graph, node, "Div", [values, largest]), step, zero)
    product = _int8_product(graph, node, quantised, weights, step, zero)
    graph.insert_before(node, product)
    return ir.node("Mul", [product.outputs[0], largest])


def _quantise(graph: ir.Graph, node: ir.Node, values: ir.Value, step: np.float32, zero: int) -> ir.Value:
    name = node.outputs[0].name
    scale, zeros = _constant(graph, f"{name}.step", step), _constant(graph, f"{name}.zero", np.uint8(zero))
    return _insert(graph, node, "QuantizeLinear", [values, scale, zeros])


def _int8_product(
    graph: ir.Graph, node: ir.Node, quantised: ir.Value, weights: Floats32, step: np.float32, zero: int
) -> ir.Node:
    """Build quantised (n, l, k) values times weights (k, j), in float32; `step` and `zero` are the values'."""
    name, (rounded, scale) = node.outputs[0].name, _round_to_int8(weights, axis=0)
    inputs = [
        quantised, _constant(graph, f"{name}.w", rounded), _constant(graph, f"{name}.unit", step),
        _constant(graph, f"{name}.s", scale), _constant(graph, f"{name}.offset", np.uint8(zero)),
    ]  # fmt: skip
    return ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)


def _attend_to_parts(graph: ir.Graph, node: ir.Node, product: ir.Node) -> ir.Node:
    """Build attention on a product that computes queries, keys and values at once."""
    parts = ir.node("Split", [product.outputs[0]], attributes={"axis": -1, "num_outputs": 3}, num_outputs=3)
    for new in (product, parts):
        graph.insert_before(node, new)
    heads = {"num_heads": node.attributes["num_heads"]}
    inputs = [*parts.outputs, node.inputs[2], node.inputs[3]]
    return ir.node("MultiHeadAttention", inputs, attributes=heads, domain=MICROSOFT)


def _activation_maxima(
    model: ir.Model, products: Sequence[ir.Node], ids: Sequence[Sequence[int]]
) -> dict[ir.Node, Floats32]:
    """Measure the largest absolute value of each channel of each product's input on some texts."""
    inputs = {node: node.inputs[0] for node in products}
    measured = [value for value in dict.fromkeys(inputs.values()) if value is not None]
    if not measured:
        return {}
    before = len(model.graph.outputs)
    model.graph.outputs.extend(measured)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    del model.graph.outputs[before:]
    maxima = [np.zeros(1, dtype=np.float32) for _ in measured]
    for row in ids:
        tokens = np.array([row], dtype=np.int64)
        feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        outputs = session.run([value.name for value in measured], feed)
        maxima = [np.maximum(old, np.abs(new[0]).max(axis=0)) for old, new in zip(maxima, outputs, strict=True)]
    by_value = dict(zip(measured, maxima, strict=True))
    return {node: by_value[value] for node, value in inputs.items() if value is not None}


def _quantise_embedding(graph: ir.Graph, node: ir.Node) -> None:
    """Quantise an embedding, each row with its own scale; rows become float32 again as they are looked up."""
    weights = _roundable_weights(node, 0)
    assert weights is not None
    name = node.outputs[0].name
    rounded, scale = _round_to_int8(weights, axis=1)
    rows = ir.node("Gather", [_constant(graph, f"{name}.w", rounded), node.inputs[1]])
    scales = ir.node("Gather", [_constant(graph, f"{name}.s", scale[:, None]), node.inputs[1]])
    cast = ir.node("Cast", [rows.outputs[0]], attributes={"to": int(ir.DataType.FLOAT)})
    for new in (rows, scales, cast):
        graph.insert_before(node, new)
    _replace(graph, node, ir.node("Mul", [cast.outputs[0], scales.outputs[0]]))


def _use_padding_mask(graph: ir.Graph) -> None:
    """Pass the attention mask to fused attention as an input, the only form that int8 attention takes."""
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


def _split_skip_layer_norm(graph: ir.Graph) -> None:
    """Split the operator for a sum and a layer norm: ONNX Runtime's is three times slower than both on a CPU."""
    for node in [node for node in graph if node.op_type == "SkipLayerNormalization"]:
        first, second, weight, shift, bias = [*node.inputs, None][:5]
        if bias is not None:
            first = _insert(graph, node, "Add", [first, bias])
        attributes = {"axis": -1, "epsilon": node.attributes["epsilon"].as_float()}
        inputs = [_insert(graph, node, "Add", [first, second]), weight, shift]
        norm = ir.node("LayerNormalization", inputs, attributes=attributes)
        graph.insert_before(node, norm)
        ir.convenience.replace_all_uses_with(node.outputs[0], norm.outputs[0])
        graph.remove(node)


def _fold_concatenated_weights(graph: ir.Graph) -> None:
    """Replace concatenations of constants, which the fusion of attention leaves, by one constant."""
    for node in list(graph):
        parts = [value.const_value if value is not None else None for value in node.inputs]
        if node.op_type == "Concat" and all(part is not None for part in parts):
            whole = np.concatenate([part.numpy() for part in parts if part], axis=node.attributes["axis"].as_int())
            ir.convenience.replace_all_uses_with(
                node.outputs[0], _constant(graph, f"{node.outputs[0].name}.whole", whole)
            )


def _roundable_weights(node: ir.Node, position: int) -> Floats32 | None:
    """Return a node's input if it is a constant float32 matrix of `MIN_WEIGHTS` or more; else None."""
    value = node.inputs[position]
    if value is None or value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
        return None
    array = value.const_value.numpy()
    return array if array.ndim == 2 and array.size >= MIN_WEIGHTS else None


def _producer_type(value: ir.Value | None) -> str:
    node = value.producer() if value is not None else None
    return node.op_type if isinstance(node, ir.Node) else ""


def _weight_matrix(node: ir.Node) -> Floats32:
    weights = _roundable_weights(node, 1)
    assert weights is not None
    return weights


def _insert(
    graph: ir.Graph, before: ir.Node, kind: str, inputs: Sequence[ir.Value | None], **attributes: int
) -> ir.Value:
    node = ir.node(kind, inputs, attributes=attributes)
    graph.insert_before(before, node)
    return node.outputs[0]


def _round_to_int8(weights: Floats32, axis: int) -> tuple[NDArray[np.int8], Floats32]:
    """Round weights to int8, with a scale for each column (axis 0) or row (axis 1)."""
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / 127.0
    return np.round(weights / scale).astype(np.int8), scale.ravel().astype(np.float32)


def _constant(graph: ir.Graph, name: str, value: NDArray[np.generic] | np.generic) -> ir.Value:
    array = np.asarray(value, dtype=np.float32 if value.dtype == np.float64 else None)
    tensor = ir.tensor(array, name=name)
    constant = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(constant)
    return constant


def _replace(graph: ir.Graph, node: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(graph, node, [node], [new], node.outputs, new.outputs)
