"""Compute an export by ONNX Runtime, without torch: texts → probabilities over the pool.

Start-up time and memory matter here: nothing heavier than NumPy, ONNX Runtime and the tokenizer is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from zooter.data.pool import Candidate, Pool
from zooter.data.types import Floats, RouterOutput
from zooter.errors import ConfigError, ExportError
from zooter.router import manifest
from zooter.router.model_inputs import ModelInputs, NgramEmbeddings, TokenIds
from zooter.router.ngrams import NGRAMS, NgramEmbedding
from zooter.router.protocol import Router
from zooter.router.text_features import text_features
from zooter.router.token_batches import reject_blank

PRECISIONS = ("auto", "int8", "float32")
OUTPUTS = ["logits", "rewards", "tags"]
# One operator for a sum and a layer norm: three times slower than both on a CPU.
SLOW_OPTIMIZER = "SkipLayerNormFusion"


@dataclass(frozen=True)
class OnnxRouter(Router):
    """An export that ONNX Runtime computes on the CPU; threads may share it.

    Attributes:
        pool: the m candidates, in column order, with their prices.
        facts: the manifest: label settings, versions, hashes of files and data, the report's main figures.
        folder: the export.
        tag_names: (t,) names of the tags whose probabilities `route_with_tags` returns.
        precision: of the weights in use, "int8" or "float32".
        session: of ONNX Runtime, on the CPU.
        inputs: makes the session's inputs of texts.
    """

    pool: Pool
    facts: dict[str, Any]
    folder: Path
    tag_names: tuple[str, ...]
    precision: str
    session: Any
    inputs: ModelInputs

    @classmethod
    def from_export(cls, folder: str | Path, threads: int = 1, precision: str = "auto") -> "OnnxRouter":
        """Load an export after checking the hash of every file that is read.

        Args:
            folder: the export.
            threads: CPU threads of one call of `route`; concurrent calls add up.
            precision: "int8", "float32", or "auto": the one that the export chose.

        Raises:
            ExportError: the export is incomplete or changed, or has no ONNX form.
            ConfigError: `threads` or `precision` is out of range, or the export lacks this precision.
        """
        if threads < 1 or precision not in PRECISIONS:
            raise ConfigError(
                expected=f"threads of 1 or more and a precision among {PRECISIONS}",
                found=f"threads={threads}, precision={precision!r}",
                do="correct them",
            )
        folder = Path(folder)
        _require_onnx(folder)
        parts = (manifest.POOL, manifest.REFERENCE, manifest.PARITY, manifest.TOKENIZER, manifest.NGRAMS)
        facts = manifest.verify(folder, parts)
        parity = manifest.read_json(folder / manifest.PARITY, folder)
        rows = manifest.read_json(folder / manifest.POOL, folder)["candidates"]
        pool = Pool(tuple(Candidate(row["name"], row["price"]) for row in rows))
        if parity["pool"] != pool.digest():
            raise ExportError(
                expected=f"weights for the pool {list(pool.names)}",
                found="weights that were trained for another pool or another order of it",
                do="export again; all files of an export come from one run",
            )
        precision = parity["default"] if precision == "auto" else precision
        manifest.verify(folder, [manifest.WEIGHTS[precision]])
        session = start_session(_weights(folder, precision), threads)
        return cls(pool, facts, folder, tuple(parity["tags"]), precision, session, _load_inputs(folder, facts))

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Predict candidates for texts; see `Router.route`."""
        return self.route_with_tags(texts)[0]

    def route_with_tags(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """Predict candidates and tags for texts; see `Router.route_with_tags`."""
        reject_blank(texts)
        m, t = len(self.pool.names), len(self.tag_names)
        logits, rewards, tags = (np.empty((len(texts), width)) for width in (m, m, t))
        surface = text_features(texts)
        for rows, feed in self.inputs.batches(texts):
            feed = {**feed, "surface": surface[rows]} if self._reads_surface else feed
            logits[rows], rewards[rows], tags[rows] = self.session.run(OUTPUTS, feed)
        return RouterOutput(_softmax(logits), self.pool.names, rewards), tags

    @cached_property
    def _reads_surface(self) -> bool:
        """Whether the head reads text features; a linear one does not."""
        return any(value.name == "surface" for value in self.session.get_inputs())


def _load_inputs(folder: Path, facts: dict[str, Any]) -> ModelInputs:
    if facts["encoder"]["model"] == NGRAMS:
        return NgramEmbeddings(NgramEmbedding.load(folder / manifest.NGRAMS))
    prefix = facts["encoder"].get("prefix", "")  # exports of earlier versions have none
    return TokenIds.load(folder / manifest.TOKENIZER, prefix)


def _weights(folder: Path, precision: str) -> Path:
    path = folder / manifest.WEIGHTS[precision]
    if not path.is_file():
        raise ConfigError(
            expected=f"a precision that {folder} has",
            found=f"precision={precision!r}",
            do="take precision=auto: an encoder of n-grams has float32 alone",
        )
    return path


def start_session(path: Path, threads: int) -> Any:
    """Load a graph into ONNX Runtime, on the CPU.

    Args:
        path: of the graph.
        threads: CPU threads of one call; concurrent calls add up.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads release the CPU
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(str(path), options, providers=providers, disabled_optimizers=[SLOW_OPTIMIZER])


def _require_onnx(folder: Path) -> None:
    if (folder / manifest.FILE).is_file() and not (folder / manifest.PARITY).is_file():
        raise ExportError(
            expected=f"an export with an ONNX form in {folder}",
            found=f"no {manifest.PARITY}",
            do=f"python infer.py mode=export export={folder}",
        )


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
