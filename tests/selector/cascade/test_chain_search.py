"""FrugalGPT's orders and thresholds, worked out by hand."""

import numpy as np

from zooter.selector.cascade.chain_search import pareto_frontier, search_chains

SCORES = np.array([[0.9, 0.5], [0.8, 0.5], [0.2, 0.5], [0.1, 0.5]])
REWARDS = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
COSTS = np.tile([1.0, 3.0], (4, 1))


def test_the_frontier_of_orders_and_thresholds() -> None:
    # Quartiles of the first scores: .1, .175, .5, .825. Above .5 two answers are accepted, and both are right.
    chains = pareto_frontier(search_chains(["a", "b"], SCORES, REWARDS, COSTS, length=2, quantiles=4))
    assert [(chain.order, chain.cost, chain.reward) for chain in chains] == [
        (("a",), 1.0, 0.5),
        (("a", "b"), 1.75, 0.75),
        (("a", "b"), 2.5, 1.0),
    ]
    assert chains[2].thresholds == (0.5,)
    assert [chain.order for chain in pareto_frontier(search_chains(["a", "b"], SCORES, REWARDS, COSTS, 1, 4))] == [
        ("a",),
        ("b",),
    ]


def test_every_order_up_to_the_length_is_tried() -> None:
    three = [np.tile(values, (4, 1)) for values in ([0.5, 0.5, 0.5], [0.1, 0.2, 0.3], [1.0, 1.0, 1.0])]
    chains = {chain.order for chain in search_chains(["a", "b", "c"], *three, length=3, quantiles=2)}
    assert len(chains) == 3 + 6 + 6


def test_a_score_that_is_missing_is_never_accepted() -> None:
    chains = list(search_chains(["a", "b"], np.full((4, 2), np.nan), REWARDS, COSTS, 2, 4))
    assert {chain.order for chain in chains} == {("a",), ("b",)}
