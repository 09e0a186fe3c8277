"""Write an HTML page of sections as one file that needs no network: light and dark, readable on a phone."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@dataclass(frozen=True)
class Section:
    """A part of a page. All texts are escaped, except those that are `Markup`.

    Attributes:
        heading: above it; "" for none.
        paragraphs: of text.
        points: of a list.
        headings: of a table's columns; empty for no table.
        rows: of that table.
        marked: place of the row that is shown in bold; None for none.
        texts: places of columns that hold text, which wraps and starts at the left like the first column's.
        pictures: (what it shows, its address) of each.
        drawing: an SVG element, as `Markup`.
        code: text that is shown as it is, in a box.
    """

    heading: str = ""
    paragraphs: Sequence[str] = ()
    points: Sequence[str] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    marked: int | None = None
    texts: Sequence[int] = ()
    pictures: Sequence[tuple[str, str]] = ()
    drawing: str = ""
    code: str = ""


def page(title: str, sections: Sequence[Section]) -> str:
    """Format a page.

    Returns:
        A complete HTML document.
    """
    return _template().render(title=title, sections=sections)


def embed_pictures(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Read PNG files into data addresses, so that the page is one file.

    Returns:
        What each shows, by its file's name, and its address.
    """
    return [
        (path.stem.replace("_", " "), f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}")
        for path in paths
    ]


@cache
def _template() -> Template:
    loader = PackageLoader("zooter.evaluation", ".")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html")
