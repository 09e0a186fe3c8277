"""Always the same candidate."""

import pytest
from support.table import recorded

from zooter.errors import ConfigError
from zooter.evaluation.replay import Replay
from zooter.selector.baseline.single import SingleSelector

ROWS = [
    {"a": [{"text": "x", "reward": 0.1, "cost": 1.0}], "b": [{"text": "y", "reward": 0.4, "cost": 2.0}]},
    {"a": [{"error": "down", "reward": 0.5, "cost": 1.0}], "b": [{"text": "z", "reward": 0.3, "cost": 2.0}]},
]


def test_the_best_candidate_on_training_rows_answers() -> None:
    table = recorded(ROWS)
    fitted = SingleSelector().fit(table, table)
    assert fitted.candidate == "b"  # .35 against .3
    assert [d.selection.response.text for d in Replay(table).run(fitted) if d.selection.response] == ["y", "z"]


def test_a_named_candidate_stays_and_a_failed_call_falls_to_the_next() -> None:
    table = recorded(ROWS)
    first, second = Replay(table).run(SingleSelector("a").fit(table, table))
    assert first.selection.response is not None
    assert first.selection.response.candidate == "a"
    assert second.selection.response is not None
    assert second.selection.response.candidate == "b"
    assert (second.ledger.failed, second.ledger.calls) == (1, {"a": 1, "b": 1})


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"among \['a', 'b'\].*'zed'"):
        Replay(recorded(ROWS)).run(SingleSelector("zed"))
