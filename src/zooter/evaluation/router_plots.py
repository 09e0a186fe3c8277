"""Draw the plots of a router's report."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zooter.evaluation.plotting import (
    ACCENT,
    DARK,
    MUTED,
    HeatMap,
    new_axes,
    plot_heat_map,
    plot_style,
    save_figure,
    shorten,
)  # fmt: skip

MAX_BARS = 30
NAMES = {
    "routed": "routed",
    "random": "random",
    "best_single": "best single",
    "per_tag_best": "best per tag\n(tags known)",
    "knn": "kNN",
    "ranking": "reward-model ranking\n(asks all)",
    "oracle": "oracle",
}


def save_plots(test: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every plot of a report.

    Args:
        test: the report's `test` section, as `router_metrics.summarise` returns it.
        folder: where to write the PNG files.

    Returns:
        The paths of the files.
    """
    with plot_style():
        figures = {
            "methods.png": plot_methods(test),
            "tags.png": plot_tags(test),
            "calibration.png": plot_calibration(test),
            **({} if test["entropy"] is None else {"entropy.png": plot_entropy(test)}),
            "choices.png": plot_choices(test),
        }
    if test["entropy"] is None:
        (folder / "entropy.png").unlink(missing_ok=True)  # of an earlier run in the same folder
    return [save_figure(figure, folder / name) for name, figure in figures.items()]


def plot_methods(test: dict[str, Any]) -> Figure:
    """Draw the mean reward of every method with its interval, the best on top."""
    figure, axes = new_axes(
        7.0, 1.0 + 0.4 * len(test["intervals"]), f"Mean {test['measured_by']} on {test['queries']:,} unseen queries"
    )
    order = sorted(test["intervals"], key=lambda name: float(test[name]))
    for row, name in enumerate(order):
        low, high = test["intervals"][name]
        colour = ACCENT if name == "routed" else MUTED
        axes.barh(row, test[name], color=colour, height=0.66)
        axes.plot([low, high], [row, row], color=DARK, lw=1.4)
        axes.annotate(
            f"{test[name]:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", color=DARK
        )
    axes.set_yticks(range(len(order)), [NAMES.get(name, name) for name in order])
    ends = [0.0, *(end for name in order for end in test["intervals"][name])]
    width = (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends), max(ends) + 0.15 * width)
    axes.set_xlabel(f"mean {test['measured_by']}, 95 % bootstrap interval")
    return figure


def plot_tags(test: dict[str, Any]) -> Figure:
    """Draw a heat map of mean rewards: tags × candidates, with the router as the last column."""
    title = f"Mean {test['measured_by']} per tag"
    return plot_heat_map(tag_table(test["tags"], list(test["candidates"]), ["routed"]), title)


def tag_table(tags: list[dict[str, Any]], candidates: list[str], others: list[str]) -> HeatMap:
    """Arrange a report's rows of tags for a heat map.

    Args:
        tags: rows of `per_tag_report`, the largest first.
        candidates: names of the single candidates.
        others: names of the methods beside them.
    """
    values = [[*row["candidates"], *(row[name] for name in others)] for row in tags]
    return HeatMap(
        [row["tag"] for row in tags], [row["queries"] for row in tags], candidates, others,
        np.array(values, dtype=float).reshape(len(tags), len(candidates) + len(others)),
    )  # fmt: skip


def plot_calibration(test: dict[str, Any]) -> Figure:
    """Draw the share of cells that are the best against the router's probability, in bins of equal count."""
    curve = test["calibration"]
    figure, axes = new_axes(4.2, 4.0, f"Calibration (error {curve['error']:.3f})")
    top = 1.05 * max([*curve["probability"], *curve["label"], 1e-6])
    axes.plot([0, top], [0, top], color=MUTED, lw=1, ls="--")
    axes.plot(curve["probability"], curve["label"], color=ACCENT, marker="o", lw=1.4)
    axes.set_xlabel("router's probability of a candidate")
    axes.set_ylabel("share of these cells that are the best")
    return figure


def plot_entropy(test: dict[str, Any]) -> Figure:
    """Draw the mean truth of reward-model ranking's pick against the entropy of its rewards (ZOOTER Fig. 3)."""
    series = test["entropy"]
    figure, axes = new_axes(5.4, 3.6, "Where rewards do not tell the candidates apart")
    names = {"ranking": "reward-model ranking", "routed": "routed", "random": "random"}
    for name, colour in (("ranking", DARK), ("routed", ACCENT), ("random", MUTED)):
        axes.plot(series["bits"], series[name], marker="o", lw=1.4, color=colour, label=names[name])
    axes.set_xlabel("entropy of a query's rewards (unsmoothed label), bits")
    axes.set_ylabel("mean truth")
    axes.legend(frameon=False)
    return figure


def plot_choices(test: dict[str, Any]) -> Figure:
    """Draw how often each candidate is chosen, with its own mean reward."""
    rows = sorted(test["candidates"].items(), key=lambda item: float(item[1]["share"]))[-MAX_BARS:]
    title = "Share of queries per candidate"
    if len(rows) < len(test["candidates"]):
        title += f" (the {len(rows)} most frequent of {len(test['candidates'])})"
    figure, axes = new_axes(7.0, 1.2 + 0.34 * len(rows), title)
    axes.barh(range(len(rows)), [row["share"] for _, row in rows], color=ACCENT, height=0.66)
    axes.set_yticks(range(len(rows)), [shorten(name) for name, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    for i, (_, row) in enumerate(rows):
        reward = "–" if row["reward"] is None else f"{row['reward']:.3f}"
        axes.annotate(f"{row['share']:.1%}   own reward {reward}", (row["share"], i), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8, color=DARK)  # fmt: skip
    axes.set_xlim(0, 1.45 * max(row["share"] for _, row in rows))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure
