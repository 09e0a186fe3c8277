"""Style all plots: axes, fonts, labels that do not overprint each other, and heat maps."""

import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from zooter.data.files import write_atomically
from zooter.data.types import Floats

DARK, ACCENT, MUTED = "#22313f", "#d1495b", "#8fa3b0"
# Fonts with Chinese, Japanese and Korean characters that systems come with; the first one that is installed is used
# for characters that matplotlib's own font does not have.
WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "MS Gothic", "Malgun Gothic",
    "Arial Unicode MS",
)  # fmt: skip
MAX_CANDIDATES, MAX_TAGS = 20, 40  # columns and rows of a heat map
LABEL_OFFSETS = (
    (5, 4, "left"), (5, -9, "left"), (-5, 4, "right"), (-5, -9, "right"), (0, 8, "center"), (0, -14, "center"),
    (12, 14, "left"), (12, -20, "left"), (-12, 14, "right"), (-12, -20, "right"),
)  # fmt: skip


def font_families(installed: Collection[str]) -> list[str]:
    """List font families in the order in which they are tried for each character.

    Args:
        installed: names of the installed fonts.
    """
    return ["DejaVu Sans", *[name for name in WIDE_FONTS if name in installed][:1]]


@contextmanager
def plot_style() -> Iterator[None]:
    """Use the fonts of all plots; a character that no font has is drawn as a box, without a warning."""
    families = font_families(set(font_manager.fontManager.get_font_names()))
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def new_axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Make an empty figure in the style of all plots.

    Args:
        width: in inches.
        height: in inches.
        title: above the plot, to the left.
    """
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11, color=DARK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=DARK)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG atomically, and return its path."""
    buffer = io.BytesIO()
    with plot_style():
        figure.savefig(buffer, format="png", dpi=140, bbox_inches="tight", facecolor="white")
    write_atomically(path, buffer.getvalue())
    return path


def escape_mathtext(text: str) -> str:
    """Escape dollar signs, so that matplotlib does not read the text as a formula."""
    return text.replace("$", r"\$")


def shorten(text: str, length: int = 48) -> str:
    """Cut the middle out of a text that is longer than `length` characters, and escape it for matplotlib.

    Args:
        text: a label.
        length: characters, at most.
    """
    half = (length - 1) // 2
    return escape_mathtext(text if len(text) <= length else f"{text[:half]}…{text[-half:]}")


def label_points(axes: Axes, points: Sequence[tuple[float, float, str]], fontsize: float = 6) -> int:
    """Write names beside points so that no name covers another name, another point or the legend.

    The limits of the axes must not change afterwards. A name for which no place around its point is free is left out.

    Args:
        axes: with all its lines and points.
        points: x and y in the units of the axes, and the name; an empty name only keeps the others away.
        fontsize: in points.

    Returns:
        The number of names that were left out.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the limits of the axes
    pixels = axes.transData.transform([(x, y) for x, y, _ in points]) if points else np.empty((0, 2))
    occupied = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in pixels]
    inside, legend = axes.get_window_extent(), axes.get_legend()
    if legend is not None:
        occupied.append(legend.get_window_extent())
    left_out = 0
    for i, (x, y, name) in enumerate(points):
        if not name:
            continue
        other_boxes = occupied[:i] + occupied[i + 1 :]
        for dx, dy, side in LABEL_OFFSETS:
            label = axes.annotate(name, (x, y), xytext=(dx, dy), textcoords="offset points", ha=side,
                                  fontsize=fontsize, color=DARK)  # fmt: skip
            box = label.get_window_extent()
            is_inside = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if is_inside and not any(box.overlaps(other) for other in other_boxes):
                occupied.append(box)
                break
            label.remove()
        else:
            left_out += 1
    return left_out


@dataclass(frozen=True)
class HeatMap:
    """A table of mean values to be drawn.

    Attributes:
        rows: r names, such as tags.
        counts: (r,) number of queries of each row.
        candidates: m names of the single candidates.
        others: k names of routers and selectors, drawn to the right of the candidates.
        values: (r, m + k); NaN leaves the cell empty.
    """

    rows: Sequence[str]
    counts: Sequence[int]
    candidates: Sequence[str]
    others: Sequence[str]
    values: Floats

    def most_important(self) -> list[int]:
        """Choose at most `MAX_CANDIDATES` candidates: first those that are the best in a row, then by mean.

        Returns:
            Columns, the best on average first. Means are weighted by `counts`.
        """
        values = self.values[:, : len(self.candidates)]
        weights = np.where(np.isnan(values), 0.0, np.array(self.counts, dtype=float)[:, None])
        totals = weights.sum(axis=0)
        means = np.full(len(self.candidates), -np.inf)
        np.divide((weights * np.nan_to_num(values)).sum(axis=0), totals, out=means, where=totals > 0)
        wins = np.zeros(len(means))
        for row, best in enumerate(best_columns(values)):
            if best is not None:
                wins[best] += self.counts[row]
        chosen = np.lexsort((-means, -wins))[:MAX_CANDIDATES]
        return [int(j) for j in chosen[np.argsort(-means[chosen], kind="stable")]]


def best_columns(values: Floats) -> list[int | None]:
    """Find the column of the largest value of each row, the first one on a tie; None for a row without values.

    Args:
        values: (n, m), NaN where there is none.
    """
    return [None if np.isnan(row).all() else int(np.nanargmax(row)) for row in values]


def plot_heat_map(table: HeatMap, title: str) -> Figure:
    """Draw a heat map with its numbers; the best candidate of each row is framed, if it is drawn.

    Of more than `MAX_TAGS` rows or `MAX_CANDIDATES` candidates only the first rows and the candidates that matter are
    drawn, which the title says.

    Args:
        table: what to draw, the largest row first.
        title: above the map.
    """
    columns, rows = table.most_important(), min(len(table.rows), MAX_TAGS)
    m, k = len(table.candidates), len(table.others)
    values = table.values[:rows, [*columns, *range(m, m + k)]]
    if rows < len(table.rows):
        title += f" (the {rows} largest of {len(table.rows)})"
    if len(columns) < m:
        title += f", {len(columns)} of {m} candidates"
    figure, axes = new_axes(1.6 + 0.6 * values.shape[1], 1.8 + 0.3 * rows, title)
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    names = [*(table.candidates[j] for j in columns), *table.others]
    axes.set_xticks(range(len(names)), [shorten(name) for name in names], rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(rows), [f"{shorten(table.rows[i])}  ({table.counts[i]})" for i in range(rows)])
    middle = sum(image.get_clim()) / 2
    for (i, j), value in np.ndenumerate(values):
        if value == value:
            colour = DARK if value > middle else "white"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    for i, best in enumerate(best_columns(table.values[:rows, :m])):
        if best in columns:
            axes.add_patch(Rectangle((columns.index(best) - 0.46, i - 0.44), 0.92, 0.88, fill=False, ec=ACCENT, lw=1.6))
    axes.axvline(len(columns) - 0.5, color="white", lw=3)
    return figure
