"""Compute an export by torch: texts → probabilities over the pool."""

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
from zooter.router.manifest import ENCODER, HEAD, POOL
from zooter.router.net import Head, RouterHead, head_from_shape
from zooter.router.protocol import Router
from zooter.router.text_encoder import TextEncoder, read_encoder
from zooter.router.token_batches import reject_blank


@dataclass(frozen=True)
class TorchRouter(Router):
    """An export that torch computes; its encoder and head can be used on their own.

    Attributes:
        pool: the m candidates, in column order, with their prices.
        encoder: the export's copy of the encoder; computes embeddings on the device given to `load`.
        head: the export's head, in evaluation mode on the CPU.
        facts: the manifest: label settings, versions, hashes of files and data, the report's main figures.
        folder: the export.
        tag_names: (t,) names of the head's tags; "tag 1", "tag 2", … where the manifest does not name all of them.
    """

    pool: Pool
    encoder: TextEncoder
    head: RouterHead
    facts: dict[str, Any]
    folder: Path
    tag_names: tuple[str, ...]

    @classmethod
    def from_export(cls, folder: str | Path, device: str = "auto") -> "TorchRouter":
        """Load an export after checking every file's hash and that the weights belong to its pool.

        Args:
            folder: the export.
            device: where embeddings are computed: "cpu", "cuda", or "auto" (a GPU where there is one).

        Raises:
            ExportError: the export is incomplete, changed, or its weights belong to another pool.
        """
        folder = Path(folder)
        facts = manifest.verify(folder)
        rows = manifest.read_json(folder / POOL, folder)["candidates"]
        pool = Pool(tuple(Candidate(row["name"], row["price"]) for row in rows))
        head = _load_head(folder, pool)
        encoder = read_encoder(folder / ENCODER, facts["encoder"], device)
        return cls(pool, encoder, head, facts, folder, _tag_names(head, facts))

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Predict candidates for texts; see `Router.route`."""
        return self.route_with_tags(texts)[0]

    def route_with_tags(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """Predict candidates and tags for texts; see `Router.route_with_tags`."""
        reject_blank(texts)
        if not texts:
            empty = np.empty((0, len(self.pool.names)))
            return RouterOutput(empty, self.pool.names, empty), np.empty((0, len(self.tag_names)))
        return self.route_embedded(texts, self.encoder.embed(texts))

    @torch.inference_mode()
    def route_embedded(self, texts: Sequence[str], embeddings: NDArray[np.float32]) -> tuple[RouterOutput, Floats]:
        """Predict candidates and tags for texts whose embeddings are at hand.

        Args:
            texts: n queries, for the text features.
            embeddings: (n, e) of the same queries, by `encoder`.

        Returns:
            As `route_with_tags`.
        """
        features = self.head.join_features(embeddings, texts)
        rewards = self.head.expected_rewards(features).double()
        probs = (rewards / self.head.calibration.double()).softmax(dim=-1)
        tags = self.head.tag_probabilities(features).double()
        return RouterOutput(probs.numpy(), self.pool.names, rewards.numpy()), tags.numpy()


def _load_head(folder: Path, pool: Pool) -> RouterHead:
    """Read `head.safetensors` and check that it was trained for `pool`."""
    try:
        with safe_open(folder / HEAD, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("pool") != pool.digest():
            raise ExportError(
                expected=f"weights for the pool {list(pool.names)}",
                found="weights that were trained for another pool or another order of it",
                do="export again; pool.json and head.safetensors come from one run",
            )
        head = head_from_shape(json.loads(metadata["shape"]))
        head.load_state_dict(load_file(folder / HEAD))
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ExportError(
            expected=f"the weights of a head in {folder / HEAD}", found=str(error), do="export again"
        ) from error
    return head.eval()


def _tag_names(head: RouterHead, facts: dict[str, Any]) -> tuple[str, ...]:
    count = len(head.rewards[0]) if isinstance(head, Head) and len(head.rewards) else 0
    names = facts.get("tags", [])
    return tuple(names) if len(names) == count else tuple(f"tag {j + 1}" for j in range(count))
