"""The pictures of a comparison of selectors."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from zooter.evaluation.router_plots import ACCENT, INK, QUIET, escape_mathtext, heat_map, new_axes


def selector_plots(found: dict[str, Any]) -> dict[str, Figure]:
    """File name without its end → figure; those that the records allow."""
    drawn = {"selectors": selectors(found)}
    if all(of["cost"]["mean"] is not None for of in found["selectors"].values()):
        drawn["quality_price"] = quality_price(found)
    if any(of["budgets"] for of in found["curves"].values()):
        drawn["budgets"] = budgets(found)
    drawn["tags"] = tags(found)
    if found["agreement"]:
        drawn["agreement"] = agreement(found)
    return drawn


def selectors(found: dict[str, Any]) -> Figure:
    """Mean quality of every selector with its interval, the best on top."""
    of = found["selectors"]
    order = sorted(of, key=lambda name: float(of[name]["quality"]["mean"]))
    figure, axes = new_axes(7.0, 1.0 + 0.36 * len(order), f"Mean quality on {found['queries']:,} unseen queries")
    for row, name in enumerate(order):
        mean, (low, high) = of[name]["quality"]["mean"], of[name]["quality"]["ci"]
        quiet = name in ("best_single", "oracle", "random", "knn")
        axes.barh(row, mean, color=QUIET if quiet else ACCENT, height=0.66)
        axes.plot([low, high], [row, row], color=INK, lw=1.4)
        axes.annotate(f"{mean:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(order)), [escape_mathtext(name) for name in order])
    axes.set_xlabel("mean quality, 95 % bootstrap interval")
    axes.margins(x=0.12)
    return figure


def quality_price(found: dict[str, Any]) -> Figure:
    """Every selector's point, the curves of those with a knob, the single candidates and their hull."""
    figure, axes = new_axes(7.6, 5.0, "Quality against price")
    singles = found["candidates"]["singles"]
    if found["candidates"]["hull"]:
        price, quality = found["candidates"]["hull"]
        axes.plot(1000 * np.array(price), quality, color=QUIET, lw=1, ls="--", label="hull of the candidates")
    for name, of in singles.items():
        if of["cost"] is not None and of["quality"] is not None:
            axes.plot(1000 * of["cost"], of["quality"], "s", ms=5, color=QUIET)
            axes.annotate(escape_mathtext(name), (1000 * of["cost"], of["quality"]), xytext=(4, -9),
                          textcoords="offset points", fontsize=6, color=QUIET)  # fmt: skip
    colours = colormaps["tab20"](np.linspace(0, 1, 20))
    for i, (name, of) in enumerate(found["selectors"].items()):
        colour = INK if name == "oracle" else colours[i % 20]
        axes.plot(
            1000 * of["cost"]["mean"], of["quality"]["mean"], "o", ms=7, color=colour, label=escape_mathtext(name)
        )
        curve = found["curves"].get(name)
        if curve and None not in curve["cost"]:
            axes.plot(1000 * np.array(curve["cost"]), curve["quality"], lw=1.2, color=colour)
    axes.set_xlabel("US dollars per thousand queries")
    axes.set_ylabel("mean quality")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def budgets(found: dict[str, Any]) -> Figure:
    """Quality under each budget (Margin Sampling), beside the cheap and the strong candidate mixed at random."""
    figure, axes = new_axes(6.4, 4.2, "Quality under a budget")
    ends = [found["candidates"]["singles"][found[name]] for name in ("weak", "strong")]
    axes.plot([1000 * of["cost"] for of in ends], [of["quality"] for of in ends], color=QUIET, lw=1, ls="--",
              label="cheap and strong, mixed at random")  # fmt: skip
    for name, of in found["curves"].items():
        if of["budgets"]:
            area = of["area"]["mean"]
            axes.plot(
                1000 * np.array(of["budgets"]), of["quality"], lw=1.4, label=f"{escape_mathtext(name)} ({area:.3f})"
            )
    axes.set_xlabel("US dollars allowed per thousand queries")
    axes.set_ylabel("mean quality (area under it)")
    axes.legend(frameon=False, fontsize=7)
    return figure


def tags(found: dict[str, Any], most: int = 40) -> Figure:
    """Heat map of mean qualities: tags × candidates, and the selectors beside them."""
    singles, of = list(found["candidates"]["singles"]), list(found["selectors"])
    rows = [(row["tag"], row["queries"], [*row["candidates"], *(row[name] for name in of)]) for row in found["tags"]]
    return heat_map(rows[:most], [*singles, *of], len(singles), "Mean quality per tag")


def agreement(found: dict[str, Any]) -> Figure:
    """Mean quality against the entropy of a candidate's sampled answers (ModelSwitch's consistency law)."""
    figure, axes = new_axes(5.6, 3.8, "Agreement and accuracy")
    for name, of in found["agreement"].items():
        r = of["pearson"]["mean"]
        told = "–" if r is None else f"{r:.2f}"
        axes.plot(of["bits"], of["quality"], marker="o", ms=4, lw=1.2, label=f"{escape_mathtext(name)} (r = {told})")
    axes.set_xlabel("entropy of the sampled answers, bits")
    axes.set_ylabel("mean quality")
    axes.legend(frameon=False, fontsize=7)
    return figure
