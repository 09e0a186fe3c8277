"""Compute an export by ONNX Runtime, without torch: texts → probabilities over the pool.

Start-up time and memory matter here: nothing heavier than NumPy, ONNX Runtime and the tokenizer is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zooter.data.pool import Candidate, Pool
from zooter.data.types import Floats, RouterOutput
from zooter.errors import ConfigError, ExportError
from zooter.router import manifest
from zooter.router.protocol import Router
from zooter.router.text_features import text_features
from zooter.router.token_batches import encode_beginnings, length_batches, reject_blank

PRECISIONS = ("auto", "int8", "float32")
OUTPUTS = ["logits", "rewards", "tags"]
# One operator for a sum and a layer norm: three times slower than both on a CPU.
SLOW_OPTIMIZER = "SkipLayerNormFusion"
LONG_TEXT = 4_096  # characters from which a tokenizer's threads are worth their start
BATCH_TOKENS = 2_048  # padded; larger batches gain no time on a CPU and cost memory


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
        tokenizer: cuts texts at the encoder's length and does not pad.
    """

    pool: Pool
    facts: dict[str, Any]
    folder: Path
    tag_names: tuple[str, ...]
    precision: str
    session: Any
    tokenizer: Tokenizer

    @classmethod
    def from_export(cls, folder: str | Path, threads: int = 1, precision: str = "auto") -> "OnnxRouter":
        """Load an export after checking the hash of every file that is read.

        Args:
            folder: the export.
            threads: CPU threads of one call of `route`; concurrent calls add up.
            precision: "int8", "float32", or "auto": int8 where the export measured that it makes the same choices.

        Raises:
            ExportError: the export is incomplete or changed, or has no ONNX form.
            ConfigError: `threads` or `precision` is out of range.
        """
        if threads < 1 or precision not in PRECISIONS:
            raise ConfigError(
                expected=f"threads of 1 or more and a precision among {PRECISIONS}",
                found=f"threads={threads}, precision={precision!r}",
                do="correct them",
            )
        folder = Path(folder)
        _require_onnx(folder)
        facts = manifest.verify(folder, (manifest.POOL, manifest.REFERENCE, manifest.PARITY, manifest.TOKENIZER))
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
        tokenizer = Tokenizer.from_file(str(folder / manifest.TOKENIZER))
        session = _start_session(folder / manifest.WEIGHTS[precision], threads)
        return cls(pool, facts, folder, tuple(parity["tags"]), precision, session, tokenizer)

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Predict candidates for texts; see `Router.route`."""
        return self.route_with_tags(texts)[0]

    def route_with_tags(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """Predict candidates and tags for texts; see `Router.route_with_tags`."""
        reject_blank(texts)
        m, t = len(self.pool.names), len(self.tag_names)
        logits, rewards, tags = (np.empty((len(texts), width)) for width in (m, m, t))
        surface = text_features(texts)
        truncation: Any = self.tokenizer.truncation
        prefix = self.facts["encoder"].get("prefix", "")  # exports of earlier versions have none
        prefixed = [prefix + text for text in texts]
        ids = [encoding.ids for encoding in encode_beginnings(prefixed, truncation["max_length"], self._encode)]
        for rows in length_batches([len(row) for row in ids], BATCH_TOKENS):
            logits[rows], rewards[rows], tags[rows] = self._run([ids[i] for i in rows], surface[rows])
        return RouterOutput(_softmax(logits), self.pool.names, rewards), tags

    def _encode(self, texts: list[str]) -> list[Any]:
        """Tokenize texts; long ones without Python's lock, which short ones hold for less than a millisecond."""
        if max(map(len, texts)) > LONG_TEXT:
            return list(self.tokenizer.encode_batch(texts))
        return [self.tokenizer.encode(text) for text in texts]

    def _run(self, ids: list[list[int]], surface: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Compute logits (b, m), rewards (b, m) and tag probabilities (b, t) of one batch."""
        tokens = np.zeros((len(ids), max(1, *map(len, ids))), dtype=np.int64)  # masked tokens can have any value
        mask = np.zeros_like(tokens)
        for i, row in enumerate(ids):
            tokens[i, : len(row)], mask[i, : len(row)] = row, 1
        feed = {"input_ids": tokens, "attention_mask": mask, "surface": surface}
        names = [value.name for value in self.session.get_inputs()]  # a linear head reads no text features
        outputs: list[NDArray[np.float32]] = self.session.run(OUTPUTS, {name: feed[name] for name in names})
        return outputs


def _start_session(path: Path, threads: int) -> Any:
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
