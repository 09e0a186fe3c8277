"""Margins of first tokens, worked out by hand."""

import math

import pytest

from zooter.data.token_margin import drop_variants, logit_margin, probability_margin


def tokens(**probs: float) -> tuple[tuple[str, float], ...]:
    return tuple((name.replace("_", " "), math.log(prob)) for name, prob in probs.items())


def test_the_probability_margin_is_the_gap_of_the_two_likeliest() -> None:
    assert probability_margin(tokens(A=0.6, B=0.25, C=0.15)) == pytest.approx(0.35)


def test_the_logit_margin_is_the_gap_of_log_probabilities_whatever_the_normaliser() -> None:
    logits = [3.0, 1.5, -2.0]
    normaliser = math.log(sum(map(math.exp, logits)))
    assert logit_margin([(str(i), logit - normaliser) for i, logit in enumerate(logits)]) == pytest.approx(1.5)


def test_the_two_margins_order_queries_differently_when_more_than_two_tokens_compete() -> None:
    two, many = tokens(A=0.55, B=0.45), tokens(A=0.2, B=0.1, C=0.1)
    assert (probability_margin(two), probability_margin(many)) == (pytest.approx(0.1), pytest.approx(0.1))
    assert logit_margin(two) == pytest.approx(math.log(0.55 / 0.45))
    assert logit_margin(many) == pytest.approx(math.log(2))


def test_with_a_single_token_the_second_has_probability_zero() -> None:
    assert probability_margin(tokens(A=0.7)) == pytest.approx(0.7)
    assert logit_margin(tokens(A=0.7)) == math.inf


@pytest.mark.parametrize("nothing", [None, ()])
def test_without_tokens_there_is_no_margin(nothing: tuple[()] | None) -> None:
    assert probability_margin(nothing) is None
    assert logit_margin(nothing) is None
    assert drop_variants(nothing or ()) == ()


def test_variants_of_the_likeliest_token_are_dropped() -> None:
    pairs = tokens(_Paris=0.5, paris=0.2, Par=0.1, Parisian=0.08, London=0.06, Lon=0.02)
    remaining = drop_variants(pairs)
    assert remaining == (pairs[0], pairs[4], pairs[5])  # variants of one another, but not of the likeliest token, stay
    assert probability_margin(remaining) == pytest.approx(0.44)
    assert logit_margin(remaining) == pytest.approx(math.log(0.5 / 0.06))


@pytest.mark.parametrize(
    ("likeliest", "other", "same"),
    [
        ("Paris", "paris", True), ("Paris", " Paris.", True), ("Par", "Paris", True), ("Paris", "the", True),
        ("Paris", "\n", True), ("Paris", "ris", True), ("the Nile", "Nile", True), ("Paris", "London", False),
        ("Paris", "Pa", True), ("Pa", "Po", False), ("1", "10", True), ("1", "2", False),
        ("The", "Paris", False), ("The", "\n", True), (" ", "P", False), ("theory", "ory", True), ("and", "the", True),
        ("banana", "nan", True), ("it's", "its", True), ("Ärger", "ärger", True),
    ],
)  # fmt: skip
def test_what_counts_as_a_variant(likeliest: str, other: str, same: bool) -> None:
    assert (len(drop_variants([(likeliest, -0.1), (other, -3.0)])) == 1) is same


def test_the_order_and_log_probabilities_of_the_remaining_tokens_stay() -> None:
    pairs = tokens(x=0.4, y=0.3, X=0.2, z=0.1)
    assert drop_variants(pairs) == (pairs[0], pairs[1], pairs[3])
