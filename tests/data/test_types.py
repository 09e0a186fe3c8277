"""Data types: shapes are checked on construction, and missing rewards stay missing."""

import numpy as np
import pytest
import scipy.sparse as sp

from zooter.data.types import Labels, Rewards, RouterOutput, Tags

NAN = np.nan
AB = ("a", "b")


def test_cells_with_a_reward_are_observed() -> None:
    rewards = Rewards(np.array([[1.0, NAN], [0.0, -2.0]]), AB)
    assert rewards.observed.tolist() == [[True, False], [True, True]]


def test_column_means_leave_missing_cells_out_and_are_nan_without_any_reward() -> None:
    rewards = Rewards(np.array([[1.0, NAN, NAN], [3.0, -2.0, NAN]]), ("a", "b", "c"))
    np.testing.assert_array_equal(rewards.column_means(), [2.0, -2.0, NAN])


def test_taking_rows_keeps_their_order_and_the_columns() -> None:
    rewards = Rewards(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), AB).take(np.array([2, 0]))
    assert rewards.values.tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert rewards.candidates == AB


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros(2)])
@pytest.mark.parametrize("cls", [Rewards, Labels, RouterOutput])
def test_an_array_that_does_not_fit_the_candidates_is_refused(cls: type, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"an array of shape .* for 2 candidates"):
        cls(values, AB)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_infinite_rewards_are_refused(infinite: float) -> None:
    with pytest.raises(ValueError, match="finite numbers or NaN"):
        Rewards(np.array([[1.0, infinite]]), AB)


def test_tags_are_columns_in_alphabetical_order_and_a_repeated_tag_counts_once() -> None:
    tags = Tags.from_rows([["law", "art"], [], ["law", "law"]])
    assert tags.names == ("art", "law")
    assert tags.membership.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]


def test_rows_without_tags_give_empty_tags() -> None:
    for tags in (Tags.empty(3), Tags.from_rows([[], [], []])):
        assert tags.membership.shape == (3, 0)
        assert tags.names == ()


def test_taking_rows_of_tags_keeps_all_columns() -> None:
    tags = Tags.from_rows([["a"], ["b"]]).take(np.array([1, 1]))
    assert tags.names == AB
    assert tags.membership.toarray().tolist() == [[0, 1], [0, 1]]


def test_tags_without_a_name_for_every_column_are_refused() -> None:
    with pytest.raises(ValueError, match="2 tag columns and 1 tag names"):
        Tags(sp.csr_array((1, 2)), ("a",))


@pytest.mark.parametrize("row", [[0.5, 0.4], [0.0, 0.0], [NAN, 1.0]])
def test_labels_that_do_not_sum_to_one_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="every row of labels sums to 1"):
        Labels(np.array([[0.5, 0.5], row]), AB)


def test_the_largest_probability_is_chosen_and_the_earlier_column_wins_a_tie() -> None:
    assert RouterOutput(np.array([[0.2, 0.8], [0.5, 0.5]]), AB).chosen_candidates() == ["b", "a"]


def test_estimated_rewards_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="an array of shape"):
        RouterOutput(np.array([[0.2, 0.8]]), AB, np.zeros((1, 3)))
