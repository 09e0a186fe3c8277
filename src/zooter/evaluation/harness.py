"""Compare selectors on recorded responses: check the table, fit, replay, and trace quality against price.

Every point of a curve comes from the selector's own code, replayed on the same rows.
"""

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path

import numpy as np

from zooter.data.response_table import Cell, ResponseTable, response_qualities, response_quality
from zooter.data.split import Split
from zooter.data.types import Floats
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation.replay import Replay
from zooter.metrics import cost_quality
from zooter.router import manifest
from zooter.selector.ledger import Ledger
from zooter.selector.protocol import Budgetable, Fittable, HasOperatingPoints, RecordedSelection, Selector

STREAM_ORDERS = 3  # random orders of the query stream, as in Margin Sampling


@dataclass(frozen=True)
class OperatingCurve:
    """Results of a selector at p operating points on n queries, in the order of the operating points.

    Attributes:
        budgets: (p,) allowed US dollars per query; None where the operating points are not budgets.
        quality: (p, n) quality of the returned response, averaged over the orders of the stream.
        cost: (p, n) US dollars, averaged over the orders; NaN where a call's cost is unknown.
        strong: (p, n) share of the orders in which the strong candidate was asked, in [0, 1].
    """

    budgets: Floats | None
    quality: Floats
    cost: Floats
    strong: Floats


def drop_unmeasurable(table: ResponseTable) -> tuple[ResponseTable, int, int]:
    """Drop cells with neither reward nor truth, then queries without any remaining cell.

    A selector that asks for a dropped cell gets a failed call.

    Args:
        table: recorded responses; failed calls, for example, have no quality.

    Returns:
        The remaining table, the number of dropped cells and the number of dropped queries.

    Raises:
        RecordsError: nothing remains.
    """
    cells = []
    dropped = 0
    for row in table.cells:
        measurable = {
            name: tuple(cell for cell in samples if not math.isnan(cell.quality)) for name, samples in row.items()
        }
        dropped += sum(map(len, row.values())) - sum(map(len, measurable.values()))
        cells.append({name: samples for name, samples in measurable.items() if samples})
    rows = [i for i, row in enumerate(cells) if row]
    if not rows:
        raise RecordsError(expected="a reward or a truth in some row", found="none", do="reward the responses first")
    remaining = ResponseTable(table.queries, table.pool, tuple(cells), table.prices)
    return remaining.take(rows), dropped, len(cells) - len(rows)


def with_prices(table: ResponseTable, prices: Mapping[str, float] | None) -> ResponseTable:
    """Replace recorded costs by fixed prices per call.

    Args:
        prices: candidate → US dollars per call, 0 or more; other candidates keep their recorded costs. None or empty
            returns the table unchanged.

    Raises:
        ConfigError: a name is not in the pool, or a price is negative or NaN.
    """
    if not prices:
        return table
    unknown = sorted(set(prices) - set(table.pool.names))
    if unknown or any(not price >= 0 for price in prices.values()):
        raise ConfigError(
            expected=f"call_prices of 0 or more for candidates among {list(table.pool.names)}",
            found=f"{dict(prices)}", do="correct the names and prices",
        )  # fmt: skip

    def reprice(cell: Cell) -> Cell:
        price = prices.get(cell.response.candidate)
        return cell if price is None else replace(cell, response=replace(cell.response, cost=float(price)))

    cells = tuple({name: tuple(map(reprice, samples)) for name, samples in row.items()} for row in table.cells)
    return ResponseTable(table.queries, table.pool, cells, {**table.prices, **prices})


def describe_missing(test: ResponseTable, dropped_cells: int, dropped_queries: int) -> list[str]:
    """Describe what the records lack, one sentence for each kind.

    Args:
        test: the test table; only the first candidate without a price is reported.
        dropped_cells: number of responses without reward or truth.
        dropped_queries: number of queries without any reward or truth.
    """
    notes = []
    if dropped_queries:
        notes.append(f"{dropped_queries} queries have neither reward nor truth in any row and are left out")
    if dropped_cells:
        notes.append(
            f"{dropped_cells} responses have neither reward nor truth: selectors that ask for one find a failed call"
        )
    for name, price in test.prices.items():
        if np.isnan(price):
            unpriced = (any(cell.response.cost is None for cell in row.get(name, ())) for row in test.cells)
            first = next((i for i, is_unpriced in enumerate(unpriced) if is_unpriced), None)
            where = "" if first is None else f", first for the query {test.queries[first].text[:60]!r}"
            notes.append(
                f"no cost is recorded for responses of {name!r}{where}: what depends on prices is left out "
                "(record `cost` or tokens and prices, or give call_prices={…})"
            )
            break
    return notes


def fit_selector(
    selector: Selector, training: ResponseTable, validation: ResponseTable, cache: Path | None = None
) -> Selector:
    """Fit a selector that learns; return any other unchanged.

    Args:
        selector: never changed in place.
        training: rows to fit on.
        validation: rows to choose thresholds, orders and weights on.
        cache: folder for embeddings of training queries, for selectors with a `cache` field that is None; None leaves
            the field as it is.

    Returns:
        The fitted copy, or the selector itself.
    """
    if cache is not None and is_dataclass(selector) and getattr(selector, "cache", cache) is None:
        selector = replace(selector, cache=cache)
    return selector.fit(training, validation) if isinstance(selector, Fittable) else selector


