"""Relate the entropy of a query's rewards to what reward-model ranking obtains (ZOOTER §4.3, figure 3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zooter.data.types import Floats, Labels
from zooter.metrics import routing
from zooter.metrics.per_tag import finite_or_none

RANKING = "ranking"  # reward-model ranking: ask all, return the best rewarded; measured only where there is a truth
BINS = 8


def summarise_entropy(labels: Labels, obtained: Mapping[str, Floats]) -> dict[str, Any] | None:
    """Average the truth of reward-model ranking's pick, and of others, in bins of equal count by entropy.

    The paper prints neither bins nor a coefficient; Spearman's is given here.

    Args:
        labels: (n, m) unsmoothed labels, the softmax of rewards.
        obtained: method → (n,) truth of its choice, `RANKING` among them where there is a truth.

    Returns:
        "bits", the mean entropy of each bin; for `RANKING`, "routed" and "random" the mean truth of each bin; and
        "spearman" of each over all queries. None without a truth: rewards would be set against themselves.
    """
    if RANKING not in obtained:
        return None
    bits = routing.entropy(labels.values)
    parts = [part for part in np.array_split(np.argsort(bits, kind="stable"), BINS) if len(part)]
    series = {name: obtained[name] for name in (RANKING, "routed", "random")}
    return {
        "bits": [float(bits[part].mean()) for part in parts],
        **{name: [float(truth[part].mean()) for part in parts] for name, truth in series.items()},
        "spearman": {name: finite_or_none(routing.spearman(bits, truth)) for name, truth in series.items()},
    }
