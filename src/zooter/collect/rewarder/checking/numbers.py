"""Numbers as people and models write them, read exactly: no floating point, no guessing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
           "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"}  # fmt: skip
_GROUPED = r"\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d{1,3}(?:[\u00a0\u202f]\d{3})+(?!\d)"
_WHOLE = rf"(?:{_GROUPED}|\d+)"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)\]])[-+])?              # after a digit, a name or a bracket it is an operator
    (?:[$€£¥₹]\s?(?P<inner>-)?)?              # $-5
    (?:
        (?P<mixed>\d+)\s+(?P<mixed_top>\d+)/(?P<mixed_bottom>\d+)(?![\d/])
      | (?<!/)(?P<top>{_WHOLE})\s?/\s?(?P<bottom>\d+)(?![\d/]|\.\d)
      | (?P<plain>{_WHOLE}(?:\.\d+)?|\.\d+)(?:(?:e|\s?[x×*]\s?10\^)(?P<exponent>[-+]?\d{{1,3}}))?
    )
    (?P<percent>\s?%|\s+(?:percent|per\ cent)\b)?
    (?P<scale>\s+(?:{"|".join(_SCALES)})\b)?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# No pattern here may begin with a repetition, or have two side by side: a response that is one long run of digits or
# blanks would be read in the square of its length.
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")


# Models get caught in loops: Python refuses to read a number of thousands of digits, and nobody means one.
MOST_DIGITS = 300


@dataclass(frozen=True)
class Number:
    """One number found in a text.

    Attributes:
        value: exact, with its scale word ("2 million") multiplied in; a percentage keeps its figure, 50 for "50%".
        percent: whether a percent sign or word follows.
        start, end: where it stands in the text that `tidy` returns.
    """

    value: Fraction
    percent: bool
    start: int
    end: int


def tidy(text: str) -> str:
    """The same text with one way of writing minus signs, fractions, LaTeX currency and separators."""
    for char, plain in _VULGAR.items():
        text = text.replace(char, f" {plain}")
    text = text.replace("−", "-").replace("–", "-").replace("⁄", "/")
    text = text.replace("\\$", "$").replace("\\%", "%").replace("{,}", ",").replace("\\!", "").replace("\\,", "")
    return _LATEX_FRACTION.sub(r" \1/\2 ", text)


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a tidied text, in order."""
    for found in _NUMBER.finditer(text):
        value = _value(found)
        if value is None:
            continue
        if found["sign"] == "-" or found["inner"]:
            value = -value
        scale = (found["scale"] or "").strip().lower()
        yield Number(value * _SCALES.get(scale, 1), bool(found["percent"]), found.start(), found.end())


def _value(found: re.Match[str]) -> Fraction | None:
    """None for a division by zero and for endless digits, which are no numbers."""
    if len(found[0]) > MOST_DIGITS:
        return None
    if found["mixed"]:
        bottom = int(found["mixed_bottom"])
        return Fraction(int(found["mixed"])) + Fraction(int(found["mixed_top"]), bottom) if bottom else None
    if found["top"]:
        bottom = int(found["bottom"])
        return Fraction(int(_plain(found["top"])), bottom) if bottom else None
    return Fraction(_plain(found["plain"])) * Fraction(10) ** int(found["exponent"] or 0)


def _plain(digits: str) -> str:
    return digits.replace(",", "").replace("\u00a0", "").replace("\u202f", "")


def same(reference: Number, found: Number, tolerance: float = 0.0) -> bool:
    """Whether both say the same amount.

    A percentage on one side only is read both ways, as its figure and as its hundredth: "50%" is right for 50 and
    for 0.5, while 50 is never right for 0.5.

    Args:
        tolerance: largest accepted difference as a share of the reference.
    """
    values = {found.value}
    if found.percent != reference.percent:
        values.add(found.value / 100 if found.percent else found.value * 100)
    slack = abs(reference.value) * Fraction(tolerance)
    return any(abs(value - reference.value) <= slack for value in values)
