"""How sure a model was of its answer, from the likeliest first tokens: the signal of Margin Sampling.

Ramírez, Birch & Titov, *Optimising Calls to Large Language Models with Uncertainty-Based Two-Tier Selection* (COLM
2024): a query whose margin is small goes to the larger model. The paper defines the margin by probabilities, its code
by raw logits; both are here, and the two order queries differently when more than two tokens compete. `first_tokens`
are those of `Response`: texts and natural-log probabilities, likeliest first.
"""

import math
import re
import string
from collections.abc import Sequence

FirstTokens = Sequence[tuple[str, float]]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def probability_margin(first_tokens: FirstTokens | None) -> float | None:
    """P(likeliest) - P(second), in [0, 1]; where only one is told the second counts as 0. None where none is told."""
    if not first_tokens:
        return None
    first, second = math.exp(first_tokens[0][1]), math.exp(first_tokens[1][1]) if len(first_tokens) > 1 else 0.0
    return first - second


def logit_margin(first_tokens: FirstTokens | None) -> float | None:
    """Logit of the likeliest - logit of the second, 0 or more; inf where only one is told, None where none is.

    The logits' normaliser is the same for both, so that it is the difference of their log-probabilities.
    """
    if not first_tokens:
        return None
    return first_tokens[0][1] - first_tokens[1][1] if len(first_tokens) > 1 else math.inf


def without_variants(first_tokens: FirstTokens) -> tuple[tuple[str, float], ...]:
    """Without the lower-ranked tokens that begin the same free answer as the likeliest: " Paris", "paris", "Par".

    As in the authors' code for question answering, a lower-ranked token is a variant when it is a substring or a
    superstring of the likeliest, both in lower case and without punctuation, articles and blanks around.

    Our choices. A lower-ranked token of which nothing is left ("The", a line break) tells no other answer and is
    dropped too. When nothing is left of the likeliest, only such tokens are its variants. A variant's probability is
    not added to the likeliest's, and the log-probabilities stay as they are. The authors decode the 10 tokens as one
    text and split it at blanks; ours stay tokens. "1" and "10" are variants by this rule, and "a" is an article: where
    the answer is one of a few labels, ask with `Sampling.labels` instead.
    """
    if not first_tokens:
        return ()
    likeliest = _normalised(first_tokens[0][0])
    others = [one for one in first_tokens[1:] if not _are_variants(_normalised(one[0]), likeliest)]
    return (first_tokens[0], *others)


def _are_variants(lower: str, likeliest: str) -> bool:
    return lower in likeliest or (likeliest != "" and likeliest in lower)


def _normalised(token: str) -> str:
    """Lower case, punctuation, then articles, then blanks around and repeated: as SQuAD's evaluation has it."""
    return " ".join(_ARTICLES.sub(" ", token.lower().translate(_NO_PUNCTUATION)).split())
