"""The bound of every evaluation."""

from support.table import recorded

from zooter.evaluation.replay import Replay
from zooter.selector.baseline.oracle import OracleSelector


def test_the_oracle_takes_the_best_truth_and_the_cheapest_of_several() -> None:
    table = recorded(
        [
            {"a": [{"truth": 1.0, "cost": 3.0}], "b": [{"truth": 1.0, "cost": 1.0}]},
            {"a": [{"truth": 0.9, "reward": 0.0, "cost": 3.0}], "b": [{"truth": 0.2, "reward": 1.0, "cost": 1.0}]},
        ]
    )
    decided = Replay(table).run(OracleSelector())
    assert [d.selection.response.candidate for d in decided if d.selection.response] == ["b", "a"]
    assert [d.ledger.cost for d in decided] == [1.0, 3.0]
