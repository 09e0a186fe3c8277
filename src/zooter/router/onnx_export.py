"""An export's ONNX form: written beside the torch one, compared with it, and refused where they differ."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from zooter.data.cache import content_key
from zooter.data.files import atomic_dir, sha256
from zooter.data.types import Floats, Ints, RouterOutput
from zooter.errors import ExportError
from zooter.router import encoder, manifest, onnx_graph, onnx_int8
from zooter.router.encoder import Encoder
from zooter.router.onnx_router import OnnxRouter as Runtime
from zooter.router.torch_router import TorchRouter

log = logging.getLogger(__name__)

MAX_DIFFERENCE = 0.01  # largest difference of float32 probabilities that rounding explains
MAX_CHANGED_CHOICES = 0.01  # share of choices that int8 may change and still be what serves unless told otherwise

FLOAT32_TEXTS = 100  # texts on which float32 is compared
CALIBRATION_TEXTS = 24  # texts that show int8 how large activations get
GRAPH_PACKAGES = (
    "torch",
    "transformers",
    "onnxscript",
    "onnx-ir",
    "onnxruntime",
)  # packages that an encoder's graph is due to


@dataclass(frozen=True)
class ExportFormats:
    """The forms of an export beside the one that torch loads.

    Attributes:
        onnx: write the ONNX form, which routes and serves without torch.
    """

    onnx: bool = True

    def write(
        self, folder: Path, texts: Sequence[str], told: RouterOutput | None = None, cache: Path | None = None
    ) -> None:
        """Give an export these forms.

        Args:
            texts: queries that the router has not learned from, on which forms are compared.
            told: what torch says of them; None asks it.
            cache: keeps the encoder's graphs for other exports with the same encoder; None keeps none.

        Raises:
            ExportError: the encoder cannot be said in ONNX, or what it says there differs.
        """
        if self.onnx:
            update_export(folder, lambda draft, facts: add_onnx(draft, facts, texts, told, cache))


def update_export(folder: Path, add: Callable[[Path, dict[str, Any]], None]) -> None:
    """Let `add` change a copy of an export and its facts, then put the copy in its place, whole or not at all.

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
    told: RouterOutput | None = None,
    cache: Path | None = None,
) -> None:
    """Write the ONNX form into an export's draft, and what was found about it into `facts["onnx"]`.

    int8 is compared on all texts, as its choices are to be counted. float32 is compared on some of them: its graph
    says the same but for rounding, or something else.

    Args:
        texts: queries on which the forms are compared.
        told: what torch says of them; None asks it.
        cache: keeps the encoder's graphs; None keeps none.

    Raises:
        ExportError: the encoder cannot be said in ONNX, or what it says there differs.
    """
    router = TorchRouter.load(folder, "cpu")
    shutil.rmtree(folder / manifest.ONNX, ignore_errors=True)
    (folder / manifest.ONNX).mkdir()
    router.encoder.serving_tokenizer().save(str(folder / manifest.TOKENIZER))
    for precision, model in _encoder_graphs(
        router.encoder, router.encoder.tokenize(texts[:CALIBRATION_TEXTS]), cache
    ).items():
        ir.save(onnx_graph.attach_head(model, router.head), folder / manifest.WEIGHTS[precision])
    about: dict[str, Any] = {"pool": router.pool.digest(), "tags": _tag_names(router)}
    manifest.write_json(folder / manifest.PARITY, {**about, "default": "float32"})
    manifest.write(folder, facts)
    told = router.route(texts) if told is None else told
    few = np.linspace(0, len(texts) - 1, min(FLOAT32_TEXTS, len(texts))).astype(int)
    rows: dict[str, Ints] = {"float32": few, "int8": np.arange(len(texts))}
    found = {name: _parity(folder, name, [texts[i] for i in rows[name]], told.probs[rows[name]]) for name in rows}
    _refuse_difference(found["float32"])
    default = "int8" if found["int8"]["changed_choices"] <= MAX_CHANGED_CHOICES else "float32"
    manifest.write_json(folder / manifest.PARITY, {**about, "default": default, **found})
    facts["onnx"] = {"default": default, **found}


def _encoder_graphs(reads: Encoder, ids: Sequence[Sequence[int]], cache: Path | None) -> dict[str, ir.Model]:
    """The encoder's graph in each precision, from the cache where it is there.

    It is kept under a hash of all that it is made from: the encoder's files, the texts that int8 is calibrated on, the
    packages, and the code.
    """
    if cache is None:
        with tempfile.TemporaryDirectory() as name:
            return _encoder_graphs(reads, ids, Path(name))
    made_by = [sha256(Path(str(module.__file__))) for module in (encoder, onnx_graph, onnx_int8)]
    folder = cache / "graphs" / content_key(reads.fingerprint, ids, [version(name) for name in GRAPH_PACKAGES], made_by)
    try:
        manifest.verify(folder)
    except ExportError:
        if folder.exists():
            log.warning("%s has changed since it was written, and is made again", folder)
            shutil.rmtree(folder)
        _write_encoder_graphs(reads, ids, folder)
    return {precision: ir.load(folder / f"{precision}.onnx") for precision in manifest.WEIGHTS}


def _write_encoder_graphs(reads: Encoder, ids: Sequence[Sequence[int]], folder: Path) -> None:
    """Write the encoder's graph in each precision into a folder, whole or not at all."""
    with atomic_dir(folder) as draft:
        traced = onnx_graph.trace_encoder(reads)
        ir.save(traced, draft / "float32.onnx")
        with onnx_graph.silence_exporter():
            ir.save(onnx_int8.quantise(traced, ids), draft / "int8.onnx")
        manifest.write(draft, {})


def _parity(folder: Path, precision: str, texts: Sequence[str], expected: Floats) -> dict[str, float]:
    probs = Runtime.load(folder, os.cpu_count() or 1, precision).route(texts).probs
    return {"queries": len(texts), **compare(expected, probs)}


def compare(expected: Floats, found: Floats) -> dict[str, float]:
    """Largest difference of logits and of probabilities (n, m), and the share of choices that differ.

    Logits are compared as logarithms of probabilities: a constant added to all of them means nothing.
    """
    logits = [np.log(np.maximum(probs, 1e-300)) for probs in (expected, found)]
    return {
        "largest_logit_difference": float(np.abs(logits[0] - logits[1]).max()),
        "largest_probability_difference": float(np.abs(expected - found).max()),
        "changed_choices": float((expected.argmax(axis=1) != found.argmax(axis=1)).mean()),
    }


def _refuse_difference(found: dict[str, float]) -> None:
    different = found["largest_probability_difference"]
    if not different <= MAX_DIFFERENCE:  # NaN, too
        raise ExportError(
            expected=f"ONNX probabilities within {MAX_DIFFERENCE} of torch's",
            found=f"a difference of {different:.3g}, {found['changed_choices']:.1%} of choices changed",
            do="set export.onnx=false, and report the encoder: its graph says something else",
        )


def _tag_names(router: TorchRouter) -> list[str]:
    """Names of the tags that the head tells: those that training noted, or their numbers."""
    size = len(router.head.rewards[0]) if len(router.head.rewards) else 0
    names = router.facts.get("tags", [])
    return names if len(names) == size else [f"tag {j + 1}" for j in range(size)]
