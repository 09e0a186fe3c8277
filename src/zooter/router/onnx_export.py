"""Write an export's ONNX form beside the torch one, and compare the two."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from zooter.data.component import component
from zooter.data.files import atomic_dir
from zooter.data.types import Floats, Ints, Rewards, RouterOutput
from zooter.errors import ExportError
from zooter.router import manifest, onnx_graph
from zooter.router.encoder_graphs import graph_files
from zooter.router.ngram_encoder import NgramEncoder
from zooter.router.onnx_router import OnnxRouter
from zooter.router.precision import default_precision, reward_difference
from zooter.router.torch_router import TorchRouter

MAX_DIFFERENCE = 0.01  # largest difference of float32 probabilities that rounding explains

FLOAT32_TEXTS = 100  # texts on which float32 is compared


@component
class ExportFormats:
    """The forms that an export gets beside the one for torch.

    Attributes:
        onnx: write the ONNX form, which routes and serves without torch.
        each_job: each job of a sweep writes an export, of some 200 MB; else only runs outside of a sweep do.
    """

    onnx: bool = True
    each_job: bool = False

    def write(
        self,
        folder: Path,
        texts: Sequence[str],
        expected: RouterOutput | None = None,
        cache: Path | None = None,
        rewards: Rewards | None = None,
    ) -> None:
        """Add these forms to an export, whole or not at all.

        Args:
            folder: the export.
            texts: n queries on which the forms are compared.
            expected: torch's output for them, (n, m); None computes it.
            cache: folder that keeps the encoder's graphs and embeddings for others with it; None keeps none.
            rewards: (n, m) of the texts, which value the choices that int8 changes; None has them counted.

        Raises:
            ExportError: the export is incomplete, the encoder cannot be exported to ONNX, or its output differs.
        """
        if self.onnx:
            update_export(folder, lambda draft, facts: add_onnx(draft, facts, texts, expected, cache, rewards))


def update_export(folder: Path, add: Callable[[Path, dict[str, Any]], None]) -> None:
    """Change an export whole or not at all.

    Args:
        folder: the export.
        add: changes a copy of the folder, and the facts of its manifest, in place.

    Raises:
        ExportError: the export is incomplete or changed.
    """
    facts = manifest.facts(manifest.verify(folder))
    with atomic_dir(folder) as draft:
        shutil.copytree(folder, draft, dirs_exist_ok=True)
        add(draft, facts)
        manifest.write(draft, facts)


def add_onnx(
    folder: Path,
    facts: dict[str, Any],
    texts: Sequence[str],
    expected: RouterOutput | None = None,
    cache: Path | None = None,
    rewards: Rewards | None = None,
) -> None:
    """Write the ONNX form into a copy of an export, compare it with torch, and record the result in `facts["onnx"]`.

    int8 is compared on all texts, to value or count the choices that it changes. float32 is compared on `FLOAT32_TEXTS`
    of them: its graph is either the same but for rounding, or wrong on any text.

    Args:
        folder: the copy.
        facts: of its manifest; changed in place.
        texts: n queries on which the forms are compared.
        expected: torch's output for them, (n, m); None computes it.
        cache: folder that keeps the encoder's graphs and embeddings; None keeps none.
        rewards: (n, m) of the texts; None counts changed choices instead (`zooter.router.precision`).

    Raises:
        ExportError: the encoder cannot be exported to ONNX, or its output differs.
    """
    router = TorchRouter.from_export(folder, "cpu")
    shutil.rmtree(folder / manifest.ONNX, ignore_errors=True)
    (folder / manifest.ONNX).mkdir()
    graphs = _write_inputs(folder, router, cache)
    for precision, model in graphs.items():
        ir.save(onnx_graph.attach_head(model, router.head), folder / manifest.WEIGHTS[precision])
    parity: dict[str, Any] = {"pool": router.pool.digest(), "tags": list(router.tag_names)}
    manifest.write_json(folder / manifest.PARITY, {**parity, "default": "float32"})
    manifest.write(folder, facts)
    if expected is None:  # float32 embeddings, which the cache keeps for other exports with this encoder
        expected = router.route_embedded(texts, router.encoder.embed(texts, cache))[0]
    sample = np.linspace(0, len(texts) - 1, min(FLOAT32_TEXTS, len(texts))).astype(int)
    rows: dict[str, Ints] = {"float32": sample, "int8": np.arange(len(texts))}
    differences = {
        precision: _compare_with_torch(
            folder, precision, [texts[i] for i in subset], expected.probs[subset], rewards and rewards.take(subset)
        )
        for precision, subset in rows.items()
        if precision in graphs
    }
    _check_float32(differences["float32"])
    default = default_precision(differences.get("int8"))
    manifest.write_json(folder / manifest.PARITY, {**parity, "default": default, **differences})
    facts["onnx"] = {"default": default, **differences}


def output_differences(expected: Floats, actual: Floats) -> dict[str, float]:
    """Compare two sets of probabilities over candidates.

    Logits are compared as logarithms of probabilities: a constant added to all of them changes nothing.

    Args:
        expected: (n, m) probabilities.
        actual: (n, m) probabilities.

    Returns:
        Largest differences of logits and of probabilities, and the share of queries with another choice.
    """
    logits = [np.log(np.maximum(probs, 1e-300)) for probs in (expected, actual)]
    return {
        "largest_logit_difference": float(np.abs(logits[0] - logits[1]).max()),
        "largest_probability_difference": float(np.abs(expected - actual).max()),
        "changed_choices": float((expected.argmax(axis=1) != actual.argmax(axis=1)).mean()),
    }


def _write_inputs(folder: Path, router: TorchRouter, cache: Path | None) -> Mapping[str, ir.Model]:
    """Write what makes a graph's inputs of texts, and return the graph that the head is appended to, by precision."""
    if isinstance(router.encoder, NgramEncoder):  # computed by NumPy, from the file that the torch form reads
        return {"float32": onnx_graph.given_embeddings(router.encoder.width)}
    router.encoder.serving_tokenizer().save(str(folder / manifest.TOKENIZER))
    with graph_files(router.encoder, cache) as files:
        return {precision: ir.load(file) for precision, file in files.items()}


def _compare_with_torch(
    folder: Path, precision: str, texts: Sequence[str], expected: Floats, rewards: Rewards | None
) -> dict[str, Any]:
    probs = OnnxRouter.from_export(folder, os.cpu_count() or 1, precision).route(texts).probs
    valued = {} if rewards is None else reward_difference(expected, probs, rewards)
    return {"queries": len(texts), **output_differences(expected, probs), **valued}


def _check_float32(differences: dict[str, Any]) -> None:
    largest = differences["largest_probability_difference"]
    if not largest <= MAX_DIFFERENCE:  # also where it is NaN
        raise ExportError(
            expected=f"ONNX probabilities within {MAX_DIFFERENCE} of torch's",
            found=f"a difference of {largest:.3g}, {differences['changed_choices']:.1%} of choices changed",
            do="set export.onnx=false, and report the encoder: its graph computes something else",
        )
