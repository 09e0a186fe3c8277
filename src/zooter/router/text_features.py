"""Compute features of a query's form, not its meaning: lengths, digits, symbols, layout. Pure Python and NumPy.

The mean over tokens in an encoder loses length and layout, which tell tasks apart. Every feature is bounded or the
logarithm of a count, so that a text of a megabyte is no outlier.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 20_000  # characters of a query that are read

_PATTERNS = {
    "digits": re.compile(r"\d"),
    "numbers": re.compile(r"\d+"),
    "capitals": re.compile(r"[A-Z]"),
    "punctuation": re.compile(r"[^\w\s]"),
    "operators": re.compile(r"[+\-*/^=]"),
    "brackets": re.compile(r"[{}\[\]()<>]"),
    "options": re.compile(r"\b[A-J][.)] "),
}
_SYMBOLS = ("\n", "$", "\\", ",", "?", '"', "'", "_", ":", ". ")
_CODE = ("def ", "```", ">>>", "return ", "import ", "class ", "#include", "function ", "SELECT ")
TEXT_FEATURES = 29
"""Number of features of a text."""


def text_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Compute the features of texts, each independently of the others.

    Args:
        texts: n queries; empty ones are allowed.

    Returns:
        (n, `TEXT_FEATURES`), finite.
    """
    features = np.empty((len(texts), TEXT_FEATURES), dtype=np.float32)
    for row, text in enumerate(texts):
        features[row] = _features(text[:MAX_CHARACTERS])
    return features


def _features(text: str) -> list[float]:
    words = text.split()
    characters, word_count = max(len(text), 1), max(len(words), 1)
    counts = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
    ending = text.rstrip()[-1:]
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        min(characters / word_count, 50.0),
        len(set(words)) / word_count,
        10.0 * counts["digits"] / characters,
        10.0 * counts["capitals"] / characters,
        10.0 * counts["punctuation"] / characters,
        text.count(",") / word_count,
        *(np.log1p(counts[name]) for name in ("numbers", "operators", "brackets", "options")),
        *(np.log1p(text.count(symbol)) for symbol in _SYMBOLS),
        float(ending == "?"),
        float(ending == "."),
        float(text[:1].isupper()),
        float(text == text.lower()),
        float(text.isascii()),
        float(any(word in text for word in _CODE)),
        float("def " in text),
    ]
