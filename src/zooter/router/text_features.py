"""What a query looks like rather than what it says: lengths, digits, symbols, shape of the text. Pure Python and NumPy.

An encoder's mean over tokens loses length and layout, and these tell tasks apart. Every feature is bounded or a
logarithm of a count, so that a text of a megabyte is no outlier.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 20_000  # characters of a query that are looked at

_PATTERNS = {
    "digits": re.compile(r"\d"),
    "numbers": re.compile(r"\d+"),
    "capitals": re.compile(r"[A-Z]"),
    "punctuation": re.compile(r"[^\w\s]"),
    "operators": re.compile(r"[+\-*/^=]"),
    "brackets": re.compile(r"[{}\[\]()<>]"),
    "options": re.compile(r"\b[A-J][.)] "),
}
_WORDS = ("\n", "$", "\\", ",", "?", '"', "'", "_", ":", ". ")
_CODE = ("def ", "```", ">>>", "return ", "import ", "class ", "#include", "function ", "SELECT ")
TEXT_FEATURES = 29


def text_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, SIZE) features of n texts."""
    rows = [_row(text[:MAX_CHARACTERS]) for text in texts]
    return np.asarray(rows, dtype=np.float32).reshape(len(texts), TEXT_FEATURES)


def _row(text: str) -> list[float]:
    words = text.split()
    characters, count = max(len(text), 1), max(len(words), 1)
    found = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
    ending = text.rstrip()[-1:]
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        min(characters / count, 50.0),
        len(set(words)) / count,
        10.0 * found["digits"] / characters,
        10.0 * found["capitals"] / characters,
        10.0 * found["punctuation"] / characters,
        text.count(",") / count,
        *(np.log1p(found[name]) for name in ("numbers", "operators", "brackets", "options")),
        *(np.log1p(text.count(word)) for word in _WORDS),
        float(ending == "?"),
        float(ending == "."),
        float(text[:1].isupper()),
        float(text == text.lower()),
        float(text.isascii()),
        float(any(word in text for word in _CODE)),
        float("def " in text),
    ]
