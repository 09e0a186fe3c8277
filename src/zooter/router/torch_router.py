"""The exported thing: texts → probabilities over the pool. Needs the export's folder and nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from zooter.data.pool import Candidate, Pool
from zooter.data.types import Floats, RouterOutput
from zooter.errors import ExportError
from zooter.router import manifest
from zooter.router.encoder import Encoder
from zooter.router.manifest import ENCODER, HEAD, POOL
from zooter.router.net import Head, encoder_and_text_features
from zooter.router.token_batches import refuse_blank


@dataclass(frozen=True)
class TorchRouter:
    """A loaded export.

    Attributes:
        pool: the candidates, in column order, with their prices.
        facts: what the manifest says: label settings, versions, the data's hash, the report's main figures.
    """

    pool: Pool
    encoder: Encoder
    head: Head
    facts: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "TorchRouter":
        """Load an export after checking every file's hash and that the weights belong to its pool.

        Raises:
            ExportError: the export is incomplete, changed, or its weights belong to another pool.
        """
        folder = Path(folder)
        facts = manifest.verify(folder)
        rows = manifest.read_json(folder / POOL, folder)["candidates"]
        pool = Pool(tuple(Candidate(row["name"], row["price"]) for row in rows))
        head = _load_head(folder, pool)
        told = facts["encoder"]
        encoder = Encoder(str(folder / ENCODER), None, told["max_length"], tuple(told["layers"]), device=device)
        return cls(pool, encoder, head, facts)

    @torch.inference_mode()
    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Probabilities of being the best candidate and expected rewards, each (n, m), for n texts.

        Raises:
            RecordsError: a text is empty, so that there is nothing to decide by.
        """
        refuse_blank(texts)
        if not texts:
            nothing = np.empty((0, len(self.pool.names)))
            return RouterOutput(nothing, self.pool.names, nothing)
        return self.look(texts, self.encoder.embed(texts))[0]

    @torch.inference_mode()
    def look(self, texts: Sequence[str], embeddings: NDArray[np.float32]) -> tuple[RouterOutput, Floats]:
        """What `route` says of n texts with embeddings (n, e), and the probabilities (n, t) of the tags it knows."""
        read = encoder_and_text_features(embeddings, texts)
        expected = self.head.expected(read).double()
        probs = (expected / self.head.calibration.double()).softmax(dim=-1)
        return RouterOutput(probs.numpy(), self.pool.names, expected.numpy()), self.head.tags(read).double().numpy()


def _load_head(folder: Path, pool: Pool) -> Head:
    try:
        with safe_open(folder / HEAD, framework="pt") as file:
            facts = file.metadata() or {}
        if facts.get("pool") != pool.digest():
            raise ExportError(
                expected=f"weights for the pool {list(pool.names)}",
                found="weights that were trained for another pool or another order of it",
                do="export again; pool.json and head.safetensors come from one run",
            )
        head = Head(**json.loads(facts["shape"]))
        head.load_state_dict(load_file(folder / HEAD))
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ExportError(
            expected=f"the weights of a head in {folder / HEAD}", found=str(error), do="export again"
        ) from error
    return head.eval()
