"""The numbers of a report, against numbers worked out by hand."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Rewards, Tags
from zooter.evaluation import harness, router_metrics
from zooter.evaluation.replay import Replay
from zooter.evaluation.router_metrics import METHODS, RouterOutcome
from zooter.evaluation.validation import summarise_validation
from zooter.selector.baseline.knn import KnnSelector
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.per_tag_best import PerTagBestSelector
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.protocol import Selector
from zooter.selector.voting.best_of import BestOfSelector
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
    ranks = {
        name: {key: row.pop(key) for key in ("mean_task_rank", "uplift")} for name, row in result["candidates"].items()
    }
    # art: 1, 2, 3; law and unknown: a 6, b has none, c 2
    assert ranks["a"] == {"mean_task_rank": pytest.approx(5 / 3), "uplift": pytest.approx(2 / 3)}
    assert ranks["b"] == {"mean_task_rank": 2.0, "uplift": 0.0}
    assert result["candidates"] == {
        # shares are those of decisions: b, b and c, though b has no reward for the second query and c none for the last
        "a": {"reward": pytest.approx(7 / 3), "share": 0.0},
        "b": {"reward": 2.5, "share": pytest.approx(2 / 3)},
        "c": {"reward": 2.5, "share": pytest.approx(1 / 3)},
    }
    assert (result["measured_by"], result["chosen_by"]["best_single"]) == ("reward", "reward")
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
    assert result["entropy"] is None


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


def test_the_entropy_of_rewards_is_set_against_the_truth_of_reward_model_rankings_pick() -> None:
    sure, unsure = [9.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    rewards = Rewards(np.array([unsure] * 8 + [sure] * 8), CANDIDATES)
    right, wrong = [1.0, 0.0, 0.5], [0.0, 0.25, 1.0]  # ranking picks a where it is sure; of equals c, the best overall
    truth = Rewards(np.array([wrong] * 8 + [right] * 8), CANDIDATES)
    n = len(truth.values)
    train = Rewards(np.array([[0.0, 0.0, 1.0]]), CANDIDATES)
    result = router_metrics.evaluate_router(
        np.tile(PROBS[0], (n, 1)),
        TagSmoothing(temperature=0.25, shrinkage=0.0).fit(TRAIN, TRAIN_TAGS),
        (np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32)[[0] * n]),
        (train, rewards),
        (Tags.empty(1), Tags.empty(n)),
        (train, truth),
    )
    series = router_metrics.summarise(result)["entropy"]
    assert len(series["bits"]) == 8
    assert series["bits"] == sorted(series["bits"])
    assert series["bits"][-1] == pytest.approx(math.log2(3))
    assert series["ranking"] == [1.0] * 8  # of sure queries a, of unsure ones c: right in both
    assert series["routed"] == [0.0] * 4 + [0.25] * 4  # b
    assert series["random"] == pytest.approx([0.5] * 4 + [1.25 / 3] * 4)
    assert series["spearman"] == {"ranking": None, "routed": pytest.approx(1.0), "random": pytest.approx(-1.0)}


def test_without_a_truth_rewards_are_not_set_against_themselves() -> None:
    assert router_metrics.summarise(outcome())["entropy"] is None


def test_groups_of_tags_have_the_means_and_ranks_of_methods_and_candidates() -> None:
    groups = router_metrics.summarise(outcome(), {"art": "arts", "law": "rest", "unknown": "rest", "absent": "none"})
    assert list(groups["groups"]) == ["arts", "rest"]
    rest = groups["groups"]["rest"]
    assert rest["tags"] == 2
    assert rest["methods"]["routed"] == {"mean": 6.0, "mean_task_rank": 1.0, "uplift": 1.0}
    assert rest["candidates"]["b"] == {"mean": None, "mean_task_rank": None, "uplift": None}
    assert groups["groups"]["arts"]["candidates"]["a"] == {"mean": 1.0, "mean_task_rank": 3.0, "uplift": 0.0}


def test_where_first_choices_are_missing_the_router_is_compared_on_the_other_queries() -> None:
    summary = router_metrics.summarise(outcome())["known"]
    # The router's first choices are b, b and c; the second and the last have no reward. Best single is b.
    assert summary["queries"]["routed"] == 1
    assert summary["queries"]["best_single"] == 2
    assert summary["queries"]["oracle"] == 3
    assert summary["over_best_single"] == {"mean": 0.0, "ci": [0.0, 0.0], "queries": 1}
    assert (summary["over_knn"]["mean"], summary["over_knn"]["queries"]) == (-1.0, 1)  # b has 2, c has 3
    everywhere_missing = Rewards(np.array([[1.0, NAN, 3.0]] * 3), CANDIDATES)
    probs = np.array([[0.0, 1.0, 0.0]] * 3)
    lost = router_metrics.summarise(outcome(probs, everywhere_missing))["known"]["over_best_single"]
    assert lost == {"mean": None, "ci": [None, None], "queries": 0}


# -- one definition in training and evaluation


@dataclass(frozen=True)
class Axes:
    """Embeds a text by the direction that its first word names."""

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return np.stack([np.eye(4, dtype=np.float32)[int(text.split()[0])] for text in texts])


def with_truth(n: int, seed: int) -> ResponseTable:
    """Queries with rewards of few values, so that ties are frequent, and a truth that prefers another candidate."""
    rng = np.random.default_rng(seed)
    rows, texts, tags = [], [], []
    for i in range(n):
        topic = int(rng.integers(4))
        texts.append(f"{topic} {i}")
        tags.append((f"t{topic}", f"u{rng.integers(3)}"))
        rows.append(
            {
                name: [{"reward": float(rng.integers(3)) / 2 + 0.3 * (j == 2), "truth": float(rng.random() < chance)}]
                for j, (name, chance) in enumerate([("a", 0.3), ("b", 0.6), ("c", 0.2)])
            }
        )
    table = recorded(rows)
    queries = [replace(q, text=text, tags=tag) for q, text, tag in zip(table.queries, texts, tags, strict=True)]
    return replace(table, queries=tuple(queries))


def truths(table: ResponseTable) -> Rewards:
    return Rewards(
        np.array([[row[name][0].truth for name in table.pool.names] for row in table.cells]), table.pool.names
    )


def test_a_method_has_the_same_figure_in_training_and_in_evaluation_with_a_truth() -> None:
    training, test, axes = with_truth(60, 0), with_truth(80, 1), Axes()
    tags = [Tags.from_rows([query.tags for query in table.queries]) for table in (training, test)]
    trained = router_metrics.evaluate_router(
        np.full((80, 3), 1 / 3),
        TagSmoothing().fit(training.rewards(), tags[0]),
        (axes.embed(training.texts), axes.embed(test.texts)),
        (training.rewards(), test.rewards()),
        (tags[0], tags[1]),
        (truths(training), truths(test)),
    )
    selectors: dict[str, Selector] = {
        "best_single": SingleSelector("b"),  # as `evaluate` chooses it, by the truth; rewards prefer c
        "knn": KnnSelector(encoder=axes),  # type: ignore[arg-type]
        "per_tag_best": PerTagBestSelector(),
        "random": RandomSelector(),
        "oracle": OracleSelector(),
        "ranking": BestOfSelector(),
    }
    assert trained.best_single == ("b",)
    for name, selector in selectors.items():
        fitted = harness.fit_selector(selector, training, training)
        quality = harness.run_selector(Replay(test), fitted)[1]
        np.testing.assert_allclose(quality, trained.rewards[name], err_msg=name)
    summary = router_metrics.summarise(trained)
    assert summary["measured_by"] == summary["chosen_by"]["best_single"] == "truth"
    assert summary["chosen_by"]["knn"] == summary["chosen_by"]["per_tag_best"] == "reward"
    single = SingleSelector().fit(training, training)
    assert single.candidate == "c"


# -- validation


def test_the_validation_score_is_measured_on_validation_rows_by_rewards_and_joined_over_folds() -> None:
    probs, rewards = (
        np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]),
        Rewards(np.array([[1.0, 2, 4], [NAN] * 3]), CANDIDATES),
    )
    train_embeddings = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    result = router_metrics.evaluate_router(
        PROBS,
        TagSmoothing().fit(TRAIN, TRAIN_TAGS),
        (train_embeddings, np.eye(2, dtype=np.float32)[[1, 0, 0]]),
        (TRAIN, TEST),
        (TRAIN_TAGS, TEST_TAGS),
        validation=(probs, rewards),
    )
    assert result.validation.tolist() == [[4.0], [2.0], [4.0]]  # c; b is the best single; the second row has no reward
    assert summarise_validation(result.validation) == {
        "queries": 1, "reward": 4.0, "best_single": 2.0, "oracle": 4.0, "gap_closed": 1.0,
    }  # fmt: skip
    joined = router_metrics.concatenate_outcomes([result, replace(result, validation=np.array([[0.0], [0], [2]]))])
    assert summarise_validation(joined.validation)["gap_closed"] == 0.5
    assert summarise_validation(outcome().validation)["gap_closed"] is None
