"""Compare selectors: on a recorded table, or on live candidates whose responses are recorded on the way."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zooter.collect.reader.protocol import Reader
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import Rewarder
from zooter.collect.run import Collector
from zooter.data import response_table
from zooter.data.arrow_io import data_files
from zooter.data.cache import ResponseCache
from zooter.data.files import sha256
from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response, Tags
from zooter.errors import ConfigError
from zooter.evaluation import harness, selector_metrics, selector_report, selector_results
from zooter.evaluation.live import LiveEvaluator
from zooter.evaluation.replay import Replay
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics.per_tag import by_tag
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.protocol import RecordedSelection, Selector
from zooter.selector.shared_encoder import share_encoders

log = logging.getLogger(__name__)

SINGLE, ORACLE, AGAINST = "best_single", "oracle", "self_consistency"


@dataclass(frozen=True)
class EvaluateSettings:
    """What is compared on what.

    Attributes:
        run_dir: gets the report, the plots and every decision.
        selectors: name → selector. The best single candidate and the oracle always stand beside them.
        records: the recorded table; or
        reader, pool, responder, rewarder, truth, cells: live candidates, as in training. `pool` also gives candidates
            of a table their order and prices.
        queries: of reader=file; here so that `queries=FILE` is all that has to be typed.
        call_prices: candidate → US dollars of every call of it, in place of recorded costs.
        split: the run's: selectors learn from its training queries, are tuned on validation and tested on test queries.
        curves: also under a hundred budgets or at all settings.
        in_flight: live queries at a time.
    """

    run_dir: Path
    cache_dir: Path
    selectors: Mapping[str, Selector] = field(default_factory=dict)
    records: Path | None = None
    queries: Path | None = None
    reader: Reader | None = None
    pool: Pool | None = None
    responder: Responder | None = None
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    cells: FillPolicy = field(default_factory=FillPolicy)
    call_prices: Mapping[str, float] | None = None
    split: Split = field(default_factory=Split)
    curves: bool = True
    in_flight: int = 256

    def __post_init__(self) -> None:
        if (self.records is None) == (self.reader is None):
            raise ConfigError(
                expected="either records=FILE or a reader=…",
                found="neither" if self.records is None else "both",
                do="add records=FILE to compare on a recorded table, or reader=… pool=… responder=… to ask candidates",
            )


def run(settings: EvaluateSettings, told: Mapping[str, Any]) -> dict[str, Any]:
    """The report, which is also written into the run folder, with plots and decisions.

    Args:
        told: the settings as they were given; JSON.

    Raises:
        ZooterError: the table lacks what a selector needs, or candidates cannot be asked; nothing is written then.
    """
    started = time.perf_counter()
    path = settings.records or _record(settings)
    table, lost, dropped = harness.drop_unmeasurable(
        harness.with_prices(response_table.read(path, settings.pool), settings.call_prices)
    )
    part = settings.split.parts(table.texts)[0]
    training, validation, test = (table.take(rows) for rows in (part.train, part.val, part.test))
    notes = harness.table_notes(test, lost, dropped)
    notes += harness.refuse_leaks(settings.selectors, settings.split)
    for note in notes:
        log.warning("%s", note)
    live = settings.reader is not None
    selectors = _fitted(settings, training, validation, test)
    replay = Replay(test)  # one for all: what an estimator says of a query it says once
    if not live:
        runs = {name: harness.run_selector(replay, selector) for name, selector in selectors.items()}
    else:
        runs = asyncio.run(_live(settings, selectors, replay))
    decided = {name: of for name, (of, _) in runs.items()}
    accounts = {
        name: selector_results.selector_results(of, quality, test.pool.names) for name, (of, quality) in runs.items()
    }
    found = _numbers(settings.curves, selectors, replay, validation, accounts)
    found |= {
        "queries": len(test.queries),
        "trained_on": len(training.queries),
        "best_single": found["strong"],
        "notes": notes,
        "data": {"path": str(path), "sha256": {file.name: sha256(file) for file in data_files(path)}},
        "settings": dict(told),
        "seconds": time.perf_counter() - started,
    }
    selector_results.write(settings.run_dir / "decisions.parquet", decided, accounts)
    selector_report.write(found, settings.run_dir)
    return found


def _record(settings: EvaluateSettings) -> Path:
    """Ask all candidates for as many samples as any selector needs; all that is asked is kept."""
    if settings.reader is None or settings.pool is None or settings.responder is None or settings.rewarder is None:
        raise ConfigError(
            expected="a pool, a responder and a rewarder beside the reader", found="not all of them",
            do="choose them: reader=file queries=FILE pool=… responder=… rewarder=…",
        )  # fmt: skip
    most = max([settings.cells.samples, *(selector.needs.samples for selector in settings.selectors.values())])
    path = settings.run_dir / "records.parquet"
    Collector(
        settings.reader, settings.pool, settings.responder, settings.cache_dir, settings.rewarder, settings.truth,
        replace(settings.cells, samples=most), settings.split,
    ).run(path)  # fmt: skip
    return path


def _fitted(
    settings: EvaluateSettings, training: ResponseTable, validation: ResponseTable, test: ResponseTable
) -> dict[str, Selector]:
    """The best single candidate, the oracle, and all selectors, fitted; refuses what the records lack before that."""
    # Messages of a selector's own are no record's to have.
    asking = {name for name, of in settings.selectors.items() if settings.reader is not None and of.needs.live}
    recorded_for = {name: of for name, of in settings.selectors.items() if name not in asking}
    harness.refuse_lacks(recorded_for, (training, validation, test))
    qualities = training.qualities()
    best = qualities.candidates[int(np.nanargmax(qualities.column_means()))]
    selectors: dict[str, Selector] = {SINGLE: SingleSelector(best), ORACLE: OracleSelector()}
    for name, selector in share_encoders(settings.selectors).items():
        log.info("fitting %s", name)
        selectors[name] = harness.fit_selector(selector, training, validation, settings.cache_dir)
    # Which candidates it asks, a selector may have learned only now.
    harness.refuse_lacks({name: of for name, of in selectors.items() if name not in asking}, (test,))
    return selectors


async def _live(
    settings: EvaluateSettings, selectors: Mapping[str, Selector], replay: Replay
) -> dict[str, tuple[list[RecordedSelection], Floats]]:
    """Decisions and qualities of selectors that ask for themselves; what is kept from before is not paid again."""
    assert settings.pool is not None
    assert settings.responder is not None
    cells = ResponseCache(settings.cache_dir)
    flight = LiveEvaluator(
        settings.pool, settings.responder, settings.rewarder, settings.truth, cells, settings.in_flight,
        replay.recorded.prices,
    )  # fmt: skip
    test, found = replay.recorded, {}
    for name, selector in selectors.items():
        if name in (SINGLE, ORACLE):
            found[name] = harness.run_selector(replay, selector)
        else:
            log.info("asking for %s", name)
            decided = await flight.run(selector, test.queries)
            found[name] = decided, _qualities(settings, test, [one.selection.response for one in decided])
    return found


def _qualities(settings: EvaluateSettings, test: ResponseTable, responses: Sequence[Response | None]) -> Floats:
    """(n,) as recorded; what was written to other messages than the query is judged by the truth, or the rewarder."""
    values = np.zeros(len(responses))
    aside: list[tuple[int, Query, Response]] = []
    for i, response in enumerate(responses):
        if response is not None:
            cells = test.cells[i].get(response.candidate, ())
            match = next(
                (c for c in cells if c.response.sample == response.sample and c.response.text == response.text), None
            )
            if match is None:
                aside.append((i, test.queries[i], response))
            else:
                values[i] = match.quality
    if aside:
        judge = settings.truth or settings.rewarder
        assert judge is not None
        rows, queries, given = zip(*aside, strict=True)
        values[list(rows)] = np.nan_to_num(judge.reward(list(queries), list(given)))
    return values


def _numbers(
    curves: bool,
    selectors: Mapping[str, Selector],
    replay: Replay,
    validation: ResponseTable,
    accounts: Mapping[str, SelectorResults],
) -> dict[str, Any]:
    """Every number of the report that is measured."""
    test, single = replay.recorded, selectors[SINGLE]
    assert isinstance(single, SingleSelector)
    best = str(single.candidate)
    rewards, tags = test.qualities(), Tags.of([query.tags for query in test.queries])
    costs = {name: test.prices[name] for name in test.pool.names}
    weak = min(costs, key=lambda name: costs[name])
    if np.isnan(list(costs.values())).any():  # who is cheap is not known
        weak = rewards.candidates[int(np.nanargmin(rewards.column_means()))]
    found: dict[str, Any] = {
        "selectors": selector_metrics.selector_summaries(accounts, rewards, tags, SINGLE, ORACLE),
        "differences": selector_metrics.differences(accounts),
        "savings": selector_metrics.sample_savings(accounts, AGAINST) if AGAINST in accounts else None,
        "tags": by_tag({name: one.quality for name, one in accounts.items()}, rewards, tags)["tags"],
        "candidates": selector_metrics.candidates(rewards, costs),
        "agreement": selector_metrics.consistency_accuracy(test),
        "curves": {},
        "weak": weak,
        "strong": best,
    }
    if not curves:
        return found
    ends = float(min(costs.values())), float(max(costs.values()))
    singles = harness.run_selector(replay, SingleSelector(weak))[1], accounts[SINGLE].quality
    for name, selector in selectors.items():
        if selector.needs.live:
            continue
        log.info("curve of %s", name)
        curve = harness.operating_curve(replay, selector, validation, best)
        if curve is not None:
            found["curves"][name] = selector_metrics.summarise_curve(curve, singles, *ends)
    return found
