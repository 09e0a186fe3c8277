"""Keep an encoder's ONNX graphs in the cache: traced once, for its embeddings and for all routers that have it."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir

from zooter.data.content_keys import content_key
from zooter.data.files import atomic_dir, sha256
from zooter.errors import ExportError
from zooter.router import calibration_texts, encoder, manifest, onnx_graph, onnx_int8, pooling
from zooter.router.encoder import Encoder

log = logging.getLogger(__name__)

# Packages whose versions determine an encoder's graph.
GRAPH_PACKAGES = ("torch", "transformers", "onnxscript", "onnx-ir", "onnxruntime")
CODE = (calibration_texts, encoder, pooling, onnx_graph, onnx_int8)


@contextmanager
def graph_files(text_encoder: Encoder, cache: Path | None) -> Iterator[dict[str, Path]]:
    """Yield the file of the encoder's graph in each precision, from the cache or traced now.

    The cache key hashes all that a graph depends on: the encoder's files, the versions of packages, and the code.

    Args:
        text_encoder: whose embeddings the graphs compute.
        cache: folder that keeps graphs; None removes them when the context is left.

    Raises:
        ExportError: the encoder cannot be exported to ONNX, or is too large for one graph.
    """
    if cache is None:
        with tempfile.TemporaryDirectory() as name, graph_files(text_encoder, Path(name)) as files:
            yield files
        return
    code = [sha256(Path(str(module.__file__))) for module in CODE]
    packages = [version(name) for name in GRAPH_PACKAGES]
    folder = cache / "graphs" / content_key(text_encoder.fingerprint, packages, code)
    try:
        manifest.verify(folder)
    except ExportError:
        if folder.exists():
            log.warning("%s has changed since it was written, and is made again", folder)
            shutil.rmtree(folder)
        _write_graphs(text_encoder, folder)
    yield {precision: folder / f"{precision}.onnx" for precision in manifest.WEIGHTS}


def _write_graphs(text_encoder: Encoder, folder: Path) -> None:
    """Write the encoder's graph in each precision into a folder, whole or not at all."""
    with atomic_dir(folder) as draft:
        model = onnx_graph.trace_encoder(text_encoder)
        ir.save(model, draft / "float32.onnx")
        with onnx_graph.silence_exporter():
            calibration = text_encoder.tokenize(calibration_texts.CALIBRATION_TEXTS)
            ir.save(onnx_int8.quantise(model, calibration), draft / "int8.onnx")
        manifest.write(draft, {})
