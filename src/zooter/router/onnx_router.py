"""The exported router without torch: texts → probabilities over the pool, by ONNX Runtime.

Start-up and memory count here: nothing heavier than NumPy, ONNX Runtime and the tokenizer is imported.
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
from zooter.router.text_features import text_features
from zooter.router.token_batches import length_batches, refuse_blank, well_formed

PRECISIONS = ("auto", "int8", "float32")
OUTPUTS = ["logits", "rewards", "tags"]
SLOWER = "SkipLayerNormFusion"  # one operator for a sum and a layer norm: three times slower than both on a CPU
BATCH_TOKENS = 2_048  # padded; larger batches gain no time on a CPU and cost memory


@dataclass(frozen=True)
class OnnxRouter:
    """A loaded export; safe to share between threads.

    Attributes:
        pool: the candidates, in column order, with their prices.
        facts: what the manifest says: label settings, versions, the data's hash, the report's main figures.
        folder: the export.
        tag_names: (t,) the tags whose probabilities `look` gives.
        precision: of the weights in use, "int8" or "float32".
    """

    pool: Pool
    facts: dict[str, Any]
    folder: Path
    tag_names: tuple[str, ...]
    precision: str
    session: Any
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1, precision: str = "auto") -> "OnnxRouter":
        """Load an export after checking the hash of every file that is read.

        Args:
            threads: of the CPU, for one call of `route`; calls from several threads add up.
            precision: "int8", "float32", or "auto": int8 where the export found that it chooses as float32 does.

        Raises:
            ExportError: the export is incomplete or changed, or has no ONNX form.
            ConfigError: threads or precision cannot be used.
        """
        if threads < 1 or precision not in PRECISIONS:
            raise ConfigError(
                expected=f"threads of 1 or more and a precision among {PRECISIONS}",
                found=f"threads={threads}, precision={precision!r}",
                do="correct them",
            )
        folder = Path(folder)
        _refuse_without_onnx(folder)
        facts = manifest.verify(folder, (manifest.POOL, manifest.REFERENCE, manifest.PARITY, manifest.TOKENIZER))
        about = manifest.read_json(folder / manifest.PARITY, folder)
        rows = manifest.read_json(folder / manifest.POOL, folder)["candidates"]
        pool = Pool(tuple(Candidate(row["name"], row["price"]) for row in rows))
        if about["pool"] != pool.digest():
            raise ExportError(
                expected=f"weights for the pool {list(pool.names)}",
                found="weights that were trained for another pool or another order of it",
                do="export again; all files of an export come from one run",
            )
        precision = about["default"] if precision == "auto" else precision
        manifest.verify(folder, [manifest.WEIGHTS[precision]])
        tokenizer = Tokenizer.from_file(str(folder / manifest.TOKENIZER))
        session = _session(folder / manifest.WEIGHTS[precision], threads)
        return cls(pool, facts, folder, tuple(about["tags"]), precision, session, tokenizer)

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Probabilities of being the best candidate and expected rewards, each (n, m), for n texts.

        Raises:
            RecordsError: a text is empty, so that there is nothing to decide by.
        """
        return self.look(texts)[0]

    def look(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """What `route` says of n texts, and the probabilities (n, t) of the tags in `tag_names`.

        Raises:
            RecordsError: a text is empty.
        """
        refuse_blank(texts)
        m, t = len(self.pool.names), len(self.tag_names)
        logits, rewards, tags = (np.empty((len(texts), width)) for width in (m, m, t))
        looks = text_features(texts)
        ids = [self.tokenizer.encode(well_formed(text)).ids for text in texts]
        for rows in length_batches([len(row) for row in ids], BATCH_TOKENS):
            logits[rows], rewards[rows], tags[rows] = self._run([ids[i] for i in rows], looks[rows])
        return RouterOutput(_softmax(logits), self.pool.names, rewards), tags

    def _run(self, ids: list[list[int]], looks: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        tokens = np.zeros((len(ids), max(1, *map(len, ids))), dtype=np.int64)  # what is masked can be any token
        mask = np.zeros_like(tokens)
        for i, row in enumerate(ids):
            tokens[i, : len(row)], mask[i, : len(row)] = row, 1
        found: list[NDArray[np.float32]] = self.session.run(
            OUTPUTS, {"input_ids": tokens, "attention_mask": mask, "surface": looks}
        )
        return found


def _session(path: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the CPU to others
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=[SLOWER])


def _refuse_without_onnx(folder: Path) -> None:
    if (folder / manifest.FILE).is_file() and not (folder / manifest.PARITY).is_file():
        raise ExportError(
            expected=f"an export with an ONNX form in {folder}",
            found=f"no {manifest.PARITY}",
            do=f"python infer.py mode=export export={folder}",
        )


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return raised / raised.sum(axis=1, keepdims=True)
