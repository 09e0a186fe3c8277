"""Exact verification of a response against a reference."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def normalise(text: str) -> str:
    """Unicode form, case, blanks and closing punctuation made equal."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip(" .,;:!?\"'")


def verify(response: str, reference: str) -> bool:
    """Whether a response is right: equal as a number when the reference is one, else equal once normalised.

    A number may carry digit separators ("1,200") but nothing else: "12 days" is wrong for "12", as in exact match.
    """
    response, reference = normalise(response), normalise(reference)
    if not NUMBER.fullmatch(reference):
        return response == reference
    response = response.replace(",", "")
    return bool(NUMBER.fullmatch(response)) and Decimal(response) == Decimal(reference)
