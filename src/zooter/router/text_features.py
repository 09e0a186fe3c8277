"""Compute features of a query's form, not its meaning: lengths, digits, symbols, layout. Pure Python and NumPy.

The mean over tokens in an encoder loses length and layout, which tell tasks apart. Every feature is bounded or the
logarithm of a count, so that a text of a megabyte is no outlier. A text's characters are counted all at once, not by
one search for each class of them: serving computes these features for every query.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 20_000  # characters of a query that are read

_CLASSES = {
    "digits": re.compile(r"\d"),
    "capitals": re.compile(r"[A-Z]"),
    "punctuation": re.compile(r"[^\w\s]"),
    "operators": re.compile(r"[+\-*/^=]"),
    "brackets": re.compile(r"[{}\[\]()<>]"),
}
_SYMBOLS = ("\n", "$", "\\", ",", "?", '"', "'", "_", ":")
_COMMA = len(_CLASSES) + _SYMBOLS.index(",")
_NUMBER = re.compile(r"\d+")
_OPTION = re.compile(r"[A-J](?<!\w[A-J])[.)] ")  # \b[A-J][.)] and a blank, found in a third of the time
_BEYOND_ASCII = 128  # stands for all these characters
# Character → whether it is of each class, and each symbol.
_COUNTED = np.array(
    [
        [*(bool(regex.match(chr(code))) for regex in _CLASSES.values()), *(chr(code) == symbol for symbol in _SYMBOLS)]
        for code in range(_BEYOND_ASCII)
    ]
    + [[False] * (len(_CLASSES) + len(_SYMBOLS))],
    dtype=np.float64,
)
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


def _features(text: str) -> NDArray[np.float64]:
    words = text.split()
    characters, word_count = max(len(text), 1), max(len(words), 1)
    counts, numbers = _count_characters(text)
    digits, capitals, punctuation, operators, brackets, *symbols = counts
    logarithms = np.log1p(
        [len(text), len(words), numbers, operators, brackets, len(_OPTION.findall(text)), *symbols, text.count(". ")]
    )
    ending = text.rstrip()[-1:]
    return np.array([
        *logarithms[:2],
        min(characters / word_count, 50.0),
        len(set(words)) / word_count,
        10.0 * digits / characters,
        10.0 * capitals / characters,
        10.0 * punctuation / characters,
        counts[_COMMA] / word_count,
        *logarithms[2:],
        ending == "?",
        ending == ".",
        text[:1].isupper(),
        text == text.lower(),
        text.isascii(),
        any(word in text for word in _CODE),
        "def " in text,
    ])  # fmt: skip


def _count_characters(text: str) -> tuple[list[float], int]:
    """Count the characters of each class and each symbol, and the numbers."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    counts = (np.bincount(np.minimum(codes, _BEYOND_ASCII), minlength=_BEYOND_ASCII + 1) @ _COUNTED).tolist()
    if not text.isascii():  # digits and punctuation of other scripts
        for place, name in enumerate(_CLASSES):
            counts[place] = len(_CLASSES[name].findall(text)) if name in ("digits", "punctuation") else counts[place]
    return counts, len(_NUMBER.findall(text)) if counts[0] else 0
