"""Format an analysis: sentences and rows of tables, and the page in the terminal."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zooter.metrics.headroom import Estimate

if TYPE_CHECKING:
    from zooter.evaluation.table_analysis import Analysis

SHOWN_TAGS = 15
SHOWN_PAIRS = 8
SHOWN_CANDIDATES = 30
BAR = 20  # characters of the longest bar

CANDIDATE_HEADINGS = ("candidate", "queries", "mean reward", "adjusted", "only it can", "price")
TAG_HEADINGS = ("tag", "queries", "best single", "best in the tag", "gain", "95 % interval", "oracle")


def verdict(analysis: "Analysis") -> str:
    """Say in one sentence whether routing promises a gain on this table."""
    gains = [gain for gain in (analysis.tag_gain, analysis.word_gain) if gain is not None]
    best = max(gains, key=lambda gain: gain.mean)
    if best.low > 0:
        return (
            f"Routing gains: {percent_of_lead(analysis, best)} of the oracle's lead over {analysis.single_name} "
            f"({signed(best.mean)}, 95 % interval {signed(best.low)} … {signed(best.high)}) is within reach "
            "without an encoder."
        )
    if analysis.oracle.mean < 1e-9:
        return f"Nothing to gain: {analysis.single_name} is best on every query."
    return (
        f"No certain gain yet: the best simple router changes the mean reward by {signed(best.mean)} "
        f"(95 % interval {signed(best.low)} … {signed(best.high)}); an encoder may find more."
    )


def percent_of_lead(analysis: "Analysis", gain: Estimate) -> str:
    """Format a gain as a share of the oracle's lead.

    Args:
        analysis: gives the oracle's lead over the best single candidate.
        gain: mean gain over the best single candidate, with its interval.
    """
    return f"{gain.mean / analysis.oracle.mean:.0%}" if analysis.oracle.mean > 1e-9 else "–"


def signed(value: float) -> str:
    """Format a difference of rewards."""
    return f"{value:+.4f}"


def steps(analysis: "Analysis") -> list[tuple[str, float, str]]:
    """List what each way to choose earns.

    Returns:
        (name, mean reward, interval of its gain over the best single candidate) in order of knowledge.
    """
    rows = [(f"best single, out of fold: {analysis.single_name}", analysis.single, "")]
    gains = [
        ("each tag's best, out of fold", analysis.tag_gain),
        ("regression on words, out of fold", analysis.word_gain),
    ]
    rows += [(name, analysis.single + gain.mean, _interval(gain)) for name, gain in gains if gain is not None]
    if analysis.reachable is not None:
        gain = analysis.reachable * analysis.oracle.mean
        rows.append(("ceiling: an oracle of expected rewards", analysis.single + gain, signed(gain)))
    rows.append(("oracle", analysis.single + analysis.oracle.mean, _interval(analysis.oracle)))
    return rows


def _interval(gain: Estimate) -> str:
    return f"{signed(gain.mean)} ({signed(gain.low)} … {signed(gain.high)})"


def findings(analysis: "Analysis") -> list[str]:
    """Write a sentence on each further question: noise, labels, near-equal candidates, price."""
    return [_noise(analysis), _labels(analysis), _pairs(analysis), _price(analysis)]


def _noise(analysis: "Analysis") -> str:
    repeats = analysis.repeats
    if repeats is None:
        return (
            "Noise: too few queries have two samples of two candidates to estimate how much of the oracle's lead is "
            "luck; answer and score some 200 queries twice."
        )
    ceiling = (
        "the ceiling of any router is between that and the whole lead"
        if analysis.reachable is None
        else f"an oracle of expected rewards, the ceiling of any router, would keep {analysis.reachable:.0%}"
    )
    return (
        f"Noise: on {repeats.queries:,} queries with two samples, {repeats.differing:.1%} of cells differ, and "
        f"{repeats.share:.0%} of the oracle's lead is there again in the other one (95 % interval "
        f"{repeats.share_low:.0%} … {repeats.share_high:.0%}); {ceiling}."
    )


def _labels(analysis: "Analysis") -> str:
    present = int(analysis.curve.queries[-1])
    gains = ", ".join(
        f"{signed(gain)} with {count:,}"
        for count, gain in zip(analysis.curve.queries, analysis.curve.gains, strict=True)
    )
    text = f"Labels: a regression on words gains {gains} training queries"
    if analysis.sampled < analysis.queries:
        text += f" (words of {analysis.sampled:,} sampled queries)"
    if analysis.word_gain.low > 0:
        return f"{text}: settled with those at hand."
    if analysis.settled > 20 * present:
        return f"{text}; more of the same queries promise no certain gain."
    more = max(0.0, analysis.settled - present)
    return f"{text}; about {_round(more):,} more labelled queries would settle whether it gains."


def _round(value: float) -> int:
    """Round up to two digits."""
    size = 10 ** max(0, len(str(int(value))) - 2)
    return int(-(-value // size) * size)


def _pairs(analysis: "Analysis") -> str:
    if not analysis.pairs:
        return "Near-equal candidates: no two have mean rewards within 2 % of the range."
    pairs = [
        f"{pair.first} and {pair.second} ({signed(pair.difference)}, equal on {pair.agreement:.0%})"
        for pair in analysis.pairs[:SHOWN_PAIRS]
    ]
    more = f", and {len(analysis.pairs) - SHOWN_PAIRS} more pairs" if len(analysis.pairs) > SHOWN_PAIRS else ""
    return f"Near-equal candidates: {'; '.join(pairs)}{more}. Of two such, the cheaper one may do."


def _price(analysis: "Analysis") -> str:
    price = analysis.price
    if price is None:
        return "Price: not all candidates have one; record `cost`, or add prices.NAME=… (US$ per million tokens)."
    saving = (
        "does not reach that quality"
        if price.predicted is None
        else f"reaches it at {price.predicted:.3g} ({1 - price.predicted / price.single:.0%} less)"
    )
    return (
        f"Price at equal quality, in US dollars per {analysis.price_unit}: {analysis.single_name} costs "
        f"{price.single:.3g}; choosing by words out of fold {saving}; an oracle would need {price.oracle:.3g} "
        f"({1 - price.oracle / price.single:.0%} less)."
    )


def candidate_rows(analysis: "Analysis") -> list[tuple[str, ...]]:
    """Format the candidates, in the columns of CANDIDATE_HEADINGS."""
    return [
        (
            c.name,
            f"{c.queries:,}",
            f"{c.reward:.4f}",
            f"{c.adjusted:.4f}",
            f"{c.contribution:.4f}",
            "–" if c.price is None else f"{c.price:.3g}",
        )
        for c in analysis.candidates
    ]


def tag_rows(analysis: "Analysis") -> list[tuple[str, ...]]:
    """Format the tags, in the columns of TAG_HEADINGS."""
    return [
        (
            row.tag,
            f"{row.queries:,}",
            f"{row.single:.3f}",
            row.best,
            f"{row.gain.mean:+.3f}",
            f"{row.gain.low:+.3f} … {row.gain.high:+.3f}",
            f"{row.oracle:+.3f}",
        )
        for row in analysis.tags
    ]


def render(analysis: "Analysis") -> RenderableType:
    """Format the page for the terminal."""
    parts: list[RenderableType] = [
        Text(
            f"{analysis.queries:,} queries × {len(analysis.candidates)} candidates, "
            f"{analysis.missing:.1%} of cells missing"
        ),
        Text(verdict(analysis), style="bold"),
        _bars(analysis),
        _table(CANDIDATE_HEADINGS, candidate_rows(analysis), SHOWN_CANDIDATES),
    ]
    if analysis.tags:
        parts.append(_table(TAG_HEADINGS, tag_rows(analysis), SHOWN_TAGS))
    parts += [Text(f"· {line}") for line in findings(analysis)]
    return Group(*parts)


def _bars(analysis: "Analysis") -> Table:
    rows = steps(analysis)
    low, high = min(0.0, *(value for _, value, _ in rows)), max(value for _, value, _ in rows)
    table = Table("who chooses", "", box=SIMPLE_HEAD)
    table.add_column("mean reward", justify="right")
    table.add_column("gain and its 95 % interval", justify="right")
    for name, value, interval in rows:
        length = round(BAR * (value - low) / (high - low)) if high > low else 0
        table.add_row(escape(name), "█" * length, f"{value:.4f}", interval)
    return table


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]], shown: int) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        is_text = i == 0 or heading == "best in the tag"  # which wraps on a narrow terminal; numbers never do
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in rows[:shown]:
        table.add_row(*map(escape, row))
    if len(rows) > shown:
        table.caption = f"and {len(rows) - shown} more"
    return table