def check_needs(selectors: Mapping[str, Selector], tables: Sequence[ResponseTable]) -> None:
    """Check, before anything runs, that the tables have what every selector needs.

    Args:
        selectors: name → selector.
        tables: each selector is checked against every table; its first complaint is reported.

    Raises:
        RecordsError: one error that lists the complaints of all selectors.
        ConfigError: a selector cannot be replayed at all, or names an unknown candidate.
    """
    complaints = []
    for name, selector in selectors.items():
        for table in tables:
            try:
                Replay(table).check_needs(selector)
            except RecordsError as error:
                complaints.append(f"{name}: {error}")
                break
    if complaints:
        raise RecordsError(
            expected="records that have what every selector needs",
            found="\n  " + "\n  ".join(complaints),
            do="record it, or leave these selectors out of selectors=[…]",
        )


def check_leakage(selectors: Mapping[str, Selector], split: Split) -> list[str]:
    """Refuse exported routers that were trained on test queries.

    Args:
        selectors: name → selector; only those with an `export` folder are checked.
        split: how test queries are chosen now.

    Returns:
        A note for each export that does not record its training split.

    Raises:
        ConfigError: an export was trained on queries that are test queries now.
    """
    notes = []
    for name, selector in selectors.items():
        export = getattr(selector, "export", None)
        if not isinstance(export, Path):
            continue
        trained = manifest.read_json(export / manifest.FILE, export).get("split")
        if trained is None:
            notes.append(
                f"the export of {name} does not tell which queries it was trained on: test queries may be among"
            )
        elif trained["folds"] or trained["salt"] != split.salt or trained["test"] < split.test:
            raise ConfigError(
                expected=f"a router that has never seen the test queries of split.test={split.test} and "
                f"split.salt={split.salt!r}",
                found=f"{name}, trained with {trained}",
                do="give the split that it was trained with, or train it with folds=null",
            )
    return notes


def run_selector(replay: Replay, selector: Selector) -> tuple[list[RecordedSelection], Floats]:
    """Run a selector on all rows in their recorded order.

    Returns:
        n selections, and the quality (n,) of the returned responses.

    Raises:
        RecordsError: the table lacks what the selector needs.
    """
    selections = replay.run(selector)
    return selections, response_qualities(replay.table.cells, [recorded.selection.response for recorded in selections])


def operating_curve(
    replay: Replay, selector: Selector, validation: ResponseTable, strong: str
) -> OperatingCurve | None:
    """Run a selector at each of its budgets or operating points.

    Budgets are those of Margin Sampling (its code, plots.py): uniformly spaced between the cheapest and the dearest
    candidate's price, each run on `STREAM_ORDERS` random orders of the queries.

    Args:
        replay: the test table; its needs are not checked again.
        selector: fitted.
        validation: rows from which a selector without a budget derives its operating points.
        strong: name of the candidate whose calls are counted.

    Returns:
        The curve; None for a selector with neither budgets nor operating points. Budgets need prices that are known
        and differ.
    """
    n, prices = len(replay.table.queries), np.array(list(replay.table.prices.values()))
    if isinstance(selector, Budgetable) and prices.max() > prices.min():  # False where a price is NaN
        budgets = cost_quality.budget_grid(float(prices.min()), float(prices.max()))
        repeats = STREAM_ORDERS if getattr(selector, "depends_on_order", True) else 1
        orders = [np.random.default_rng(seed).permutation(n).tolist() for seed in range(repeats)]
        runs = [
            [_replay_stream(replay, selector.with_budget(float(b), n), order, strong) for order in orders]
            for b in budgets
        ]
        quality, cost, asked = np.mean(runs, axis=1).transpose(1, 0, 2)
        return OperatingCurve(budgets, quality, cost, asked)
    if isinstance(selector, HasOperatingPoints):
        rows = list(range(n))
        points = [_replay_stream(replay, setting, rows, strong) for setting in selector.operating_points(validation)]
        quality, cost, asked = np.stack(points, axis=1)
        return OperatingCurve(None, quality, cost, asked)
    return None


def _replay_stream(replay: Replay, selector: Selector, order: Sequence[int], strong: str) -> Floats:
    """Return (3, n) quality, cost and whether the strong candidate was asked, by row of the table."""
    cells, quality, cost, asked = replay.table.cells, [], [], []
    with _collector_paused():
        for row, (selection, ledger) in zip(order, replay.iterate(selector, order), strict=True):
            quality.append(response_quality(cells[row], selection.response))
            cost.append(ledger.cost)
            asked.append(_was_asked(ledger, strong))
    by_row = np.empty((3, len(order)))
    by_row[:, order] = quality, cost, asked
    return by_row


def _was_asked(ledger: Ledger, name: str) -> bool:
    for responses in ledger.rounds:
        for response in responses:
            if response.candidate == name:
                return True
    return False


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: a replay makes no cycles, and collections through a table double its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
