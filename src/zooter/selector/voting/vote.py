"""Votes over the answers of several candidates. Pure functions; an answer is a text, None where none could be read.

ModelSwitch (arXiv 2504.00762), as its authors' code has it (JianhaoChen-nju/ModelSwitch,
`calculate_scores_with_weights`).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from zooter.errors import ConfigError

Answers = Sequence[str | None]

NORMALISERS = ("distinct", "answers")
_CLOSE = 1e-12  # sums that differ by less are a tie


def agreement(answers: Answers) -> tuple[str | None, float]:
    """The commonest answer, the earlier one on a tie, and its share of all samples; those without an answer agree with
    none, so that one of them breaks unanimity."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return None, 0.0
    answer, count = max(counts.items(), key=lambda pair: pair[1])  # the first one met wins
    return answer, count / len(answers)


def entropy_weight(answers: Answers, normaliser: str = "distinct") -> float:
    """How much a candidate's votes count, by their entropy H in bits: 1 where all agree, at least 1/n.

    b + (1 - b)(1 - H / H_max) with b = 1/n for n answers. H_max is log2 of the number of distinct answers in the
    authors' code, so that any even split has the least weight and the weight does not always fall with H; or log2 of
    the number of answers ("answers"), where it does.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    n = counts.total()
    if len(counts) < 2:
        return float(n > 0)
    entropy = -sum(count / n * math.log2(count / n) for count in counts.values())
    most = math.log2(len(counts) if normaliser == "distinct" else n)
    return 1 / n + (1 - 1 / n) * (1 - entropy / most)


def vote_scores(parts: Sequence[Answers], prior: Sequence[float], normaliser: str | None) -> dict[str, float]:
    """Answer → Σ over candidates of prior weight × entropy weight × count, in the order of first meeting.

    Args:
        parts: each candidate's answers, in order.
        prior: each candidate's weight.
        normaliser: of the entropy; None counts every vote alike.
    """
    found: dict[str, float] = {}
    for answers, weight in zip(parts, prior, strict=True):
        own = weight * (1.0 if normaliser is None else entropy_weight(answers, normaliser))
        for answer in answers:
            if answer is not None:
                found[answer] = found.get(answer, 0.0) + own
    return found


def winner(found: Mapping[str, float]) -> str | None:
    """The answer with the largest score; on a tie the one met first, so that an earlier candidate wins."""
    best: str | None = None
    for answer, score in found.items():
        if best is None or score > found[best] + _CLOSE:
            best = answer
    return best


def refuse_normaliser(normaliser: str | None) -> None:
    """Refuse a name that is none."""
    if normaliser is not None and normaliser not in NORMALISERS:
        raise ConfigError(
            expected=f"selector.normaliser among {NORMALISERS}, or null for plain counts",
            found=repr(normaliser),
            do="correct it",
        )
