"""Votes, by hand and by an independent formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from zooter.selector.voting.vote import agreement, best_answer, entropy_weight, vote_scores

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=9)


def test_agreement_is_the_share_of_the_commonest_answer_among_all_samples() -> None:
    assert agreement(["a", "b", "a", "a"]) == ("a", 0.75)
    assert agreement(["a", None, "a"]) == ("a", pytest.approx(2 / 3))  # a failed extraction breaks unanimity
    assert agreement(["b", "a", "a", "b"]) == ("b", 0.5)
    assert agreement([None, None]) == (None, 0.0)
    assert agreement(["a"]) == ("a", 1.0)


@pytest.mark.parametrize(
    ("answers", "distinct", "by_number"),
    [
        ("aaabb", 0.223, 0.665),  # H = .971 bits, of 1 and of 2.322
        ("aaabc", 0.308, 0.528),  # H = 1.371 bits, of 1.585 and of 2.322: not monotone in H
        ("aabb", 0.25, 0.625),  # an even split has the least weight
        ("abcd", 0.25, 0.25),
        ("aaaa", 1.0, 1.0),
        ("a", 1.0, 1.0),
    ],
)
def test_the_entropy_weight_in_both_normalisations(answers: str, distinct: float, by_number: float) -> None:
    assert entropy_weight(list(answers)) == pytest.approx(distinct, abs=5e-4)
    assert entropy_weight(list(answers), "answers") == pytest.approx(by_number, abs=5e-4)


def test_answers_that_cannot_be_read_do_not_count_in_the_weight() -> None:
    assert entropy_weight(["a", None, "a", None]) == 1.0
    assert entropy_weight(["a", "b", None]) == entropy_weight(["a", "b"])
    assert entropy_weight([None]) == 0.0


@given(ANSWERS)
def test_the_entropy_weight_agrees_with_scipy(answers: list[str | None]) -> None:
    extracted = [answer for answer in answers if answer is not None]
    _, counts = np.unique(extracted, return_counts=True)
    n, u = len(extracted), len(counts)
    for normaliser, size in (("distinct", u), ("answers", n)):
        expected = 1.0 if u == 1 else 0.0 if u == 0 else 1 / n + (1 - 1 / n) * (1 - entropy(counts) / math.log(size))
        assert entropy_weight(answers, normaliser) == pytest.approx(expected)


def test_scores_are_prior_times_entropy_weight_times_count() -> None:
    parts = [["a", "a", "b", "b"], ["b", "b", "b", "b"], [None, "a", None, "c"]]
    # Weights .25, 1 and 1/2 + 1/2 · 0 (two answers, evenly split).
    assert vote_scores(parts, [1.0, 1.0, 1.0], "distinct") == {"a": 0.5 + 0.5, "b": 0.5 + 4.0, "c": 0.5}
    assert vote_scores(parts, [4.0, 0.1, 1.0], "distinct") == pytest.approx({"a": 2.5, "b": 2.4, "c": 0.5})
    assert vote_scores(parts, [1.0, 1.0, 1.0], None) == {"a": 3.0, "b": 6.0, "c": 1.0}


def test_the_answer_met_first_wins_a_tie_also_where_sums_differ_by_rounding() -> None:
    assert best_answer({"b": 0.3, "a": 0.3, "c": 0.1}) == "b"
    assert best_answer({"b": 0.1 + 0.2 - 1e-16, "a": 0.1 + 0.2}) == "b"
    assert best_answer({}) is None


@given(st.lists(ANSWERS, min_size=1, max_size=4))
def test_a_vote_without_weights_is_a_majority(parts: list[list[str | None]]) -> None:
    votes = [answer for part in parts for answer in part if answer is not None]
    expected = max(dict.fromkeys(votes), key=votes.count) if votes else None
    assert best_answer(vote_scores(parts, [1.0] * len(parts), None)) == expected
