"""Who can answer, in which column, at what price."""

import pytest

from zooter.errors import ConfigError
from zooter.pool import Candidate, Pool


def test_a_pool_keeps_the_order_it_was_given() -> None:
    assert Pool.of(["b", "a"]).names == ("b", "a")


def test_prices_belong_to_their_candidates_and_are_none_where_unknown() -> None:
    pool = Pool.of(["b", "a"], {"a": 0.5})
    assert pool.candidates == (Candidate("b", None), Candidate("a", 0.5))
    assert pool.to_rows() == [{"name": "b", "price": None}, {"name": "a", "price": 0.5}]


def test_a_model_that_costs_nothing_is_fine() -> None:
    assert Pool.of(["a"], {"a": 0}).candidates[0].price == 0


def test_a_repeated_candidate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected every candidate once; found the names \['a', 'a'\]"):
        Pool.of(["a", "a"])


def test_a_price_for_a_candidate_outside_the_pool_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"prices for candidates among \['a', 'b'\]; found a price for 'c'"):
        Pool.of(["a", "b"], {"c": 1.0})


@pytest.mark.parametrize("price", [-1.0, float("nan"), "cheap", None])
def test_a_price_that_is_not_a_number_of_zero_or_more_is_refused(price: object) -> None:
    with pytest.raises(ConfigError, match=r"expected prices of 0 or more; found .* for 'a'"):
        Pool.of(["a"], {"a": price})  # type: ignore[dict-item]


def test_the_digest_changes_with_names_and_order_but_not_with_prices() -> None:
    digest = Pool.of(["a", "b"]).digest()
    assert Pool.of(["a", "b"], {"a": 3.0}).digest() == digest
    assert Pool.of(["b", "a"]).digest() != digest
    assert Pool.of(["a", "c"]).digest() != digest
    assert Pool.of(["ab"]).digest() != Pool.of(["a", "b"]).digest()
