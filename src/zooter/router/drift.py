"""Test for drift: a two-sample test of a batch of queries against the training queries, on their embeddings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.preprocessing import normalize

from zooter.data.types import Floats, Ints
from zooter.errors import RecordsError
from zooter.metrics.routing import entropy
from zooter.router import manifest
from zooter.router.manifest import REFERENCE, REFERENCE_EMBEDDINGS
from zooter.router.torch_router import TorchRouter

SIGNIFICANCE_LEVEL = 0.02  # p-values at or below it are drift: the share of false alarms at most
PERMUTATIONS = 999
MAX_QUERIES = 1_000  # tested queries of a batch, a uniform sample of it
MIN_QUERIES = 20


class MmdTest(NamedTuple):
    """Result of a two-sample test.

    Attributes:
        mmd: squared maximum mean discrepancy.
        p_value: share of the random splits with no smaller one, in (0, 1].
        threshold: the discrepancy from which p-values are at or below `SIGNIFICANCE_LEVEL`.
    """

    mmd: float
    p_value: float
    threshold: float


@dataclass(frozen=True)
class DriftReport:
    """Comparison of a batch of queries with the training queries.

    Attributes:
        queries: number of queries tested.
        drifted: whether the p-value is at or below `SIGNIFICANCE_LEVEL`.
        p_value: of `mmd` under random exchange of the batch's queries and the reference's, in (0, 1].
        mmd: squared maximum mean discrepancy of the embeddings from those of training queries with the same mix of
            kinds (clusters): another mix alone is no drift.
        threshold: the value of `mmd` from which it is drift.
        choices: candidate → its share of the router's choices: (training, batch), in [0, 1].
        choices_moved: total variation distance between the shares of choices, in [0, 1].
        tags_moved: the same between the mean probabilities of tags.
        entropy_bits: median entropy of the router's probabilities: (training, batch).
        recommendation: what to do.
    """

    queries: int
    drifted: bool
    p_value: float
    mmd: float
    threshold: float
    choices: dict[str, tuple[float, float]]
    choices_moved: float
    tags_moved: float
    entropy_bits: tuple[float, float]
    recommendation: str


def detect_drift(folder: Path, texts: list[str], device: str = "auto", seed: int = 0) -> DriftReport:
    """Compare a batch of queries with the reference statistics of an export.

    Args:
        folder: the export.
        texts: n queries, at least `MIN_QUERIES`; a sample of `MAX_QUERIES` of a larger batch is tested.
        device: where embeddings are computed: "cpu", "cuda" or "auto".
        seed: of the sample and the permutations.

    Raises:
        ExportError: the export is incomplete or changed.
        RecordsError: fewer than `MIN_QUERIES` queries, or one of them empty.
    """
    if len(texts) < MIN_QUERIES:
        raise RecordsError(expected=f"at least {MIN_QUERIES} queries", found=str(len(texts)), do="give a larger batch")
    router = TorchRouter.from_export(folder, device)
    reference = manifest.read_json(folder / REFERENCE, folder)
    sample = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MAX_QUERIES])
    texts = [texts[i] for i in sample]
    embeddings = router.encoder.embed(texts)
    saved = load_file(folder / REFERENCE_EMBEDDINGS)
    training, strata = saved["embeddings"], None
    rounded = embeddings.astype(training.dtype)  # rounded alike, so that rounding makes no difference
    if "strata" in saved:  # exports of earlier versions have a sample without strata
        strata = saved["strata"], nearest_centroids(embeddings, saved["centroids"])
    test = mmd_test(training.astype(np.float32), rounded.astype(np.float32), seed, strata=strata)
    output, tag_probs = router.route_embedded(texts, embeddings)
    return _report(test, reference, router.pool.names, output.probs, tag_probs.mean(axis=0))


def mmd_test(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    strata: tuple[Ints, Ints] | None = None,
) -> MmdTest:
    """Test whether two samples come from one distribution, by their maximum mean discrepancy.

    Gretton et al. 2012 (JMLR 13), unbiased estimate; a Gaussian kernel on unit vectors whose width is the median
    distance. The p-value counts the observed split among the permutations, so that the test is exact.

    With strata, x is weighted to the shares that y has of them, and permutations exchange queries of one stratum only:
    y may have any mix of the strata, but inside each it has to look like x.

    Args:
        x: (n, d), n of 2 or more.
        y: (k, d), k of 2 or more.
        seed: of the permutations.
        permutations: number of random splits; the smallest p-value is 1 / (permutations + 1).
        strata: numbers (n,) and (k,) of the strata of x and y; each that y has, x has too. None is one stratum.
    """
    stratum_x, stratum_y = strata or (np.zeros(len(x), dtype=np.int64), np.zeros(len(y), dtype=np.int64))
    shared = np.isin(stratum_x, stratum_y)
    points = normalize(np.concatenate([x[shared], y])).astype(np.float64)
    stratum, n = np.concatenate([stratum_x[shared], stratum_y]), int(shared.sum())
    squared = np.maximum(2.0 - 2.0 * points @ points.T, 0.0)
    off_diagonal = squared[np.triu_indices(len(points), 1)]
    kernel = np.exp(-squared / max(float(np.median(off_diagonal)), 1e-12))
    np.fill_diagonal(kernel, 0.0)
    members = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    share = np.zeros(len(points))  # weight of a point as one of x
    for rows in members:
        share[rows] = (rows >= n).sum() / (rows < n).sum() / len(y)
    rng = np.random.default_rng(seed)
    in_x = np.zeros((len(points), permutations + 1))  # a split per column, the observed one first
    in_x[:n, 0] = 1.0
    for k in range(1, permutations + 1):
        for rows in members:
            in_x[rng.permutation(rows)[: (rows < n).sum()], k] = 1.0
    from_x, from_y = in_x * share[:, None], (1.0 - in_x) / len(y)
    kernel_x = kernel @ from_x
    within_x = np.einsum("ij,ij->j", from_x, kernel_x) / max(1.0 - float((from_x[:, 0] ** 2).sum()), 1e-12)
    within_y = np.einsum("ij,ij->j", from_y, kernel @ from_y) / (1.0 - 1.0 / len(y))
    mmd = within_x + within_y - 2.0 * np.einsum("ij,ij->j", from_y, kernel_x)
    threshold = float(np.quantile(mmd, 1.0 - SIGNIFICANCE_LEVEL, method="higher"))
    return MmdTest(float(mmd[0]), float(np.mean(mmd >= mmd[0] - 1e-12)), threshold)


def nearest_centroids(embeddings: NDArray[np.float32], centroids: NDArray[np.float32]) -> Ints:
    """Assign embeddings (n, e) to the nearest of c centroids of unit vectors (c, e): (n,) numbers.

    Args:
        embeddings: (n, e) unit vectors.
        centroids: (c, e) unit vectors.
    """
    squared = (centroids.astype(np.float32) ** 2).sum(axis=1)
    distances: Floats = squared - 2.0 * normalize(embeddings) @ centroids.astype(np.float32).T
    return distances.argmin(axis=1).astype(np.int64)


def _report(
    test: MmdTest, reference: dict[str, Any], names: tuple[str, ...], probs: Floats, tag_probs: Floats
) -> DriftReport:
    """Compare probabilities (n, m) and mean tag probabilities (t,) of a batch with an export's reference."""
    shares = np.bincount(probs.argmax(axis=1), minlength=len(names)) / len(probs)
    training_shares = np.array([reference["choices"][name] for name in names])
    training_tags = np.array(reference["probable_tags"])
    drifted = test.p_value <= SIGNIFICANCE_LEVEL
    return DriftReport(
        queries=len(probs),
        drifted=drifted,
        **test._asdict(),
        choices={name: (float(a), float(b)) for name, a, b in zip(names, training_shares, shares, strict=True)},
        choices_moved=float(np.abs(training_shares - shares).sum() / 2.0),
        tags_moved=float(np.abs(training_tags - tag_probs).sum() / 2.0),
        entropy_bits=(float(reference["entropy_bits"]["p50"]), float(np.median(entropy(probs)))),
        recommendation=(
            "these queries are unlike those that the router learned from: record rewards on 50 to 200 of them and "
            "train again; until then compare with the best single model"
            if drifted
            else "nothing to do: these queries are like those that the router learned from"
        ),
    )
