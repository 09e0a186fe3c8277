"""Groups of tags, against numbers worked out by hand."""

from typing import Any

import pytest

from zooter.errors import ConfigError
from zooter.evaluation import tag_groups

ROWS: list[dict[str, Any]] = [
    {"tag": "koala", "queries": 9, "mine": 0.5, "other": None, "candidates": [0.4, 0.6]},
    {"tag": "vicuna", "queries": 1, "mine": 0.9, "other": 0.1, "candidates": [0.2, None]},
    {"tag": "gsm8k", "queries": 5, "mine": 0.3, "other": 0.3, "candidates": [0.3, 0.9]},
    {"tag": "ungrouped", "queries": 5, "mine": 0.0, "other": 0.0, "candidates": [1.0, 1.0]},
]
GROUPS = {"gsm8k": "Benchmarks", "koala": "AlpacaEval", "vicuna": "AlpacaEval", "law": "MMLU"}


def summary() -> dict[str, Any]:
    return tag_groups.summarise_groups(ROWS, GROUPS, ["mine", "other"], ["a", "b"])


def test_each_tag_counts_alike_and_is_ranked_among_the_candidates() -> None:
    groups = summary()
    assert list(groups) == ["Benchmarks", "AlpacaEval"]  # in the map's order; none of MMLU's tags is in the rows
    alpaca = groups["AlpacaEval"]
    assert alpaca["tags"] == 2
    assert alpaca["methods"]["mine"] == {"mean": pytest.approx(0.7), "mean_task_rank": 1.5, "uplift": 0.5}
    assert alpaca["methods"]["other"] == {"mean": 0.1, "mean_task_rank": 2.0, "uplift": 0.0}  # of vicuna alone
    assert alpaca["candidates"]["a"] == {"mean": pytest.approx(0.3), "mean_task_rank": 1.5, "uplift": 0.5}
    assert alpaca["candidates"]["b"] == {"mean": 0.6, "mean_task_rank": 1.0, "uplift": 1.0}
    assert groups["Benchmarks"]["methods"]["mine"]["mean_task_rank"] == 2.0  # equal to a, behind b


def test_the_table_has_a_row_for_each_method_and_candidate() -> None:
    groups = summary()
    assert tag_groups.group_headings(groups) == ("", "Benchmarks (1)", "rank", "AlpacaEval (2)", "rank")
    assert tag_groups.group_rows(groups, {"mine": "routed (ours)"}) == [
        ("routed (ours)", "0.300", "2.00", "0.700", "1.50"),
        ("other", "0.300", "2.00", "0.100", "2.00"),
        ("a", "0.300", "2.00", "0.300", "1.50"),
        ("b", "0.900", "1.00", "0.600", "1.00"),
    ]
    assert tag_groups.group_rows({}) == []


def test_what_is_nowhere_measured_is_a_dash() -> None:
    groups = tag_groups.summarise_groups(ROWS[:1], GROUPS, ["other"], ["a"])
    assert tag_groups.group_rows(groups)[0] == ("other", "–", "–")


def test_a_tag_that_no_query_has_is_refused_with_a_suggestion() -> None:
    tag_groups.check_groups({"koala": "AlpacaEval"}, ("koala",))
    with pytest.raises(ConfigError, match=r"found \['kola'\], which no query has; did you mean 'koala'\?"):
        tag_groups.check_groups({"kola": "AlpacaEval"}, ("koala", "law"))
