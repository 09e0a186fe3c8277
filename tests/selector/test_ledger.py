"""The account of a selection, added up by hand."""

import math

from zooter.data.types import Response
from zooter.selector.ledger import Fee, Ledger


def response(candidate: str, **fields: object) -> Response:
    return Response("q", candidate, 0, "", **fields)  # type: ignore[arg-type]


def test_a_ledger_adds_up_calls_tokens_cost_and_waiting() -> None:
    first = [
        response("a", cost=1.0, seconds=2.0, input_tokens=3, output_tokens=4),
        response("b", cost=2.0, seconds=5.0),
    ]
    second = [response("a", cost=4.0, seconds=1.0, input_tokens=10, output_tokens=20)]
    ledger = Ledger([first, second], [Fee("router", 0.5, 0.25)])
    assert ledger.calls == {"a": 2, "b": 1}
    assert ledger.tokens == (13, 24)
    assert ledger.cost == 7.5
    assert ledger.seconds == 5.0 + 1.0 + 0.25  # of calls side by side the longest counts


def test_a_failed_call_is_counted_and_free_where_its_cost_is_not_known() -> None:
    ledger = Ledger([[response("a", error="timeout"), response("b", cost=2.0)]])
    assert (ledger.failed, ledger.cost) == (1, 2.0)


def test_an_answer_of_unknown_cost_makes_the_cost_unknown() -> None:
    assert math.isnan(Ledger([[response("a"), response("b", cost=2.0)]]).cost)
