"""Write an export: the directory that a router is loaded from."""

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import PreTrainedModel

from zooter.data.files import atomic_dir
from zooter.data.model_files import SAFE_PATTERNS
from zooter.data.pool import Pool
from zooter.data.types import Floats, Tags
from zooter.router import manifest
from zooter.router.encoder import Encoder
from zooter.router.manifest import CARD, ENCODER, HEAD, POOL, REFERENCE, REFERENCE_EMBEDDINGS
from zooter.router.net import Net

REFERENCE_QUERIES = 1_000  # training queries whose embeddings an export keeps for drift tests


def write(
    folder: Path,
    net: Net,
    encoder: Encoder,
    pool: Pool,
    facts: dict[str, Any],
    reference: dict[str, Any],
    embeddings: NDArray[np.float32],
    card: str,
) -> None:
    """Write an export whole or not at all, in the place of an earlier one.

    Args:
        folder: the export.
        net: the trained net; its backbone, where it has one, replaces the encoder's weights.
        encoder: computes the embeddings that the net was trained on.
        pool: the m candidates, in the order of the net's logits.
        facts: entries of the manifest beside the files' hashes; JSON.
        reference: `reference_statistics` of the training queries.
        embeddings: (k, e) of some training queries, which drift is measured against; stored in 16 bits.
        card: the export's README, Markdown.
    """
    with atomic_dir(folder) as draft:
        _write_model(draft, net, encoder, pool)
        save_file({"embeddings": torch.from_numpy(embeddings).half()}, draft / REFERENCE_EMBEDDINGS)
        manifest.write_json(draft / REFERENCE, reference)
        (draft / CARD).write_text(card, encoding="utf-8")
        config = {"model": encoder.model, "max_length": encoder.max_length, "layers": list(encoder.layers)}
        manifest.write(draft, {**facts, "encoder": config, "versions": versions(), "pool": pool.digest()})


def reference_statistics(
    queries: list[str], tags: Tags, probs: Floats, candidates: tuple[str, ...], tag_probs: Floats
) -> dict[str, Any]:
    """Summarise the training queries: their lengths, shares of tags and of choices, entropy of the router.

    Args:
        queries: n texts.
        tags: (n, t) that the queries carry.
        probs: (n, m) the router's probabilities.
        candidates: m names.
        tag_probs: (n, t_0) the head's probabilities of the tags that it has learned (`Head.tag_probabilities`).

    Returns:
        JSON; shares in [0, 1], entropies in bits, percentiles by name ("p50").
    """
    lengths = np.array([len(query) for query in queries])
    tag_shares = np.asarray(tags.membership.sum(axis=0)).ravel() / len(queries)
    choice_shares = np.bincount(probs.argmax(axis=1), minlength=len(candidates)) / len(queries)
    entropies = -(probs * np.log2(np.maximum(probs, 1e-300))).sum(axis=1)
    return {
        "queries": len(queries),
        "characters": {f"p{q}": float(np.percentile(lengths, q)) for q in (5, 25, 50, 75, 95)},
        "probable_tags": tag_probs.mean(axis=0).tolist(),
        "tags": dict(zip(tags.names, tag_shares.tolist(), strict=True)),
        "choices": dict(zip(candidates, choice_shares.tolist(), strict=True)),
        "entropy_bits": {f"p{q}": float(np.percentile(entropies, q)) for q in (5, 25, 50, 75, 95)},
    }


def versions() -> dict[str, str]:
    """List the versions of Python and of the packages that an export depends on."""
    packages = ("zooter", "torch", "transformers", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _write_model(draft: Path, net: Net, encoder: Encoder, pool: Pool) -> None:
    (draft / ENCODER).mkdir(parents=True)
    for pattern in SAFE_PATTERNS:
        for path in encoder.folder.glob(pattern):
            shutil.copyfile(path, draft / ENCODER / path.name)
    if isinstance(net.backbone, PreTrainedModel):
        for path in (draft / ENCODER).glob("*.safetensors*"):
            path.unlink()
        net.backbone.save_pretrained(draft / ENCODER)
    metadata = {"shape": json.dumps(net.head.shape), "pool": pool.digest()}
    save_file(net.head.state_dict(), draft / HEAD, metadata=metadata)
    manifest.write_json(draft / POOL, {"candidates": pool.to_rows()})
