"""The numbers of a comparison, against tables worked out by hand."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from support.table import recorded

from zooter.data.types import Rewards, Tags
from zooter.evaluation import selector_metrics
from zooter.evaluation.harness import OperatingCurve
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics import cost_quality

SINGLE, ORACLE = np.array([1, 0, 0, 0.0]), np.array([1, 1, 1, 0.0])
MINE = np.array([1, 1, 0, 0.0])
TEST = Rewards(np.stack([SINGLE, [0, 1, 1, 0]], axis=1), ("a", "b"))


def make_results(quality: np.ndarray, cost: float = 0.001, samples: int = 1) -> SelectorResults:
    n = len(quality)
    ones = np.ones(n, dtype=np.int64)
    calls = np.stack([ones * samples, ones * 0], axis=1)
    return SelectorResults(
        quality, np.full(n, cost), np.zeros(n), calls, np.zeros((n, 2), int), ones, np.zeros(n), 0 * ones, 0 * ones
    )


def test_a_selector_stands_between_the_best_single_candidate_and_the_oracle() -> None:
    results = {"single": make_results(SINGLE), "oracle": make_results(ORACLE), "mine": make_results(MINE, cost=0.002)}
    summary = selector_metrics.summarise_selectors(
        results, TEST, Tags.from_rows([["x"], ["x"], ["y"], ["y"]]), "single", "oracle"
    )
    assert [summary[name]["quality"]["mean"] for name in results] == [0.25, 0.75, 0.5]
    assert [summary[name]["gap_closed"]["mean"] for name in results] == [0.0, 1.0, 0.5]
    assert summary["mine"]["cost"] == {"mean": 0.002, "ci": [pytest.approx(0.002), pytest.approx(0.002)]}
    assert summary["mine"]["over_best_single"]["mean"] == 0.25
    assert summary["mine"]["over_best_single"]["ci"][0] == 0.0  # one query in four is better, and it may not be drawn
    # x: mine 1, a 0.5, b 0.5; y: mine 0, a 0, b 0.5
    assert (summary["mine"]["mean_task_rank"], summary["mine"]["uplift"]) == (1.5, 0.5)
    # $2 per thousand queries at an accuracy of a half
    c = math.log2(200 / 2) / math.log2(200 / 0.0044)
    assert summary["mine"]["arena"]["mean"] == pytest.approx(1.1 * 0.5 * c / (0.05 + c))
    assert summary["mine"]["calls"] == {"a": 1.0, "b": 0.0}
    assert summary["mine"]["chosen"] == {"a": 1.0, "b": 0.0}
    json.dumps(summary, allow_nan=False)


def test_what_has_no_price_or_no_accuracy_has_no_arena_score() -> None:
    results = {
        "single": make_results(SINGLE),
        "oracle": make_results(ORACLE),
        "mine": make_results(MINE, cost=math.nan),
    }
    summary = selector_metrics.summarise_selectors(results, TEST, Tags.empty(4), "single", "oracle")
    assert summary["mine"]["cost"] == summary["mine"]["arena"] == {"mean": None, "ci": [None, None]}
    assert summary["single"]["cost"]["mean"] == 0.001
    rewards = Rewards(TEST.values * 2 - 1, TEST.candidates)
    assert (
        selector_metrics.summarise_selectors(results, rewards, Tags.empty(4), "single", "oracle")["single"]["arena"][
            "mean"
        ]
        is None
    )


def test_differences_are_paired_and_their_own_mirror_image() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=60)
    summary = selector_metrics.paired_differences(
        {"low": make_results(noise), "high": make_results(noise + 0.5), "other": make_results(noise[::-1])}
    )
    assert summary["high"]["low"]["mean"] == pytest.approx(0.5)
    assert summary["high"]["low"]["ci"] == pytest.approx([0.5, 0.5])
    assert summary["low"]["high"]["ci"] == pytest.approx([-0.5, -0.5])
    low, high = summary["low"]["other"]["ci"]
    assert low < 0 < high
    assert summary["other"]["low"]["ci"] == pytest.approx([-high, -low])


def test_saved_samples_are_relative_to_self_consistency() -> None:
    results = {"self_consistency": make_results(MINE, samples=16), "mine": make_results(MINE, samples=4)}
    summary = selector_metrics.sample_savings(results, "self_consistency")
    assert summary["mine"] == {"mean": 0.75, "ci": [pytest.approx(0.75), pytest.approx(0.75)], "samples": 4.0}
    assert summary["self_consistency"]["mean"] == 0.0


def test_a_curves_numbers_are_those_of_its_means() -> None:
    rng = np.random.default_rng(1)
    strong = (rng.random((5, 40)) < np.linspace(0, 1, 5)[:, None]).astype(float)
    quality = (rng.random((5, 40)) < 0.3 + 0.4 * strong).astype(float)
    weak, best = rng.random(40) * 0.5, 0.5 + rng.random(40) * 0.5
    curve = OperatingCurve(np.linspace(1.0, 3.0, 5), quality, 1.0 + 2.0 * strong, strong)
    summary = selector_metrics.summarise_curve(curve, (weak, best), 1.0, 3.0)
    means = strong.mean(axis=1), quality.mean(axis=1), weak.mean(), best.mean()
    assert summary["quality"] == pytest.approx(means[1].tolist())
    assert summary["area"]["mean"] == pytest.approx(cost_quality.budget_area(curve.budgets, means[1]))  # type: ignore[arg-type]
    assert summary["aiq"]["mean"] == pytest.approx(cost_quality.aiq(1.0 + 2.0 * means[0], means[1], 1.0, 3.0))
    assert summary["apgr"]["mean"] == pytest.approx(cost_quality.apgr(*means))
    assert summary["cpt"]["50%"]["mean"] == pytest.approx(cost_quality.cpt(*means, 0.5))
    for key in ("area", "aiq", "apgr"):
        low, high = summary[key]["ci"]
        assert low < summary[key]["mean"] < high
    json.dumps(summary, allow_nan=False)


def test_settings_without_prices_have_shares_but_no_areas() -> None:
    quality, strong = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    curve = OperatingCurve(None, quality, np.full((2, 2), math.nan), strong)
    summary = selector_metrics.summarise_curve(curve, (np.zeros(2), np.array([1.0, 0.0])), math.nan, math.nan)
    assert (summary["area"], summary["aiq"]["mean"], summary["cost"]) == (None, None, [None, None])
    assert summary["apgr"]["mean"] == pytest.approx(0.75)  # half of it at half the calls: 1 · 0.5 / 2 + 0.5 · 1


def test_the_single_candidates_and_their_zero_router() -> None:
    summary = selector_metrics.summarise_candidates(TEST, {"a": 1.0, "b": 3.0})
    assert summary["singles"] == {"a": {"quality": 0.25, "cost": 1.0}, "b": {"quality": 0.5, "cost": 3.0}}
    assert summary["hull"] == [[1.0, 3.0], [0.25, 0.5]]
    assert summary["aiq"] == pytest.approx(0.375)
    assert selector_metrics.summarise_candidates(TEST, {"a": 1.0, "b": math.nan})["aiq"] is None


def test_the_entropy_of_answers_is_correlated_with_their_quality() -> None:
    answers = [["7", "7"], ["7", "8"], ["3", " 3"], ["1", "2"]]
    rewards = [[1, 1], [1, 0], [1, 1], [0, 0]]
    table = recorded(
        [
            {"a": [{"text": t, "reward": r} for t, r in zip(*row, strict=True)], "b": [{"text": "x", "reward": 1}]}
            for row in zip(answers, rewards, strict=True)
        ]
    )
    summary = selector_metrics.summarise_consistency(table)
    assert summary is not None
    assert list(summary) == ["a"]  # one sample agrees with nobody
    bits, quality = [0, 1, 0, 1], [1, 0.5, 1, 0]
    assert summary["a"]["pearson"]["mean"] == pytest.approx(stats.pearsonr(bits, quality).statistic)
    assert summary["a"]["pearson"]["ci"][1] < 0
    assert summary["a"]["bits"] == [0, 0, 1, 1]
    assert selector_metrics.summarise_consistency(recorded([{"a": [{"text": "x", "reward": 1}]}])) is None
