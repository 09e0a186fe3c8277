"""Rewards and tags → labels, against the paper's formulas written out cell by cell."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from zooter.data.types import Labels, Rewards, Tags
from zooter.errors import ConfigError
from zooter.training.labels import TagSmoothing, align, pseudo_queries, spread, tag_reward_means

NAN = math.nan
FIRST = "soften_then_average"
PAPER: dict[str, Any] = {"temperature": 1.0, "unit": "reward", "shrinkage": 0.0, "order": FIRST}


def rewards(*rows: list[float]) -> Rewards:
    return Rewards(np.array(rows, dtype=float), tuple("abcdefgh"[: len(rows[0])]))


def label(smoothing: TagSmoothing, table: Rewards, tags: Tags) -> Labels:
    return smoothing.fit(table, tags).label(table, tags)


TABLE = rewards([1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.5, 0.0])
TAGS = Tags.of([["law"], ["law", "art"], ["art"], []])


def by_hand(values: list[list[float]], tags: list[list[str]], beta: float) -> list[list[float]]:
    """ZOOTER §3.2 for complete rewards, one cell at a time; without tags the mean of all takes their place."""
    own = []
    for row in values:
        total = sum(math.exp(x) for x in row)
        own.append([math.exp(x) / total for x in row])
    smoothed = []
    for i, s in enumerate(own):
        row = []
        for j in range(len(s)):
            of_tags = []
            for tag in tags[i]:
                members = [k for k in range(len(own)) if tag in tags[k]]
                of_tags.append(sum(own[k][j] for k in members) / len(members))
            prior = sum(of_tags) / len(of_tags) if of_tags else sum(s_k[j] for s_k in own) / len(own)
            row.append(beta * s[j] + (1 - beta) * prior)
        smoothed.append(row)
    return smoothed


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_labels_are_the_papers_formula(beta: float) -> None:
    expected = by_hand(TABLE.values.tolist(), [["law"], ["law", "art"], ["art"], []], beta)
    np.testing.assert_allclose(label(TagSmoothing(beta=beta, **PAPER), TABLE, TAGS).values, expected, rtol=1e-12)


def test_two_queries_by_hand() -> None:
    table = rewards([math.log(3.0), 0.0], [0.0, math.log(4.0)])  # s = (3/4, 1/4) and (1/5, 4/5), mean (19/40, 21/40)
    found = label(TagSmoothing(beta=0.5, **PAPER), table, Tags.of([["t"], ["t"]]))
    np.testing.assert_allclose(found.values, [[49 / 80, 31 / 80], [27 / 80, 53 / 80]])


def test_averaging_before_softening_is_a_softmax_of_mixed_rewards() -> None:
    table, tags = rewards([1.0, 0.0], [3.0, 4.0], [9.0, 9.0]), Tags.of([["t"], ["t"], ["u"]])
    smoothing = TagSmoothing(beta=0.25, temperature=2.0, unit="reward", shrinkage=0.0, order="average_then_soften")
    mixed = np.array([[0.25 * 1 + 0.75 * 2, 0.25 * 0 + 0.75 * 2], [0.25 * 3 + 0.75 * 2, 0.25 * 4 + 0.75 * 2], [9, 9]])
    np.testing.assert_allclose(label(smoothing, table, tags).values, softmax(mixed / 2.0, axis=1))


def test_the_temperature_is_in_units_of_the_spread_inside_queries() -> None:
    table = rewards([0.0, 2.0], [10.0, 14.0], [5.0, NAN])  # standard deviations 1 and 2; one reward shows no spread
    assert spread(table) == pytest.approx(math.sqrt((1 + 4) / 2))
    prior = TagSmoothing(temperature=0.5).fit(table, Tags.none(3))
    assert prior.scale == pytest.approx(0.5 * math.sqrt(2.5))
    found = label(TagSmoothing(beta=1.0, temperature=0.5), table, Tags.none(3)).values
    assert found[0, 1] / found[0, 0] == pytest.approx(math.exp(2.0 / prior.scale))


@pytest.mark.parametrize("table", [rewards([1.0, 1.0], [2.0, 2.0]), rewards([1.0, NAN], [NAN, 2.0])])
def test_rewards_that_show_no_difference_have_a_spread_of_one(table: Rewards) -> None:
    assert spread(table) == 1.0


def test_hard_labels_put_the_mass_on_the_best_and_share_it_where_several_are() -> None:
    table = rewards([0.0, 1.0, 0.5], [2.0, 0.0, 2.0], [NAN, -3.0, -4.0])
    found = label(TagSmoothing(beta=1.0, hard=True), table, Tags.none(3))
    assert found.values.tolist() == [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]


def test_missing_cells_have_no_mass_and_do_not_enter_the_means_of_tags() -> None:
    table = rewards([math.log(3.0), 0.0, NAN], [NAN, 0.0, 0.0], [0.0, NAN, NAN])
    prior = TagSmoothing(beta=0.0, **PAPER).fit(table, Tags.of([["t"], ["t"], []]))
    # s = (3/4, 1/4, –), (–, 1/2, 1/2): means (3/4, 3/8, 1/2), which sum to 13/8.
    np.testing.assert_allclose(prior.of_tag, [[6 / 13, 3 / 13, 4 / 13]])
    found = prior.label(table, Tags.of([["t"], ["t"], []]))
    np.testing.assert_allclose(found.values, [[2 / 3, 1 / 3, 0], [0, 3 / 7, 4 / 7], [1, 0, 0]])


def test_a_prior_that_is_silent_about_all_observed_candidates_leaves_the_own_label() -> None:
    prior = TagSmoothing(beta=0.0, hard=True, shrinkage=0.0, order=FIRST).fit(
        rewards([1.0, 0.0, 0.0]), Tags.of([["t"]])
    )
    found = prior.label(rewards([NAN, 5.0, 1.0]), Tags.of([["t"]]))
    assert found.values.tolist() == [[0.0, 1.0, 0.0]]


def test_shrinkage_counts_as_that_many_more_queries_with_the_mean_label() -> None:
    table, tags = rewards([1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]), Tags.of([["small"], [], [], []])
    prior = TagSmoothing(hard=True, shrinkage=3.0, order=FIRST).fit(table, tags)
    np.testing.assert_allclose(prior.overall, [1 / 4, 3 / 4])
    np.testing.assert_allclose(prior.of_tag, [[(1 + 3 / 4) / 4, (0 + 9 / 4) / 4]])


def test_a_candidate_never_observed_in_a_tag_stands_at_the_mean_of_all() -> None:
    table, tags = rewards([1.0, NAN], [3.0, 6.0]), Tags.of([["t"], []])
    assert tag_reward_means(table, tags, 0.0).tolist() == [[1.0, 6.0]]
    assert tag_reward_means(table, tags, 1.0).tolist() == [[(1.0 + 2.0) / 2, 6.0]]


def test_new_queries_are_labelled_by_the_tags_of_training_and_unknown_tags_are_ignored() -> None:
    prior = TagSmoothing(beta=0.0, hard=True, shrinkage=0.0, order=FIRST).fit(
        rewards([1.0, 0.0], [0.0, 1.0]), Tags.of([["x"], ["y"]])
    )
    new = Tags.of([["y"], ["unknown"], ["unknown", "x"], ["x", "y"]])
    assert prior.rows(new).tolist() == [[0, 1], [0.5, 0.5], [1, 0], [0.5, 0.5]]


def test_own_labels_are_unsmoothed() -> None:
    prior = TagSmoothing(beta=0.0, **PAPER).fit(TABLE, TAGS)
    np.testing.assert_allclose(prior.own(TABLE).values, softmax(TABLE.values, axis=1))


def test_aligning_moves_columns_by_name() -> None:
    tags = Tags.of([["a", "c"], ["b"]])
    assert align(tags, ("c", "new", "a")).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
    assert align(Tags.none(2), ("a",)).toarray().tolist() == [[0], [0]]
    assert align(tags, ()).shape == (2, 0)


# -- what holds for any table; rewards are multiples of 1/8, so that shifting and scaling them rounds nothing


@st.composite
def tables(draw: st.DrawFn) -> tuple[Rewards, Tags]:
    n, m = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    cell = st.integers(-40, 40).map(lambda x: x / 8)
    rows = draw(st.lists(st.lists(cell | st.just(NAN), min_size=m, max_size=m), min_size=n, max_size=n))
    for row in rows:
        row[draw(st.integers(0, m - 1))] = draw(cell)
    return rewards(*rows), Tags.of(draw(st.lists(st.lists(st.sampled_from("xyz")), min_size=n, max_size=n)))


SETTINGS = st.builds(
    TagSmoothing,
    beta=st.sampled_from([0.0, 0.3, 1.0]),
    temperature=st.sampled_from([0.01, 0.25, 3.0]),
    unit=st.sampled_from(["spread", "reward"]),
    order=st.sampled_from(["soften_then_average", "average_then_soften"]),
    hard=st.booleans(),
    shrinkage=st.sampled_from([0.0, 5.0, None]),
)


@given(tables(), SETTINGS)
def test_labels_are_distributions_over_the_observed_candidates(
    table: tuple[Rewards, Tags], smoothing: TagSmoothing
) -> None:
    found = label(smoothing, *table).values
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found[~table[0].observed] == 0).all()


@given(tables(), SETTINGS)
def test_beta_one_keeps_the_own_label(table: tuple[Rewards, Tags], smoothing: TagSmoothing) -> None:
    given = TagSmoothing(**{**vars(smoothing), "beta": 1.0})
    prior = given.fit(*table)
    np.testing.assert_allclose(prior.label(*table).values, prior.own(table[0]).values, atol=1e-12)


@given(tables(), SETTINGS, st.integers(-100, 100))
def test_labels_do_not_change_when_all_rewards_are_shifted(
    table: tuple[Rewards, Tags], smoothing: TagSmoothing, shift: int
) -> None:
    given, tags = table
    if smoothing.hard and smoothing.order == "average_then_soften":
        return  # there the best of mixed rewards is taken, and ties are a matter of rounding
    moved = Rewards(given.values + shift, given.candidates)
    np.testing.assert_allclose(label(smoothing, moved, tags).values, label(smoothing, given, tags).values, atol=1e-6)


@given(tables(), SETTINGS, st.sampled_from([0.25, 4.0, 1024.0]))
def test_labels_in_units_of_the_spread_do_not_change_when_rewards_are_scaled(
    table: tuple[Rewards, Tags], smoothing: TagSmoothing, factor: float
) -> None:
    given, tags = table
    if np.nanmax(np.nanmax(given.values, axis=1) - np.nanmin(given.values, axis=1)) == 0.0:
        return  # no spread to take for a unit
    scaled = Rewards(given.values * factor, given.candidates)
    smoothing = TagSmoothing(**{**vars(smoothing), "unit": "spread"})
    np.testing.assert_allclose(label(smoothing, scaled, tags).values, label(smoothing, given, tags).values, atol=1e-9)


# -- what is refused


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"beta": -0.1}, "expected label.beta between 0 and 1; found -0.1"),
        ({"beta": 1.1}, "expected label.beta between 0 and 1; found 1.1"),
        ({"beta": NAN}, "expected label.beta between 0 and 1; found nan"),
        ({"temperature": 0.0}, "expected label.temperature above 0; found 0.0"),
        ({"temperature": -1.0}, "expected label.temperature above 0; found -1.0"),
        ({"temperature": math.inf}, "expected label.temperature above 0; found inf"),
        ({"unit": "sigma"}, "expected label.unit among ('spread', 'reward'); found sigma"),
        ({"order": "both"}, "expected label.order among ('soften_then_average', 'average_then_soften'); found both"),
        ({"shrinkage": -1.0}, "expected label.shrinkage of 0 or more"),
        ({"shrinkage": math.inf}, "expected label.shrinkage of 0 or more"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TagSmoothing(**setting)
    assert str(caught.value).startswith(message)
    assert f"; found {next(iter(setting.values()))}; " in str(caught.value)


def pseudo_queries_by_loops(values: list[list[float]], tag_of: list[int]) -> float:
    """Within over between variance, one tag per query and nothing missing, candidate by candidate."""
    within, between = [], []
    for column in zip(*values, strict=True):
        groups = [[v for v, t in zip(column, tag_of, strict=True) if t == tag] for tag in sorted(set(tag_of))]
        shares = [len(group) / len(column) for group in groups]
        means = [sum(group) / len(group) for group in groups]
        overall = sum(column) / len(column)
        squares = sum(v * v for v in column) / len(column)
        sigma = squares - sum(p * m * m for p, m in zip(shares, means, strict=True))
        within.append(sigma)
        between.append(
            sum(
                p * ((m - overall) ** 2 - sigma / len(group)) for p, m, group in zip(shares, means, groups, strict=True)
            )
        )
    return (sum(within) / len(within)) / (sum(between) / len(between))


def test_pseudo_queries_are_the_variance_inside_tags_over_that_between_them() -> None:
    values = [[1.0, 0.0], [0.9, 0.2], [0.1, 0.8], [0.0, 1.0], [0.2, 0.7]]
    tag_of = [0, 0, 1, 1, 1]
    tags = Tags.of([[str(t)] for t in tag_of])
    expected = pseudo_queries_by_loops(values, tag_of)
    assert expected > 0
    assert pseudo_queries(np.array(values), tags.membership) == pytest.approx(expected)


def test_tags_that_differ_by_chance_only_are_pulled_to_the_mean_of_all() -> None:
    rng = np.random.default_rng(0)
    table = Rewards(rng.random((400, 2)), ("a", "b"))
    tags = Tags.of([[str(i % 40)] for i in range(400)])
    shrunk, plain = tag_reward_means(table, tags), tag_reward_means(table, tags, shrinkage=0.0)
    assert shrunk.std(axis=0).max() < 0.35 * plain.std(axis=0).min()


def test_tags_that_differ_for_sure_keep_their_means() -> None:
    table = Rewards(np.array([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50), ("a", "b"))
    tags = Tags.of([["x"]] * 50 + [["y"]] * 50)
    np.testing.assert_allclose(tag_reward_means(table, tags), [[1.0, 0.0], [0.0, 1.0]])


def test_every_tag_can_have_its_own_beta() -> None:
    table, tags = rewards([1.0, 0.0], [0.0, 2.0], [1.0, 0.5]), Tags.of([["t"], ["u"], []])
    prior = TagSmoothing(beta=0.5, **PAPER).fit(table, tags, {"t": 1.0})
    found, own, rows = prior.label(table, tags).values, prior.own(table).values, prior.rows(tags)
    np.testing.assert_allclose(found[0], own[0])
    np.testing.assert_allclose(found[1:], 0.5 * own[1:] + 0.5 * rows[1:])


def test_a_query_of_two_tags_has_their_mean_beta() -> None:
    table, tags = rewards([1.0, 0.0], [0.0, 2.0]), Tags.of([["t", "u"], ["u"]])
    prior = TagSmoothing(beta=0.5, **PAPER).fit(table, tags, {"t": 1.0, "u": 0.0})
    found, own, rows = prior.label(table, tags).values, prior.own(table).values, prior.rows(tags)
    np.testing.assert_allclose(found, [0.5 * own[0] + 0.5 * rows[0], rows[1]])


@pytest.mark.parametrize("setting", [{"beta": "auto"}, {"beta": "per_tag"}, {"beta": 0.3, "temperature": "auto"}])
def test_what_is_to_be_chosen_has_to_be_chosen_before_labels_are_made(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has to be chosen"):
        label(TagSmoothing(**setting), TABLE, TAGS)


@pytest.mark.parametrize("setting", [{"beta": "automatic"}, {"temperature": "hot"}])
def test_a_word_that_names_no_way_of_choosing_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"found (automatic|hot)"):
        TagSmoothing(**setting)
