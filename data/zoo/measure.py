"""Who is right where, and what margin, agreement and temperature say about being right. NumPy only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zooter.collect.reader.skills.generate import ZooQuery
from zooter.collect.reader.skills.verify import normalise


def right(queries: Sequence[ZooQuery], responses: Sequence[str]) -> np.ndarray:
    """Whether each response is right (n,), as 0.0 or 1.0."""
    return np.array([query.verify(text) for query, text in zip(queries, responses, strict=True)], dtype=float)


def by_skill(queries: Sequence[ZooQuery], truth: np.ndarray) -> dict[str, float]:
    """Share right per skill, in order of name."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, query in enumerate(queries):
        rows[query.skill].append(row)
    return {skill: float(truth[rows[skill]].mean()) for skill in sorted(rows)}


def agreement(samples: Sequence[Sequence[str]]) -> np.ndarray:
    """Share of the samples that give the most frequent answer (n,); ``samples[k][row]`` is sample k of a query."""
    out = []
    for answers in zip(*samples, strict=True):
        texts = [normalise(text) for text in answers]
        out.append(max(texts.count(text) for text in texts) / len(texts))
    return np.array(out)


def auc(signal: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a right response has the larger signal than a wrong one, ties counted half; NaN without both."""
    positive, negative = signal[truth == 1], np.sort(signal[truth == 0])
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    upto = np.searchsorted(negative, positive, side="right")
    return float((below + upto).sum() / (2 * len(positive) * len(negative)))


def point_biserial(signal: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's correlation of a signal with being right (0 or 1); NaN where either never varies."""
    if signal.std() == 0 or truth.std() == 0:
        return float("nan")
    return float(np.corrcoef(signal, truth)[0, 1])


def cascade(small: np.ndarray, large: np.ndarray, margins: np.ndarray) -> list[dict[str, float]]:
    """Share right when the larger candidate answers a share of the queries: those of smallest margin, or any.

    ``small`` and ``large``: whether each tier is right (n,); ``margins``: the small tier's (n,). Of equal margins, the
    earlier query goes first.
    """
    order = np.argsort(margins, kind="stable")
    rows = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        passed = order[: round(share * len(order))]
        got = small.copy()
        got[passed] = large[passed]
        random = (1 - share) * small.mean() + share * large.mean()
        rows.append({"share": share, "margin": float(got.mean()), "random": float(random)})
    return rows
