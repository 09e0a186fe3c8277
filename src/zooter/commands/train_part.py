"""Measure a trained router on the test queries of one part."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from zooter.data.mapped import mapped_rows
from zooter.data.split import Part
from zooter.data.types import Floats, Rewards
from zooter.evaluation import router_metrics
from zooter.training.method import TrainedRouter, TrainingData
from zooter.training.predict import logits_to_probabilities


def measure(
    data: TrainingData, part: Part, trained: TrainedRouter, logits: Floats, others: Mapping[str, Floats]
) -> router_metrics.RouterOutcome:
    """Measure a router on a part's t test queries; where there is a truth, on those that have one.

    Args:
        data: all rows.
        part: whose training queries the router and the baselines have learned from.
        trained: the router.
        logits: (t, m) of the router.
        others: name → logits (t, m) of routers that stand beside it.
    """
    table, tags = data.records, trained.tags
    measurable = (
        np.ones(len(part.test), dtype=bool) if table.truth is None else table.truth.observed[part.test].any(axis=1)
    )
    test, logits = part.test[measurable], logits[measurable]

    def train_and_test(rewards: Rewards) -> tuple[Rewards, Rewards]:
        """Select a part's training rows and its measurable test rows."""
        return rewards.take(part.train), rewards.take(test)

    outcome = router_metrics.evaluate_router(
        logits_to_probabilities(trained.net, logits),
        trained.prior,
        (mapped_rows(data.embeddings, part.train), mapped_rows(data.embeddings, test)),
        train_and_test(table.rewards),
        (tags.take(part.train), tags.take(test)),
        None if table.truth is None else train_and_test(table.truth),
        {name: other[measurable] for name, other in others.items()},
        softmax(logits, axis=1),
        (logits_to_probabilities(trained.net, trained.logits(data, part.val)), table.rewards.take(part.val)),
    )
    return replace(outcome, queries=tuple(table.queries[i] for i in test))
