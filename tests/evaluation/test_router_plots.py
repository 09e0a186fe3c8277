"""The report's pictures: the right numbers are drawn, and nothing in a name can break them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from zooter.evaluation import router_plots

Report = dict[str, Any]


def words(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return [text.get_text() for text in [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.title]]


ENTROPY = {"bits": [0.1, 1.5], "ranking": [0.9, 0.5], "routed": [0.8, 0.6], "random": [0.5, 0.5]}


def test_every_plot_is_a_png_of_its_own(report: Report, tmp_path: Path) -> None:
    paths = router_plots.save_plots({**report["test"], "entropy": ENTROPY}, tmp_path / "plots")
    assert {path.name for path in paths} == {
        f"{n}.png" for n in ("methods", "tags", "calibration", "entropy", "choices")
    }
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        assert path.stat().st_size > 5_000
    again = router_plots.save_plots(report["test"], tmp_path / "plots")  # without a truth, in the same folder
    assert sorted(again) == sorted((tmp_path / "plots").iterdir())
    assert tmp_path / "plots" / "entropy.png" not in again


def test_bars_are_the_mean_rewards_from_the_least_up_and_lines_their_intervals(report: Report) -> None:
    test = report["test"]
    figure = router_plots.plot_methods(test)
    (axes,) = figure.axes
    order = sorted(test["intervals"], key=lambda name: test[name])
    assert [bar.get_width() for bar in axes.patches] == [test[name] for name in order]
    assert [list(line.get_xdata()) for line in axes.lines] == [test["intervals"][name] for name in order]
    assert [label.get_text() for label in axes.get_yticklabels()] == [router_plots.NAMES[name] for name in order]
    assert axes.get_xlim()[0] == 0.0  # bars start at zero, or their lengths would mislead


def test_negative_rewards_fit_into_the_picture(report: Report) -> None:
    test = report["test"]
    for name in test["intervals"]:
        test[name] -= 5.0
        test["intervals"][name] = [end - 5.0 for end in test["intervals"][name]]
    left, right = router_plots.plot_methods(test).axes[0].get_xlim()
    assert left <= min(low for low, _ in test["intervals"].values())
    assert right >= 0.0


def test_the_heat_map_has_a_row_per_tag_a_column_per_candidate_and_one_for_the_router(report: Report) -> None:
    test = report["test"]
    test["tags"][0]["candidates"][1] = None
    (axes,) = router_plots.plot_tags(test).axes
    drawn = np.asarray(axes.images[0].get_array().filled(np.nan))
    assert drawn.shape == (len(test["tags"]), 5)
    assert drawn[:, -1].tolist() == [row["routed"] for row in test["tags"]]
    assert np.isnan(drawn[0]).sum() == 1
    assert len(axes.texts) == drawn.size - 1  # no number where there is none
    assert len(axes.patches) == len(test["tags"])  # the best of each row is framed


def test_names_with_dollar_signs_are_not_formulas(report: Report) -> None:
    drawn = " ".join(words(router_plots.plot_tags(report["test"])) + words(router_plots.plot_choices(report["test"])))
    assert r"tag|1 \$\bad\$" in drawn  # unescaped, matplotlib raises: \bad is no command of its own
    assert r"g \$x^\$ [h](i)" in drawn


def test_choices_are_shares_and_rewards_of_candidates_also_where_one_has_none(report: Report) -> None:
    test = report["test"]
    test["candidates"]["a|b"]["reward"] = None
    figure = router_plots.plot_choices(test)
    (axes,) = figure.axes
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(1.0)
    assert any(text.get_text().endswith("own reward –") for text in axes.texts)


def test_calibration_and_entropy_draw_the_series_of_the_report(report: Report) -> None:
    test = report["test"]
    (axes,) = router_plots.plot_calibration(test).axes
    assert list(axes.lines[1].get_ydata()) == test["calibration"]["label"]
    (axes,) = router_plots.plot_entropy({**test, "entropy": ENTROPY}).axes
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {
        "reward-model ranking": [0.9, 0.5], "routed": [0.8, 0.6], "random": [0.5, 0.5],
    }  # fmt: skip
