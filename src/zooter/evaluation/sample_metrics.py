"""Summarise what several samples of a candidate show: samples saved, agreement against accuracy, and coverage."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats
from zooter.evaluation.intervals import with_interval
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics import routing
from zooter.selector.protocol import Selector
from zooter.selector.voting.answers import AnswerExtractor


def answer_extractor(selectors: Mapping[str, Selector]) -> AnswerExtractor:
    """Take the extractor of the first selector that has one; else that of marked answers or whole texts.

    Args:
        selectors: name → selector.
    """
    extractors = (getattr(selector, "extract", None) for selector in selectors.values())
    return next((e for e in extractors if isinstance(e, AnswerExtractor)), AnswerExtractor("string"))


def sample_savings(results: Mapping[str, SelectorResults], against: str) -> dict[str, Any]:
    """Compute the share of samples that each selector saves (ModelSwitch's comparison with self-consistency).

    Args:
        results: selector → its results.
        against: name of the selector whose samples are the reference: self-consistency.

    Returns:
        Selector → the share of the reference's samples that it did not draw, and its own samples per query.
    """
    savings = {}
    for name, result in results.items():
        both = result.is_recorded & results[against].is_recorded
        columns = np.stack([result.samples[both], results[against].samples[both]]).astype(float)
        if not both.any():
            savings[name] = {**with_interval(np.nan, np.nan, np.nan), "samples": None}
            continue
        low, high = routing.paired_bootstrap(columns, lambda used, available: (1.0 - used / available)[None])
        used, available = columns.mean(axis=1).tolist()
        savings[name] = {**with_interval(1.0 - used / available, low[0], high[0]), "samples": used}
    return savings


def summarise_consistency(test: ResponseTable, extract: AnswerExtractor, bins: int = 6) -> dict[str, Any] | None:
    """Relate the entropy of each candidate's sampled answers to their quality (ModelSwitch).

    Answers are extracted as for a vote; all responses without an answer count as one more answer, as in the authors'
    analysis. Whole texts of worked solutions would all differ, whatever they answer.

    Args:
        test: the recorded responses; only queries with two or more samples of a candidate count for it.
        extract: extracts answers.
        bins: number of bins of equal count.

    Returns:
        Candidate → kind of the answers, Pearson correlation, and mean entropy in bits and mean quality per bin; None if
        no query has two samples of a candidate.
    """
    summaries: dict[str, Any] = {}
    for name in test.pool.names:
        rows = [(query, row.get(name, ())) for query, row in zip(test.queries, test.cells, strict=True)]
        several = [
            (query, cells) for query, cells in rows if len(cells) > 1 and any(cell.response.text for cell in cells)
        ]
        if not several:
            continue
        answers = [extract.answers(query, [cell.response for cell in cells]) for query, cells in several]
        bits = routing.answer_entropy([[answer or "" for answer in row_answers] for row_answers in answers])
        quality = np.array([np.mean([cell.quality for cell in cells]) for _, cells in several])
        low, high = routing.paired_bootstrap(_moments(bits, quality), _correlation)
        parts = [part for part in np.array_split(np.argsort(bits, kind="stable"), bins) if len(part)]
        summaries[name] = {
            "queries": len(several),
            "answers": extract.kind,
            "pearson": with_interval(routing.pearson(bits, quality), low[0], high[0]),
            "bits": [float(bits[part].mean()) for part in parts],
            "quality": [float(quality[part].mean()) for part in parts],
        }
    return summaries or None


def summarise_coverage(test: ResponseTable) -> dict[str, Any] | None:
    """Compute coverage: the expected quality of the best of k samples of every candidate.

    No selector that returns one of k samples of each candidate can be better, whether it votes, ranks or routes. With
    qualities of 0 and 1 it is pass@k (Chen et al., arXiv 2107.03374 §2.1) of all candidates together.

    Args:
        test: the recorded responses.

    Returns:
        "k", numbers of samples up to the smallest that a recorded cell has; "all", the coverage of all candidates at
        each; "candidates", name → coverage of that candidate alone, over the queries that it has responses for. None
        if some recorded cell has but one sample.
    """
    recorded = [samples for row in test.cells for samples in row.values()]
    most = min(map(len, recorded), default=0)
    if most < 2:
        return None
    counts = sorted({2**i for i in range(most.bit_length())} | {most})

    def mean_best(rows: list[list[list[float]]]) -> list[float]:
        """Average the expected best of k samples over rows, for each k in `counts`.

        Args:
            rows: each a list of groups, the qualities of one candidate's samples.
        """
        return [float(np.mean([expected_best(groups, k) for groups in rows])) for k in counts]

    qualities = [{name: [cell.quality for cell in cells] for name, cells in row.items()} for row in test.cells]
    return {
        "k": counts,
        "all": mean_best([list(row.values()) for row in qualities]),
        "candidates": {
            name: mean_best(rows)
            for name in test.pool.names
            if (rows := [[row[name]] for row in qualities if name in row])
        },
    }


def expected_best(groups: Sequence[Sequence[float]], k: int) -> float:
    """Compute the expected maximum over k values that are drawn from each group without replacement.

    P(maximum ≤ v) = Π_g C(#{values of g ≤ v}, k) / C(n_g, k), with n_g values in group g.

    Args:
        groups: at least one, each of k or more values.
        k: drawn from each.
    """
    values = np.unique(np.concatenate(groups))
    at_most = np.ones(len(values))
    for group in groups:
        at_most *= _draw_probabilities(len(group), k)[np.searchsorted(np.sort(group), values, side="right")]
    return float(values @ np.diff(at_most, prepend=0.0))


@cache
def _draw_probabilities(n: int, k: int) -> Floats:
    """Return (n + 1,) probabilities C(c, k) / C(n, k) that k draws from n values are all among c of them."""
    return np.array([math.comb(c, k) / math.comb(n, k) for c in range(n + 1)])


def _moments(x: Floats, y: Floats) -> Floats:
    """Stack (5, n) values whose means determine the correlation."""
    return np.stack([x, y, x * x, y * y, x * y])


def _correlation(x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
    spread = np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0.0))
    return np.divide(xy - x * y, spread, out=np.full(np.shape(spread), np.nan), where=spread > routing.TOLERANCE)[None]
