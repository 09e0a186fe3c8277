"""Write an export: the directory that a router is loaded from."""

import json
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize
from transformers import PreTrainedModel

from zooter.data.files import atomic_dir
from zooter.data.pool import Pool
from zooter.data.types import Floats, Ints, Tags
from zooter.router import manifest
from zooter.router.manifest import CARD, ENCODER, HEAD, POOL, REFERENCE, REFERENCE_EMBEDDINGS
from zooter.router.net import Net
from zooter.router.text_encoder import TextEncoder

REFERENCE_QUERIES = 1_000  # training queries of which an export keeps statistics for drift tests
# Kinds of queries, of which as many are kept each: a kind that is rare in training is no drift either.
STRATA, PER_STRATUM = 50, 20


class DriftReference(NamedTuple):
    """Embeddings of some training queries, as many of each kind.

    Attributes:
        embeddings: (k, e).
        strata: (k,) number of each query's kind.
        centroids: (c, e) mean unit vectors of the kinds.
    """

    embeddings: NDArray[np.float32]
    strata: Ints
    centroids: NDArray[np.float32]


def stratified_reference(
    embeddings: NDArray[np.float32],
    seed: int,
    embed_rows: Callable[[Ints], NDArray[np.float32]] | None = None,
) -> DriftReference:
    """Sample training queries of every kind, so that drift is tested inside kinds and not on their mix.

    Kinds are k-means clusters of unit vectors.

    Args:
        embeddings: (n, e) of all training queries.
        seed: of clusters and sample.
        embed_rows: computes the embeddings to keep, of some rows, as those of later batches are computed; None keeps
            `embeddings`. The same queries embedded in int8 and in float32 differ by as much as some drift.
    """
    points = normalize(embeddings)
    clusters = max(1, min(STRATA, len(points) // (2 * PER_STRATUM)))
    kinds = MiniBatchKMeans(clusters, random_state=seed, n_init=1).fit(points)
    order = np.random.default_rng(seed).permutation(len(points))
    members = [order[kinds.labels_[order] == stratum] for stratum in range(clusters)]
    rows = np.concatenate([member[:PER_STRATUM] for member in members])
    filled = np.unique(kinds.labels_)  # an empty kind has no reference
    strata = np.searchsorted(filled, kinds.labels_[rows]).astype(np.int64)
    kept = embeddings[rows] if embed_rows is None else embed_rows(rows)
    return DriftReference(kept, strata, kinds.cluster_centers_[filled].astype(np.float32))


def write(
    folder: Path,
    net: Net,
    encoder: TextEncoder,
    pool: Pool,
    facts: dict[str, Any],
    reference: dict[str, Any],
    drift_reference: DriftReference,
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
        drift_reference: which drift is measured against; stored in 16 bits.
        card: the export's README, Markdown.
    """
    with atomic_dir(folder) as draft:
        _write_model(draft, net, encoder, pool)
        _write_drift_reference(draft / REFERENCE_EMBEDDINGS, drift_reference)
        manifest.write_json(draft / REFERENCE, reference)
        (draft / CARD).write_text(card, encoding="utf-8")
        manifest.write(draft, {**facts, "encoder": encoder.config, "versions": versions(), "pool": pool.digest()})


def reference_statistics(
    queries: Sequence[str], tags: Tags, probs: Floats, candidates: tuple[str, ...], tag_probs: Floats
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


def _write_drift_reference(path: Path, reference: DriftReference) -> None:
    embeddings, strata, centroids = (torch.from_numpy(values) for values in reference)
    tensors = {"embeddings": embeddings.half(), "strata": strata, "centroids": centroids.half()}
    save_file({name: values.contiguous() for name, values in tensors.items()}, path)


def _write_model(draft: Path, net: Net, encoder: TextEncoder, pool: Pool) -> None:
    (draft / ENCODER).mkdir(parents=True)
    encoder.write(draft / ENCODER)
    if isinstance(net.backbone, PreTrainedModel):
        for path in (draft / ENCODER).glob("*.safetensors*"):
            path.unlink()
        net.backbone.save_pretrained(draft / ENCODER)
    metadata = {"shape": json.dumps(net.head.shape), "pool": pool.digest()}
    save_file(net.head.state_dict(), draft / HEAD, metadata=metadata)
    manifest.write_json(draft / POOL, {"candidates": pool.to_rows()})
