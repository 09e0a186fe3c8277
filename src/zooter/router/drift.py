"""Are these queries like those that a router learned from? A test on embeddings, and what the router makes of them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.preprocessing import normalize

from zooter.data.types import Floats
from zooter.errors import RecordsError
from zooter.metrics.routing import entropy
from zooter.router import manifest
from zooter.router.manifest import REFERENCE, REFERENCE_EMBEDDINGS
from zooter.router.torch_router import TorchRouter

ALARM = 0.02  # a p-value at or below it is an alarm: so often, at most, without any drift
PERMUTATIONS = 999
MAX_QUERIES = 1_000  # queries of a batch that are looked at, an even draw of them
MIN_QUERIES = 20


@dataclass(frozen=True)
class DriftReport:
    """What a batch of queries shows against the training queries.

    Attributes:
        queries: how many were looked at.
        drifted: whether the p-value is at or below `ALARM`.
        p_value: of `mmd` under random exchange of the batch's queries and the reference's.
        mmd: squared maximum mean discrepancy of the embeddings.
        choices: candidate → its share of the router's choices: (training, batch).
        choices_moved, tags_moved: total variation between the two mixes of choices, of probable tags; 0…1.
        entropy_bits: median entropy of the router's probabilities: (training, batch).
        recommendation: what to do.
    """

    queries: int
    drifted: bool
    p_value: float
    mmd: float
    choices: dict[str, tuple[float, float]]
    choices_moved: float
    tags_moved: float
    entropy_bits: tuple[float, float]
    recommendation: str


def detect_drift(folder: Path, texts: list[str], device: str = "auto", seed: int = 0) -> DriftReport:
    """Compare a batch of queries with the reference statistics of an export.

    Raises:
        ExportError: the export is incomplete or changed.
        RecordsError: fewer than `MIN_QUERIES` queries, or one of them empty.
    """
    if len(texts) < MIN_QUERIES:
        raise RecordsError(expected=f"at least {MIN_QUERIES} queries", found=str(len(texts)), do="give a larger batch")
    router = TorchRouter.load(folder, device)
    reference = manifest.read_json(folder / REFERENCE, folder)
    kept = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MAX_QUERIES])
    texts = [texts[i] for i in kept]
    embeddings = router.encoder.embed(texts)
    trained_on = load_file(folder / REFERENCE_EMBEDDINGS)["embeddings"]
    as_kept = embeddings.astype(trained_on.dtype)  # rounded alike, so that rounding is no difference
    mmd, p_value = mmd_test(trained_on.astype(np.float32), as_kept.astype(np.float32), seed)
    choices, tags = router.look(texts, embeddings)
    return _told(mmd, p_value, reference, router.pool.names, choices.probs, tags.mean(axis=0))


def mmd_test(
    x: NDArray[np.float32], y: NDArray[np.float32], seed: int = 0, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Squared maximum mean discrepancy of two samples (n, d), (k, d), and its permutation p-value.

    Gretton et al. 2012 (JMLR 13), unbiased estimate; a Gaussian kernel on unit vectors whose width is the median
    distance. The p-value counts the sample as it is among the permutations, so that it is exact.
    """
    points = normalize(np.concatenate([x, y])).astype(np.float64)
    squared = np.maximum(2.0 - 2.0 * points @ points.T, 0.0)
    off = squared[np.triu_indices(len(points), 1)]
    kernel = np.exp(-squared / max(float(np.median(off)), 1e-12))
    np.fill_diagonal(kernel, 0.0)
    rng = np.random.default_rng(seed)
    first = np.zeros((len(points), permutations + 1))
    first[: len(x), 0] = 1.0
    for k in range(1, permutations + 1):
        first[rng.permutation(len(points))[: len(x)], k] = 1.0
    n, m = len(x), len(y)
    inside = np.einsum("ij,ij->j", first, kernel @ first)
    to_all = kernel.sum(axis=1) @ first
    across, other = to_all - inside, kernel.sum() - 2.0 * to_all + inside
    found = inside / (n * (n - 1)) + other / (m * (m - 1)) - 2.0 * across / (n * m)
    return float(found[0]), float(np.mean(found >= found[0] - 1e-12))


def drift_lines(found: DriftReport) -> Iterator[str]:
    """The finding as one line of JSON."""
    yield json.dumps(asdict(found), ensure_ascii=False)


def _told(
    mmd: float, p_value: float, reference: dict[str, Any], names: tuple[str, ...], probs: Floats, tags: Floats
) -> DriftReport:
    shares = np.bincount(probs.argmax(axis=1), minlength=len(names)) / len(probs)
    before = np.array([reference["choices"][name] for name in names])
    of_tags = np.array(reference["probable_tags"])
    drifted = p_value <= ALARM
    return DriftReport(
        queries=len(probs),
        drifted=drifted,
        p_value=p_value,
        mmd=mmd,
        choices={name: (float(a), float(b)) for name, a, b in zip(names, before, shares, strict=True)},
        choices_moved=float(np.abs(before - shares).sum() / 2.0),
        tags_moved=float(np.abs(of_tags - tags).sum() / 2.0),
        entropy_bits=(float(reference["entropy_bits"]["p50"]), float(np.median(entropy(probs)))),
        recommendation=(
            "these queries are unlike those that the router learned from: record rewards on 50 to 200 of them and "
            "train again; until then compare with the best single model"
            if drifted
            else "nothing to do: these queries are like those that the router learned from"
        ),
    )
