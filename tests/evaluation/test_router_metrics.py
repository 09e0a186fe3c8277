"""The numbers of a report, against numbers worked out by hand."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from zooter.data.types import Floats, Rewards, Tags
from zooter.evaluation import router_metrics
from zooter.evaluation.router_metrics import METHODS, RouterOutcome
from zooter.training.labels import TagSmoothing

NAN = math.nan
CANDIDATES = ("a", "b", "c")

# Training: b is best on the whole, a in law, c in art.
TRAIN = Rewards(np.array([[5.0, 4.0, 0.0], [5.0, 4.0, 0.0], [0.0, 4.0, 5.0], [0.0, 4.0, 5.0]]), CANDIDATES)
TRAIN_TAGS = Tags.from_rows([["law"], ["law"], ["art"], ["art"]])
TEST = Rewards(np.array([[1.0, 2.0, 3.0], [6.0, NAN, 2.0], [0.0, 3.0, NAN]]), CANDIDATES)
TEST_TAGS = Tags.from_rows([["art"], ["law", "unknown"], []])
PROBS = np.array([[0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.3, 0.6]])


def outcome(
    probs: Floats = PROBS, test: Rewards = TEST, tags: Tags = TEST_TAGS, embeddings: Floats | None = None
) -> RouterOutcome:
    prior = TagSmoothing(temperature=0.25, shrinkage=0.0).fit(TRAIN, TRAIN_TAGS)
    train_embeddings = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    if embeddings is None:
        embeddings = np.array([[0, 1], [1, 0], [1, 0]], dtype=np.float32)
    return router_metrics.evaluate_router(
        probs, prior, (train_embeddings, embeddings), (TRAIN, test), (TRAIN_TAGS, tags)
    )


def finite(value: Any) -> bool:
    json.dumps(value, allow_nan=False)  # raises where there is a NaN
    return True


def test_every_method_takes_its_most_preferred_candidate_that_has_a_reward() -> None:
    result = outcome()
    assert result.rewards["routed"].tolist() == [2.0, 6.0, 3.0]  # b; b has none, so a; c has none, so b
    assert result.choices.tolist() == [1, 0, 1]
    assert result.best_single == ("b",)
    assert result.rewards["best_single"].tolist() == [2.0, 6.0, 3.0]  # without b the next best in training, a = c
    assert result.rewards["per_tag_best"].tolist() == [3.0, 6.0, 3.0]  # c in art, a in law, b where no tag tells
    assert result.rewards["knn"].tolist() == [3.0, 6.0, 0.0]  # c, a and a near the training queries of art and law
    assert result.rewards["oracle"].tolist() == [3.0, 6.0, 3.0]
    assert result.rewards["random"].tolist() == [2.0, 4.0, 1.5]  # the mean of what is observed


def test_probabilities_are_over_the_observed_candidates() -> None:
    np.testing.assert_allclose(outcome().probs, [[0.2, 0.7, 0.1], [0.75, 0, 0.25], [0.25, 0.75, 0]])


@pytest.mark.filterwarnings("error")
def test_a_router_with_all_mass_on_a_missing_candidate_is_even_over_the_others() -> None:
    result = outcome(np.array([[0.0, 1.0, 0.0]] * 3))
    assert result.probs.tolist() == [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]]
    assert finite(router_metrics.summarise(result))


def test_labels_of_the_outcome_are_unsmoothed() -> None:
    labels = outcome().labels.values
    assert labels[1, 1] == labels[2, 2] == 0.0
    assert labels[0].argmax() == 2
    scale = 0.25 * math.sqrt(np.var([5.0, 4.0, 0.0]))
    assert labels[2, 0] / labels[2, 1] == pytest.approx(math.exp(-3.0 / scale))


def test_the_summary_matches_a_count_by_hand() -> None:
    result = router_metrics.summarise(outcome())
    assert result["queries"] == 3
    assert result["routed"] == pytest.approx(11 / 3)
    assert result["random"] == pytest.approx(7.5 / 3)
    assert result["best_single_name"] == "b"
    assert result["oracle"] == pytest.approx(4.0)
    assert result["gap_closed"] == 0.0
    assert result["gap_closed_by"]["per_tag_best"] == pytest.approx(1.0)
    assert result["gap_closed_by"]["random"] == pytest.approx((2.5 - 11 / 3) / (4 - 11 / 3))
    assert result["over_knn"]["mean"] == pytest.approx(2 / 3)
    assert result["missing_cells"] == 2
    assert result["candidates"] == {
        "a": {"reward": pytest.approx(7 / 3), "share": pytest.approx(1 / 3)},
        "b": {"reward": 2.5, "share": pytest.approx(2 / 3)},
        "c": {"reward": 2.5, "share": 0.0},
    }
    assert set(result["intervals"]) == set(METHODS)
    assert finite(result)


def test_tags_are_summarised_and_ranked_separately() -> None:
    result = router_metrics.summarise(outcome())
    rows = {row["tag"]: row for row in result["tags"]}
    assert set(rows) == {"art", "law", "unknown"}  # a query without tags counts in none
    assert rows["art"]["candidates"] == [1.0, 2.0, 3.0]
    assert rows["law"]["candidates"] == [6.0, None, 2.0]
    assert rows["law"]["routed"] == rows["unknown"]["routed"] == 6.0
    assert result["mean_task_rank"]["routed"] == pytest.approx((2 + 1 + 1) / 3)
    assert result["uplift"]["routed"] == pytest.approx(2 / 3)
    assert result["mean_task_rank"]["per_tag_best"] == 1.0
    assert set(result["uplift"]) == {"routed", "best_single", "per_tag_best", "knn"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "tags", [Tags.empty(3), Tags(sp.csr_array((3, 2)), ("law", "art"))], ids=["no tags", "none in the test part"]
)
def test_without_tags_all_queries_are_one_tag(tags: Tags) -> None:
    result = router_metrics.summarise(outcome(tags=tags))
    assert [(row["tag"], row["queries"]) for row in result["tags"]] == [("all", 3)]
    assert result["tags"][0]["routed"] == pytest.approx(11 / 3)
    assert result["mean_task_rank"]["routed"] == 1.0
    assert finite(result)


def test_tags_are_listed_from_the_most_frequent() -> None:
    tags = Tags.from_rows([["rare", "often"], ["often"], ["often"]])
    assert [row["tag"] for row in router_metrics.summarise(outcome(tags=tags))["tags"]] == ["often", "rare"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("rows", "gap_closed"),
    [([[1.0, NAN, NAN]], None), ([[1.0, 1.0, 1.0]], None), ([[1.0, 2.0, 3.0]], 0.0), ([[0.0, 0.0, 0.0]] * 3, None)],
    ids=["one cell", "one query, all equal", "one query", "all equal"],
)
def test_a_degenerate_test_part_gives_null_and_never_nan(rows: list[list[float]], gap_closed: float | None) -> None:
    n = len(rows)
    embeddings = np.eye(2, dtype=np.float32)[[0] * n]
    test, tags = Rewards(np.array(rows), CANDIDATES), TEST_TAGS.take(np.arange(n))
    result = router_metrics.summarise(outcome(PROBS[:n], test, tags, embeddings))
    assert finite(result)
    assert result["gap_closed"] == gap_closed
    assert result["gap_closed_ci"] == [gap_closed, gap_closed]
    assert result["entropy"]["spearman"] == {"oracle": None, "routed": None, "random": None}


def test_folds_are_concatenated_with_tags_aligned_by_name() -> None:
    first = outcome(tags=Tags.from_rows([["00 law"], ["01 art"], []]))
    second = outcome(PROBS[::-1].copy(), tags=Tags.from_rows([["01 art"], ["00 sums"], ["00 sums"]]))
    both = router_metrics.concatenate_outcomes([first, second])
    assert both.rewards["routed"].tolist() == [*first.rewards["routed"], *second.rewards["routed"]]
    assert both.tags.names == ("00 law", "00 sums", "01 art")
    assert both.tags.membership.toarray().argmax(axis=1).tolist() == [0, 2, 0, 2, 1, 1]
    assert both.neighbours == (*first.neighbours, *second.neighbours)
    assert router_metrics.summarise(both)["queries"] == 6
    assert router_metrics.summarise(router_metrics.concatenate_outcomes([first])) == router_metrics.summarise(first)


def test_the_best_single_of_most_folds_gives_the_name() -> None:
    result = [replace(outcome(), best_single=(name,)) for name in "abb"]
    assert router_metrics.summarise(router_metrics.concatenate_outcomes(result))["best_single_name"] == "b"


def test_the_entropy_series_goes_from_sure_to_unsure_and_covers_all_queries() -> None:
    sure, unsure = [9.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    test = Rewards(np.array([unsure] * 8 + [sure] * 8), CANDIDATES)
    n = len(test.values)
    probs, embeddings = np.tile(PROBS[0], (n, 1)), np.array([[1, 0]] * n, dtype=np.float32)
    result = router_metrics.summarise(outcome(probs, test, Tags.empty(n), embeddings))["entropy"]
    assert len(result["bits"]) == 8
    assert result["bits"] == sorted(result["bits"])
    assert result["bits"][-1] == pytest.approx(math.log2(3))
    assert result["oracle"] == [9.0] * 4 + [1.0] * 4
    assert result["spearman"]["oracle"] == pytest.approx(-1.0)
    assert result["spearman"]["routed"] == pytest.approx(1.0)  # it takes b: 0 where the rewards are sure, else 1
