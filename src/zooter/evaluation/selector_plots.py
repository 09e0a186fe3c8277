"""Draw the plots of a comparison of selectors.

All functions take the comparison's report, the dictionary that becomes `report.json`.
"""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from zooter.evaluation.plotting import (
    ACCENT,
    DARK,
    MUTED,
    escape_mathtext,
    label_points,
    new_axes,
    plot_heat_map,
    plot_style,
    shorten,
)  # fmt: skip
from zooter.evaluation.router_plots import tag_table

REFERENCES = ("best_single", "oracle", "random", "knn")  # drawn in a muted colour
MAX_LINES = 10  # candidates with a line of their own in a plot of coverage


def draw_plots(report: dict[str, Any]) -> dict[str, Figure]:
    """Draw every plot for which the report has the numbers.

    Returns:
        File name without its extension → figure.
    """
    with plot_style():
        figures = {"selectors": plot_selectors(report)}
        if all(
            None not in (numbers["cost"]["mean"], numbers["quality"]["mean"])
            for numbers in report["selectors"].values()
        ):
            figures["quality_price"] = plot_quality_price(report)
        if any(curve["budgets"] for curve in report["curves"].values()):
            figures["budgets"] = plot_budgets(report)
        figures["tags"] = plot_tags(report)
        if report["agreement"]:
            figures["agreement"] = plot_agreement(report)
        if report["coverage"]:
            figures["coverage"] = plot_coverage(report)
    return figures


def plot_selectors(report: dict[str, Any]) -> Figure:
    """Draw the mean quality of every selector with its interval, the best on top."""
    selectors = report["selectors"]
    measured = [name for name in selectors if selectors[name]["quality"]["mean"] is not None]
    order = sorted(measured, key=lambda name: float(selectors[name]["quality"]["mean"]))
    figure, axes = new_axes(7.0, 1.0 + 0.36 * len(order), f"Mean quality on {report['queries']:,} unseen queries")
    for row, name in enumerate(order):
        mean, (low, high) = selectors[name]["quality"]["mean"], selectors[name]["quality"]["ci"]
        axes.barh(row, mean, color=MUTED if name in REFERENCES else ACCENT, height=0.66)
        axes.plot([low, high], [row, row], color=DARK, lw=1.4)
        axes.annotate(f"{mean:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", color=DARK)
    axes.set_yticks(range(len(order)), [escape_mathtext(name) for name in order])
    axes.set_xlabel("mean quality, 95 % bootstrap interval")
    axes.margins(x=0.12)
    return figure


def plot_quality_price(report: dict[str, Any]) -> Figure:
    """Draw quality against price: every selector, the operating curves, the single candidates and their hull."""
    figure, axes = new_axes(7.6, 5.0, "Quality against price")
    if report["candidates"]["hull"]:
        price, quality = report["candidates"]["hull"]
        axes.plot(1000 * np.array(price), quality, color=MUTED, lw=1, ls="--", label="hull of the candidates")
    singles = [
        (1000 * single["cost"], single["quality"], shorten(name))
        for name, single in report["candidates"]["singles"].items()
        if single["cost"] is not None and single["quality"] is not None
    ]
    for x, y, _ in singles:
        axes.plot(x, y, "s", ms=5, color=MUTED)
    colours, marks, points = colormaps["tab20"](np.linspace(0, 1, 20)), "oDv^", []
    for i, (name, numbers) in enumerate(report["selectors"].items()):
        colour = DARK if name == "oracle" else colours[i % 20]
        point = 1000 * numbers["cost"]["mean"], numbers["quality"]["mean"]
        axes.plot(*point, marks[i // 20 % 4], ms=7, color=colour, label=shorten(name))
        points.append((*point, ""))
        curve = report["curves"].get(name)
        if curve and None not in (*curve["cost"], *curve["quality"]):
            axes.plot(1000 * np.array(curve["cost"]), curve["quality"], lw=1.2, color=colour)
    axes.set_xlabel("US dollars per thousand queries")
    axes.set_ylabel("mean quality")
    axes.margins(0.12)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=1 + len(points) // 24)
    left_out = label_points(axes, [*points, *singles])
    if left_out:
        axes.set_title(f"Quality against price ({left_out} names without room)", loc="left", fontsize=11, color=DARK)
    return figure


def plot_budgets(report: dict[str, Any]) -> Figure:
    """Draw quality under each budget (Margin Sampling), and random mixtures of the weak and the strong candidate."""
    figure, axes = new_axes(6.4, 4.2, "Quality under a budget")
    ends = [report["candidates"]["singles"][report[name]] for name in ("weak", "strong")]
    axes.plot([1000 * single["cost"] for single in ends], [single["quality"] for single in ends], color=MUTED, lw=1,
              ls="--", label="cheap and strong, mixed at random")  # fmt: skip
    for name, curve in report["curves"].items():
        if curve["budgets"]:
            label = f"{escape_mathtext(name)} ({curve['area']['mean']:.3f})"
            axes.plot(1000 * np.array(curve["budgets"]), curve["quality"], lw=1.4, label=label)
    axes.set_xlabel("US dollars allowed per thousand queries")
    axes.set_ylabel("mean quality (area under it)")
    axes.legend(frameon=False, fontsize=7)
    return figure


def plot_tags(report: dict[str, Any]) -> Figure:
    """Draw a heat map of mean qualities: tags × candidates and selectors."""
    singles, selectors = list(report["candidates"]["singles"]), list(report["selectors"])
    return plot_heat_map(tag_table(report["tags"], singles, selectors), f"Mean {report['measured_by']} per tag")


def plot_agreement(report: dict[str, Any]) -> Figure:
    """Draw mean quality against the entropy of each candidate's sampled answers (ModelSwitch)."""
    figure, axes = new_axes(5.6, 3.8, "Agreement and accuracy")
    for name, series in report["agreement"].items():
        r = series["pearson"]["mean"]
        label = f"{escape_mathtext(name)} (r = {'–' if r is None else f'{r:.2f}'})"
        axes.plot(series["bits"], series["quality"], marker="o", ms=4, lw=1.2, label=label)
    axes.set_xlabel("entropy of the sampled answers, bits")
    axes.set_ylabel("mean quality")
    axes.legend(frameon=False, fontsize=7)
    return figure


def plot_coverage(report: dict[str, Any]) -> Figure:
    """Draw the expected best of k samples against k: of all candidates together, and of each alone."""
    coverage, selectors = report["coverage"], report["selectors"]
    figure, axes = new_axes(5.6, 3.8, "Coverage: the best of k samples of each candidate")
    axes.plot(coverage["k"], coverage["all"], color=ACCENT, marker="o", ms=4, lw=1.8, label="all candidates")
    candidates = sorted(coverage["candidates"], key=lambda name: -float(coverage["candidates"][name][-1]))[:MAX_LINES]
    for name in candidates:
        axes.plot(coverage["k"], coverage["candidates"][name], marker="o", ms=3, lw=1, label=shorten(name))
    for name, style in (("oracle", "--"), ("best_single", ":")):
        if selectors[name]["quality"]["mean"] is not None:
            axes.axhline(selectors[name]["quality"]["mean"], color=MUTED, lw=1, ls=style, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(coverage["k"], [str(k) for k in coverage["k"]])
    axes.set_xlabel("k, samples of each candidate")
    axes.set_ylabel(f"expected best {report['measured_by']}")
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
