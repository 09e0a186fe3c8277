"""The report's pictures."""

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zooter.data.files import write_atomically

INK, ACCENT, QUIET = "#22313f", "#d1495b", "#8fa3b0"
NAMES = {
    "routed": "routed",
    "random": "random",
    "best_single": "best single",
    "per_tag_best": "best per tag\n(tags known)",
    "knn": "kNN",
    "ranking": "reward-model ranking\n(asks all)",
    "oracle": "oracle",
}


def all_plots(test: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every plot of a report's `test` section into `folder`; returns their paths."""
    figures = {
        "methods.png": methods(test),
        "tags.png": tags(test),
        "calibration.png": calibration(test),
        "entropy.png": entropy(test),
        "choices.png": choices(test),
    }
    return [save_figure(figure, folder / name) for name, figure in figures.items()]


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, bbox_inches="tight", facecolor="white")
    write_atomically(path, buffer.getvalue())
    return path


def methods(test: dict[str, Any]) -> Figure:
    """Mean reward of every method with its interval."""
    figure, axes = new_axes(
        7.0, 1.0 + 0.4 * len(test["intervals"]), f"Mean reward on {test['queries']:,} unseen queries"
    )
    order = sorted(test["intervals"], key=lambda name: float(test[name]))
    for row, name in enumerate(order):
        low, high = test["intervals"][name]
        colour = ACCENT if name == "routed" else QUIET
        axes.barh(row, test[name], color=colour, height=0.66)
        axes.plot([low, high], [row, row], color=INK, lw=1.4)
        axes.annotate(
            f"{test[name]:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", color=INK
        )
    axes.set_yticks(range(len(order)), [NAMES.get(name, name) for name in order])
    ends = [0.0, *(end for name in order for end in test["intervals"][name])]
    room = (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends), max(ends) + 0.15 * room)
    axes.set_xlabel("mean reward, 95 % bootstrap interval")
    return figure


def tags(test: dict[str, Any], most: int = 40) -> Figure:
    """Heat map of mean rewards: tags × candidates, with the router as the last column."""
    rows = [(row["tag"], row["queries"], [*row["candidates"], row["routed"]]) for row in test["tags"]]
    title = "Mean reward per tag" + (f" (the {most} largest)" if len(rows) > most else "")
    return heat_map(rows[:most], [*test["candidates"], "routed"], len(test["candidates"]), title)


def heat_map(rows: list[tuple[str, int, list[float | None]]], names: list[str], line: int, title: str) -> Figure:
    """A heat map with its numbers: a row has a tag, how many queries carry it, and a value for each name.

    Args:
        line: before which column a white line stands.
    """
    values = [[x if x is not None else float("nan") for x in of] for _, _, of in rows]
    figure, axes = new_axes(1.6 + 0.72 * len(names), 1.8 + 0.32 * len(rows), title)
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(names)), [escape_mathtext(name) for name in names], rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{escape_mathtext(tag[:36])}  ({count})" for tag, count, _ in rows])
    low, high = image.get_clim()
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value == value:
                bright = value > (low + high) / 2
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=INK if bright else "white")
    axes.axvline(line - 0.5, color="white", lw=3)
    return figure


def calibration(test: dict[str, Any]) -> Figure:
    """Probability given against the label found, over cells."""
    found = test["calibration"]
    figure, axes = new_axes(4.2, 4.0, f"Calibration (error {found['error']:.3f})")
    top = 1.05 * max([*found["probability"], *found["label"], 1e-6])
    axes.plot([0, top], [0, top], color=QUIET, lw=1, ls="--")
    axes.plot(found["probability"], found["label"], color=ACCENT, marker="o", lw=1.4)
    axes.set_xlabel("router's probability of a candidate")
    axes.set_ylabel("share of these cells that are the best")
    return figure


def entropy(test: dict[str, Any]) -> Figure:
    """Reward against the entropy of the label, as the paper's figure 3."""
    found = test["entropy"]
    figure, axes = new_axes(5.4, 3.6, "Where rewards do not tell the candidates apart")
    for name, colour in (("oracle", INK), ("routed", ACCENT), ("random", QUIET)):
        axes.plot(found["bits"], found[name], marker="o", lw=1.4, color=colour, label=name)
    axes.set_xlabel("entropy of the unsmoothed label, bits")
    axes.set_ylabel("mean reward")
    axes.legend(frameon=False)
    return figure


def choices(test: dict[str, Any]) -> Figure:
    """How often each candidate is chosen, beside its own mean reward."""
    rows = sorted(test["candidates"].items(), key=lambda item: float(item[1]["share"]))
    figure, axes = new_axes(7.0, 1.2 + 0.34 * len(rows), "Share of queries per candidate")
    axes.barh([escape_mathtext(name) for name, _ in rows], [row["share"] for _, row in rows], color=ACCENT, height=0.66)
    for i, (_, row) in enumerate(rows):
        reward = "–" if row["reward"] is None else f"{row['reward']:.3f}"
        axes.annotate(f"{row['share']:.1%}   own reward {reward}", (row["share"], i), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8, color=INK)  # fmt: skip
    axes.set_xlim(0, 1.45 * max(row["share"] for _, row in rows))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure


def sweep(rows: list[dict[str, Any]], key: str) -> Figure:
    """The metric against the swept key with its interval; the best is marked (compare ZOOTER's Table 2)."""
    figure, axes = new_axes(5.6, 3.6, f"Share of the gap closed against {key}")
    x = [row[key] for row in rows]
    y = [row["gap_closed"] for row in rows]
    low = [value - row["low"] for value, row in zip(y, rows, strict=True)]
    high = [row["high"] - value for value, row in zip(y, rows, strict=True)]
    positions = x if all(isinstance(value, int | float) for value in x) else list(range(len(x)))
    axes.errorbar(positions, y, yerr=[low, high], color=INK, ecolor=QUIET, marker="o", lw=1.4, capsize=3)
    best = max(range(len(y)), key=y.__getitem__)
    axes.plot(positions[best], y[best], "o", ms=10, color=ACCENT)
    axes.annotate(f"{y[best]:.1%}", (positions[best], y[best]), xytext=(8, 8), textcoords="offset points", color=ACCENT)
    axes.axhline(0.0, color=QUIET, lw=1, ls="--")
    axes.set_xticks(positions, [escape_mathtext(str(value)) for value in x])
    axes.set_xlabel(key)
    axes.set_ylabel("gap closed, 95 % interval")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure


def escape_mathtext(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def new_axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty figure in the house's look; inches."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    return figure, axes
