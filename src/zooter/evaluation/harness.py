"""Selectors side by side on recorded responses: fitted, run on queries that they never saw, and under many budgets.

Nothing here decides anything: every point of every curve is the selectors' own code on the same rows.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path

import numpy as np

from zooter.data.response_table import Cell, ResponseTable, qualities_of, quality_of
from zooter.data.split import Split
from zooter.data.types import Floats
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation.replay import Replay
from zooter.metrics import cost_quality
from zooter.router import manifest
from zooter.selector.ledger import Ledger
from zooter.selector.protocol import Budgetable, Fittable, HasOperatingPoints, RecordedSelection, Selector

ORDERS = 3  # of the stream of queries, as in Margin Sampling


@dataclass(frozen=True)
class OperatingCurve:
    """A selector's settings, one row each, in the order of the setting; n queries.

    Attributes:
        budgets: (p,) US dollars per query that were allowed; None for settings that are not budgets.
        quality, cost: (p, n); the mean over the orders of the stream.
        strong: (p, n) whether the strong candidate was asked, the mean over orders.
    """

    budgets: Floats | None
    quality: Floats
    cost: Floats
    strong: Floats


def drop_unmeasurable(recorded: ResponseTable) -> tuple[ResponseTable, int, int]:
    """Without the cells whose quality nobody knows, as those of failed calls, and the queries without any other.

    Returns:
        The rest, and how many cells and queries were left out. A cell that is left out is a failed call for selectors.

    Raises:
        RecordsError: nothing is left.
    """
    cells = []
    lost = 0
    for of in recorded.cells:
        known = {name: tuple(cell for cell in samples if cell.quality == cell.quality) for name, samples in of.items()}
        lost += sum(map(len, of.values())) - sum(map(len, known.values()))
        cells.append({name: samples for name, samples in known.items() if samples})
    kept = [i for i, of in enumerate(cells) if of]
    if not kept:
        raise RecordsError(expected="a reward or a truth in some row", found="none", do="reward the responses first")
    whole = ResponseTable(recorded.queries, recorded.pool, tuple(cells), recorded.prices)
    return whole.take(kept), lost, len(cells) - len(kept)


def with_prices(table: ResponseTable, prices: Mapping[str, float] | None) -> ResponseTable:
    """The table with these prices of calls in place of recorded costs, where given."""
    if not prices:
        return table
    unknown = sorted(set(prices) - set(table.pool.names))
    if unknown or any(not price >= 0 for price in prices.values()):
        raise ConfigError(
            expected=f"call_prices of 0 or more for candidates among {list(table.pool.names)}",
            found=f"{dict(prices)}", do="correct the names and prices",
        )  # fmt: skip

    def dear(cell: Cell) -> Cell:
        price = prices.get(cell.response.candidate)
        return cell if price is None else replace(cell, response=replace(cell.response, cost=float(price)))

    cells = tuple({name: tuple(map(dear, samples)) for name, samples in of.items()} for of in table.cells)
    return ResponseTable(table.queries, table.pool, cells, {**table.prices, **prices})


def table_notes(test: ResponseTable, lost: int, dropped: int) -> list[str]:
    """What the records lack, in sentences."""
    found = []
    if dropped:
        found.append(f"{dropped} queries have neither reward nor truth in any row and are left out")
    if lost:
        found.append(f"{lost} responses have neither reward nor truth: selectors that ask for one find a failed call")
    for name, price in test.prices.items():
        if np.isnan(price):
            first = next(
                (
                    i for i, of in enumerate(test.cells) if any(c.response.cost is None for c in of.get(name, ()))
                ), None
            )  # fmt: skip
            where = "" if first is None else f", first for the query {test.queries[first].text[:60]!r}"
            found.append(
                f"no cost is recorded for responses of {name!r}{where}: what depends on prices is left out "
                "(record `cost` or tokens and prices, or give call_prices={…})"
            )
            break
    return found


def fit_selector(
    selector: Selector, training: ResponseTable, validation: ResponseTable, cache: Path | None = None
) -> Selector:
    """The selector, or its fitted copy if it learns.

    Args:
        cache: folder for embeddings of training queries, for selectors that keep them and name none themselves.
    """
    if cache is not None and is_dataclass(selector) and getattr(selector, "cache", cache) is None:
        selector = replace(selector, cache=cache)
    return selector.fit(training, validation) if isinstance(selector, Fittable) else selector


def refuse_lacks(selectors: Mapping[str, Selector], tables: Sequence[ResponseTable]) -> None:
    """Refuse, before anything runs, tables that lack what a selector needs; all selectors' complaints at once.

    Raises:
        RecordsError, ConfigError: what is lacking, and in which query.
    """
    found = []
    for name, selector in selectors.items():
        for table in tables:
            try:
                Replay(table).refuse_lack(selector)
            except RecordsError as error:
                found.append(f"{name}: {error}")
                break
    if found:
        raise RecordsError(
            expected="records that have what every selector needs",
            found="\n  " + "\n  ".join(found),
            do="record it, or leave these selectors out of selectors=[…]",
        )


def refuse_leaks(selectors: Mapping[str, Selector], split: Split) -> list[str]:
    """Refuse exported routers that were trained on test queries; a note for each that does not tell.

    Raises:
        ConfigError: which, and how it was trained.
    """
    found = []
    for name, selector in selectors.items():
        export = getattr(selector, "export", None)
        if not isinstance(export, Path):
            continue
        trained = manifest.read_json(export / manifest.FILE, export).get("split")
        if trained is None:
            found.append(
                f"the export of {name} does not tell which queries it was trained on: test queries may be among"
            )
        elif trained["folds"] or trained["salt"] != split.salt or trained["test"] < split.test:
            raise ConfigError(
                expected=f"a router that has never seen the test queries of split.test={split.test} and "
                f"split.salt={split.salt!r}",
                found=f"{name}, trained with {trained}",
                do="give the split that it was trained with, or train it with folds=null",
            )
    return found


def run_selector(replay: Replay, selector: Selector) -> tuple[list[RecordedSelection], Floats]:
    """Decisions on all rows in their order, and the quality (n,) of what was returned."""
    decided = replay.run(selector)
    return decided, qualities_of(replay.recorded.cells, [one.selection.response for one in decided])


def operating_curve(
    replay: Replay, selector: Selector, validation: ResponseTable, strong: str
) -> OperatingCurve | None:
    """The selector under budgets or settings; None where it has neither. Budgets need prices that differ.

    Args:
        strong: the candidate whose calls are counted.
    """
    n, prices = len(replay.recorded.queries), np.array(list(replay.recorded.prices.values()))
    if isinstance(selector, Budgetable) and prices.max() > prices.min():  # never where one is NaN
        allowed = cost_quality.budgets(float(prices.min()), float(prices.max()))
        tried = ORDERS if getattr(selector, "remembers", True) else 1
        orders = [np.random.default_rng(seed).permutation(n).tolist() for seed in range(tried)]
        found = [[_spent(replay, selector.at(float(b), n), order, strong) for order in orders] for b in allowed]
        quality, cost, asked = np.mean(found, axis=1).transpose(1, 0, 2)
        return OperatingCurve(allowed, quality, cost, asked)
    if isinstance(selector, HasOperatingPoints):
        rows = list(range(n))
        found_one = [_spent(replay, setting, rows, strong) for setting in selector.settings(validation)]
        quality, cost, asked = np.stack(found_one, axis=1)
        return OperatingCurve(None, quality, cost, asked)
    return None


def _spent(replay: Replay, selector: Selector, order: Sequence[int], strong: str) -> Floats:
    """(3, n) quality, cost and whether the strong candidate was asked, by row."""
    cells, quality, cost, asked = replay.recorded.cells, [], [], []
    with _without_collector():
        for row, (selection, ledger) in zip(order, replay.each(selector, order), strict=True):
            quality.append(quality_of(cells[row], selection.response))
            cost.append(ledger.cost)
            asked.append(_asked(ledger, strong))
    by_row = np.empty((3, len(order)))
    by_row[:, order] = quality, cost, asked
    return by_row


def _asked(ledger: Ledger, name: str) -> bool:
    for part in ledger.rounds:
        for response in part:
            if response.candidate == name:
                return True
    return False


@contextmanager
def _without_collector() -> Iterator[None]:
    """Decisions have no cycles, and looking for some through a whole table doubles the time of a replay."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
