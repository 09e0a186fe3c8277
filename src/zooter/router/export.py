"""A trained net → the directory that a router is loaded from."""

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

REFERENCE_QUERIES = 1_000


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
        facts: what the manifest should say beside the files' hashes; JSON.
        reference: `reference_statistics` of the training queries.
        embeddings: (k, d) of some training queries, for telling later whether traffic has drifted.
        card: the Markdown page for people.
    """
    with atomic_dir(folder) as draft:
        _fill(draft, net, encoder, pool)
        save_file({"embeddings": torch.from_numpy(embeddings).half()}, draft / REFERENCE_EMBEDDINGS)
        manifest.write_json(draft / REFERENCE, reference)
        (draft / CARD).write_text(card, encoding="utf-8")
        read = {"model": encoder.model, "max_length": encoder.max_length, "layers": list(encoder.layers)}
        manifest.write(draft, {**facts, "encoder": read, "versions": versions(), "pool": pool.digest()})


def reference_statistics(
    queries: list[str], tags: Tags, probs: Floats, candidates: tuple[str, ...], probable: Floats
) -> dict[str, Any]:
    """What the training queries look like: lengths, tag and choice shares, entropy of the router; JSON.

    Args:
        probable: (n, t) the head's probabilities of the tags that it has learned (`Head.tags`).
    """
    lengths = np.array([len(query) for query in queries])
    tag_shares = np.asarray(tags.membership.sum(axis=0)).ravel() / len(queries)
    choice_shares = np.bincount(probs.argmax(axis=1), minlength=len(candidates)) / len(queries)
    entropies = -(probs * np.log2(np.maximum(probs, 1e-300))).sum(axis=1)
    return {
        "queries": len(queries),
        "characters": {f"p{q}": float(np.percentile(lengths, q)) for q in (5, 25, 50, 75, 95)},
        "probable_tags": probable.mean(axis=0).tolist(),
        "tags": dict(zip(tags.names, tag_shares.tolist(), strict=True)),
        "choices": dict(zip(candidates, choice_shares.tolist(), strict=True)),
        "entropy_bits": {f"p{q}": float(np.percentile(entropies, q)) for q in (5, 25, 50, 75, 95)},
    }


def versions() -> dict[str, str]:
    """The versions that made an export, to read when it behaves differently elsewhere."""
    packages = ("zooter", "torch", "transformers", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _fill(draft: Path, net: Net, encoder: Encoder, pool: Pool) -> None:
    (draft / ENCODER).mkdir(parents=True)
    for pattern in SAFE_PATTERNS:
        for path in encoder.folder.glob(pattern):
            shutil.copyfile(path, draft / ENCODER / path.name)
    if isinstance(net.backbone, PreTrainedModel):
        for path in (draft / ENCODER).glob("*.safetensors*"):
            path.unlink()
        net.backbone.save_pretrained(draft / ENCODER)
    facts = {"shape": json.dumps(net.head.shape), "pool": pool.digest()}
    save_file(net.head.state_dict(), draft / HEAD, metadata=facts)
    manifest.write_json(draft / POOL, {"candidates": pool.to_rows()})
