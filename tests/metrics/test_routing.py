"""Routing metrics against independent formulas and known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zooter.data.types import Labels, Rewards
from zooter.metrics import routing

NAN = math.nan


# -- choosing


def test_the_most_preferred_candidate_with_a_reward_is_chosen_and_the_stronger_wins_a_tie() -> None:
    preference = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [1.0, 1.0, 1.0], [-5.0, -9.0, -9.0]])
    observed = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 1, 1]], dtype=bool)
    order = np.array([1, 2, 0])
    assert routing.best_candidates(preference, observed, order).tolist() == [0, 2, 1, 1]


def test_a_preference_of_minus_infinity_never_picks_a_missing_cell_when_it_is_last_in_order() -> None:
    preference = np.array([[-np.inf, 2.0]])
    assert routing.best_candidates(preference, np.array([[False, True]]), np.array([0, 1])).tolist() == [1]


# -- the gap


def test_the_gap_closed_is_zero_at_the_best_single_one_at_the_oracle_and_below_zero_for_a_loss() -> None:
    routed = np.array([1.0, 3.0, 2.0, 0.5])
    shares = routing.gap_closed(routed, np.full(4, 1.0), np.full(4, 3.0))
    assert shares.tolist() == [0.0, 1.0, 0.5, -0.25]


def test_without_a_gap_its_share_is_nan() -> None:
    assert np.isnan(routing.gap_closed(np.array([1.0]), np.array([2.0]), np.array([2.0]))).all()
    assert float(routing.gap_closed(np.float64(1.5), np.float64(1.0), np.float64(2.0))) == 0.5
    assert math.isnan(float(routing.gap_closed(np.float64(1.0), np.float64(1.0), np.float64(1.0))))


# -- intervals


def mean_and_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second - first])


def test_the_interval_is_that_of_a_bootstrap_in_a_loop() -> None:
    columns = np.random.default_rng(1).normal(size=(2, 40))
    low, high = routing.paired_bootstrap(columns, mean_and_difference)
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(4000):
        rows = rng.choice(40, 40)
        first, second = columns[0, rows].mean(), columns[1, rows].mean()
        drawn.append((first, second - first))
    expected = np.percentile(drawn, [2.5, 97.5], axis=0)
    width = expected[1] - expected[0]
    assert (np.abs(low - expected[0]) < 0.06 * width).all()
    assert (np.abs(high - expected[1]) < 0.06 * width).all()


def test_the_interval_covers_a_known_mean_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = routing.paired_bootstrap(rng.exponential(size=(1, 100)), lambda mean: mean)
        covered += low <= 1.0 <= high
    assert stats.binomtest(covered, 200, 0.94).pvalue > 0.01  # a percentile interval of 100 skewed draws is a bit short


def test_methods_are_resampled_together_so_a_constant_difference_has_no_width() -> None:
    noise = np.random.default_rng(0).normal(size=50)
    low, high = routing.paired_bootstrap(np.stack([noise, noise + 0.25]), mean_and_difference)
    assert high[0] - low[0] > 0.2
    np.testing.assert_allclose([low[1], high[1]], 0.25)


def test_the_same_seed_gives_the_same_interval() -> None:
    columns = np.random.default_rng(0).normal(size=(1, 30))
    first, same, other = (routing.paired_bootstrap(columns, lambda mean: mean, seed) for seed in (0, 0, 1))
    assert first == same != other


def test_a_single_query_is_its_own_interval() -> None:
    low, high = routing.paired_bootstrap(np.array([[1.0], [3.0]]), mean_and_difference)
    assert low.tolist() == high.tolist() == [1.0, 2.0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 30])
def test_if_no_resample_has_a_gap_the_interval_is_nan_without_a_warning(n: int) -> None:
    low, high = routing.paired_bootstrap(np.ones((3, n)), lambda r, s, o: np.stack([r, routing.gap_closed(r, s, o)]))
    np.testing.assert_array_equal(low, [1.0, NAN])
    np.testing.assert_array_equal(high, [1.0, NAN])


@pytest.mark.filterwarnings("error")
def test_resamples_without_a_gap_are_left_out() -> None:
    columns = np.zeros((3, 20))
    columns[0, 0], columns[2, 0] = 0.5, 1.0  # one query alone has a gap; it is drawn in 64 % of the resamples
    low, high = routing.paired_bootstrap(columns, routing.gap_closed)
    assert (low, high) == (0.5, 0.5)


@pytest.mark.parametrize("n", [39_999, 41_000, 59_999])
def test_blocks_of_many_queries_keep_almost_all_of_them_and_the_variance_of_the_mean(n: int) -> None:
    columns = np.random.default_rng(0).normal(size=(2, n))
    blocks = routing._block_means(columns, seed=0)
    count = blocks.shape[1]
    size = round(n / count)
    assert count <= routing.MAX_BLOCKS
    assert n - count * size < size
    assert blocks.mean(axis=1) == pytest.approx(columns.mean(axis=1), abs=1e-4)
    assert blocks[0].var() / count == pytest.approx(columns[0].var() / n, rel=0.05)
    assert abs(np.corrcoef(blocks)[0, 1]) < 0.05  # and methods stay paired:
    np.testing.assert_allclose(np.diff(routing._block_means(np.stack([columns[0], columns[0] + 1]), 0), axis=0), 1.0)


def test_few_queries_are_drawn_one_by_one() -> None:
    columns = np.arange(routing.MAX_BLOCKS, dtype=float)[None]
    assert routing._block_means(columns, 0) is columns


# -- ranks

ROUTER = np.array([0.5, 0.7, 0.1, 0.3])
CANDIDATES = np.array([[0.4, 0.5], [0.8, 0.9], [0.1, NAN], [NAN, 0.4]])


def test_a_rank_is_one_more_than_the_candidates_that_are_better_and_missing_ones_never_are() -> None:
    assert routing.task_ranks(ROUTER, CANDIDATES).tolist() == [1, 3, 1, 2]
    assert routing.uplift(ROUTER, CANDIDATES) == 0.5


@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=6))
def test_ranks_are_those_of_scipy_with_ties_sharing_the_better_one(values: list[list[int]]) -> None:
    table = np.array(values, dtype=float)
    expected = [int(stats.rankdata(-row, method="min")[0]) for row in table]
    assert routing.task_ranks(table[:, 0], table[:, 1:]).tolist() == expected
    assert routing.uplift(table[:, 0], table[:, 1:]) == expected.count(1) / len(expected)


# -- calibration and entropy


def test_the_calibration_error_is_the_mean_gap_of_bins_of_equal_count() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4]])
    labels = Labels(np.array([[0.5, 0.5], [1.0, 0.0]]), ("a", "b"))
    curve = routing.calibration_curve(probs, labels, bins=2)  # {0.1, 0.4 | 0.6, 0.9} against {0.5, 0.0 | 1.0, 0.5}
    assert curve.probability.tolist() == [0.25, 0.75]
    assert curve.label.tolist() == [0.25, 0.75]
    assert curve.cells.tolist() == [2, 2]
    assert curve.error == 0.0
    assert routing.calibration_curve(probs, labels, bins=4).error == pytest.approx((0.4 + 0.4 + 0.4 + 0.4) / 4)


def test_the_calibration_error_is_that_of_a_loop_and_leaves_missing_cells_out() -> None:
    rng = np.random.default_rng(0)
    observed = rng.random((57, 3)) < 0.8
    observed[:, 0] = True
    probs, values = (np.where(observed, rng.random((57, 3)), 0.0) for _ in range(2))
    probs, values = (x / x.sum(axis=1, keepdims=True) for x in (probs, values))
    cells = sorted((probs[i, j], values[i, j]) for i in range(57) for j in range(3) if observed[i, j])
    size, more = divmod(len(cells), 10)
    expected, start = 0.0, 0
    for k in range(10):
        part = cells[start : start + size + (k < more)]
        start += len(part)
        expected += len(part) / len(cells) * abs(sum(p for p, _ in part) - sum(s for _, s in part)) / len(part)
    assert routing.calibration_curve(probs, Labels(values, ("a", "b", "c"))).error == pytest.approx(expected)


def test_probabilities_equal_to_the_labels_are_calibrated_even_with_fewer_cells_than_bins() -> None:
    labels = Labels(np.array([[0.2, 0.8]]), ("a", "b"))
    curve = routing.calibration_curve(labels.values, labels)
    assert curve.error == 0.0
    assert curve.cells.tolist() == [1, 1]


def test_entropy_is_in_bits_and_zero_for_certainty() -> None:
    probs = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]])
    assert routing.entropy(probs).tolist() == [2.0, 0.0, 1.5]


def test_the_rank_correlation_depends_on_order_alone_and_is_nan_for_a_constant() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert routing.spearman(x, np.exp(x)) == pytest.approx(1.0)
    # ranks 1 2 3 4 against 2 1 4 3: 1 − 6·4/(4·15)
    assert routing.spearman(x, np.array([20.0, 10.0, 40.0, 30.0])) == pytest.approx(1 - 24 / 60)
    assert math.isnan(routing.spearman(x, np.ones(4)))
    assert math.isnan(routing.spearman(x[:1], x[:1]))


def test_several_best_candidates_share_the_label_and_missing_ones_get_zero() -> None:
    labels = routing.best_shares(Rewards(np.array([[1.0, 1.0, 0.0], [math.nan, 0.2, 0.1]]), ("a", "b", "c")))
    np.testing.assert_allclose(labels.values, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])


def test_means_of_resamples_are_those_of_the_drawn_rows() -> None:
    columns = np.random.default_rng(3).normal(size=(2, 7))
    means = routing._resampled_means(columns, seed=5)
    drawn = np.random.default_rng(5).integers(7, size=(routing.RESAMPLES, 7))
    np.testing.assert_allclose(means, columns[:, drawn].mean(axis=2))


# -- samples, answers and RouterArena


def test_the_entropy_of_answers_includes_failed_extractions() -> None:
    entropies = routing.answer_entropy([["7"] * 4, ["7", "8"], ["a", "b", "c", "d"], ["7", "7", "8", ""], []])
    assert entropies[:4] == pytest.approx([0.0, 1.0, 2.0, 1.5])
    assert math.isnan(entropies[4])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_the_entropy_of_answers_is_between_zero_and_that_of_distinct_answers(answers: list[str]) -> None:
    bits = float(routing.answer_entropy([answers])[0])
    shares = [answers.count(a) / len(answers) for a in sorted(set(answers))]
    assert bits == pytest.approx(-sum(p * math.log2(p) for p in shares))
    assert -1e-12 <= bits <= math.log2(len(shares)) + 1e-12


def test_the_correlation_is_worked_out_by_hand_and_leaves_incomplete_pairs_out() -> None:
    # deviations −1 0 1 and −2 1 1: 3 / √(2 · 6)
    x, y = np.array([0.0, 1.0, 2.0, NAN, 5.0]), np.array([0.0, 3.0, 3.0, 1.0, NAN])
    assert routing.pearson(x, y) == pytest.approx(3 / math.sqrt(12))
    assert routing.pearson(x[:3], y[:3]) == pytest.approx(stats.pearsonr(x[:3], y[:3]).statistic)
    assert math.isnan(routing.pearson(x, np.ones(5)))
    assert math.isnan(routing.pearson(x[:1], y[:1]))


def test_the_arena_score_at_its_limits_and_of_a_published_entry() -> None:
    assert routing.arena_score(0.8, 0.0044) == pytest.approx(1.1 * 0.8 / (0.08 + 1))
    assert routing.arena_score(0.8, 0.0) == routing.arena_score(0.8, 0.0044)  # clipped
    assert routing.arena_score(0.8, 200.0) == routing.arena_score(0.8, 900.0) == 0.0
    assert routing.arena_score(0.0, 1.0) == routing.arena_score(0.0, 200.0) == 0.0
    # Lynkr's entry: accuracy 68.41 % at $0.29 per thousand queries is 67.65 on the board (costs are rounded there).
    assert routing.arena_score(0.6841, 0.29) == pytest.approx(0.6765, abs=5e-4)


@given(st.floats(0, 1), st.floats(0.0044, 200))
def test_the_arena_score_is_a_weighted_harmonic_mean_of_quality_and_cheapness(quality: float, price: float) -> None:
    cheap = (math.log2(200) - math.log2(price)) / (math.log2(200) - math.log2(0.0044))
    expected = 0.0 if min(quality, cheap) <= 0 else 1.1 / (1 / quality + 0.1 / cheap)
    assert float(routing.arena_score(quality, price)) == pytest.approx(expected, abs=1e-9)


def test_arena_scores_are_computed_for_arrays() -> None:
    assert routing.arena_score(np.array([0.5, 0.0]), np.array([1.0, 200.0])).shape == (2,)


def test_the_arena_score_of_an_unknown_price_is_nan() -> None:
    assert math.isnan(routing.arena_score(0.5, NAN))
