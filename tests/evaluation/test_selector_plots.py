"""The pictures of a comparison: the right numbers are drawn."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from zooter.evaluation import selector_plots


def lines(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    (axes,) = figure.axes
    return {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


def test_all_pictures_where_everything_is_recorded(compared: dict[str, Any]) -> None:
    assert list(selector_plots.draw_plots(compared)) == [
        "selectors",
        "quality_price",
        "budgets",
        "tags",
        "agreement",
    ]


def test_what_is_not_recorded_is_not_drawn(compared: dict[str, Any]) -> None:
    compared["selectors"]["bad"]["cost"]["mean"] = None
    compared["agreement"], compared["curves"] = None, {}
    assert list(selector_plots.draw_plots(compared)) == ["selectors", "tags"]


def test_prices_are_per_thousand_queries_and_the_hull_is_drawn(compared: dict[str, Any]) -> None:
    drawn = lines(selector_plots.plot_quality_price(compared))
    assert drawn["margin"] == ([1.25], [0.7])
    assert drawn["hull of the candidates"] == (pytest.approx([1.0, 2.0]), [0.4, 0.5])


def test_budgets_are_drawn_with_their_area_and_with_random_mixtures(compared: dict[str, Any]) -> None:
    drawn = lines(selector_plots.plot_budgets(compared))
    assert drawn["margin (0.500)"] == (pytest.approx([1.0, 2.0]), [0.4, 0.6])
    assert drawn["cheap and strong, mixed at random"] == (pytest.approx([1.0, 2.0]), [0.4, 0.5])


def test_agreement_is_drawn_with_its_correlation(compared: dict[str, Any]) -> None:
    assert lines(selector_plots.plot_agreement(compared)) == {"a|b (r = -0.70)": ([0.0, 1.0], [0.9, 0.1])}


def test_the_heat_map_has_columns_for_candidates_and_selectors(compared: dict[str, Any]) -> None:
    figure = selector_plots.plot_tags(compared)
    (axes,) = figure.axes
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert shown == ["a|b", r"\$c\$", "best_single", "oracle", "margin", "bad", "even"]
    assert [text.get_text() for text in axes.texts] == ["0.50", "0.50", "0.90", "0.70", "0.30", "0.52"]
