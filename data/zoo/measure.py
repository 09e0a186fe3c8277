"""Accuracy of candidates, and how well margin and agreement predict it. NumPy only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zooter.collect.reader.skills.generate import ZooQuery
from zooter.collect.reader.skills.verify import normalise


def verify_responses(queries: Sequence[ZooQuery], responses: Sequence[str]) -> np.ndarray:
    """Return (n,) whether each response is right, as 0.0 or 1.0."""
    return np.array([query.verify(text) for query, text in zip(queries, responses, strict=True)], dtype=float)


def accuracy_by_skill(queries: Sequence[ZooQuery], truth: np.ndarray) -> dict[str, float]:
    """Return skill → share of right responses, sorted by name.

    Args:
        queries: n queries.
        truth: (n,) 1.0 where the response is right, else 0.0.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, query in enumerate(queries):
        rows[query.skill].append(row)
    return {skill: float(truth[rows[skill]].mean()) for skill in sorted(rows)}


def agreement(samples: Sequence[Sequence[str]]) -> np.ndarray:
    """Return (n,) the share of samples that give the most frequent answer.

    Args:
        samples: `samples[k][row]` is sample k of a query.
    """
    shares = []
    for answers in zip(*samples, strict=True):
        texts = [normalise(text) for text in answers]
        shares.append(max(texts.count(text) for text in texts) / len(texts))
    return np.array(shares)


def auc(signal: np.ndarray, truth: np.ndarray) -> float:
    """Compute the area under the ROC curve of a signal for right responses.

    Args:
        signal: (n,) larger for right responses.
        truth: (n,) 1.0 where the response is right, else 0.0.

    Returns:
        Probability that a right response has a larger signal than a wrong one, ties counted half; NaN without both.
    """
    positive, negative = signal[truth == 1], np.sort(signal[truth == 0])
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    n_below = np.searchsorted(negative, positive, side="left")
    n_up_to = np.searchsorted(negative, positive, side="right")
    return float((n_below + n_up_to).sum() / (2 * len(positive) * len(negative)))


def point_biserial(signal: np.ndarray, truth: np.ndarray) -> float:
    """Return Pearson's correlation of a signal (n,) with truth (n,), 0 or 1; NaN if either is constant."""
    if signal.std() == 0 or truth.std() == 0:
        return float("nan")
    return float(np.corrcoef(signal, truth)[0, 1])


def cascade(small: np.ndarray, large: np.ndarray, margins: np.ndarray) -> list[dict[str, float]]:
    """Measure a cascade that escalates a share of the queries to the larger candidate.

    Args:
        small, large: (n,) 1.0 where the tier is right, else 0.0.
        margins: (n,) the small tier's first-token margins; of equal ones the earlier query is escalated first.

    Returns:
        One row per escalated share 0, 0.2, …, 1: accuracy if the queries of smallest margin are escalated ("margin"),
        and expected accuracy if they are drawn at random ("random").
    """
    order = np.argsort(margins, kind="stable")
    rows = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        escalated = order[: round(share * len(order))]
        results = small.copy()
        results[escalated] = large[escalated]
        random = (1 - share) * small.mean() + share * large.mean()
        rows.append({"share": share, "margin": float(results.mean()), "random": float(random)})
    return rows
