"""Margins of first tokens, by hand."""

import math

import pytest
from support.table import recorded

from zooter.selector.cascade.first_token_margin import response_margin

TOKENS = ((" Paris", math.log(0.5)), ("paris", math.log(0.3)), ("Rome", math.log(0.1)))


@pytest.mark.parametrize(
    ("signal", "merge_token_variants", "expected"),
    [
        ("probability", False, 0.2),
        ("logit", False, math.log(5 / 3)),
        ("probability", True, 0.4),
        ("logit", True, math.log(5)),
    ],
)
def test_the_margins_of_first_tokens(signal: str, merge_token_variants: bool, expected: float) -> None:
    cell = recorded([{"a": [{"first_tokens": TOKENS}], "b": [{}]}]).cells[0]["a"][0]
    assert response_margin(cell.response, signal, merge_token_variants) == pytest.approx(expected)
