"""Compare selectors: on a recorded table, or on live candidates whose responses are recorded on the way."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt, SkipValidation
from rich.console import Console

from zooter.collect.reader.protocol import Reader
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import Rewarder
from zooter.collect.run import Collector
from zooter.commands import config
from zooter.commands.overrides import refuse_unless_one_input
from zooter.data import response_table
from zooter.data.arrow_io import data_files
from zooter.data.cache import ResponseCache
from zooter.data.component import PathField, component
from zooter.data.files import sha256
from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response, Tags
from zooter.errors import ConfigError
from zooter.evaluation import (
    examples,
    harness,
    html_report,
    sample_metrics,
    selector_metrics,
    selector_report,
    selector_results,
    tag_groups,
)
from zooter.evaluation.curves import operating_curve, summarise_curve
from zooter.evaluation.live import LiveEvaluator
from zooter.evaluation.replay import Replay
from zooter.evaluation.selector_results import SelectorResults
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.per_tag import per_tag_report
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.exports import refuse_lacking_exports
from zooter.selector.protocol import DrawsCandidate, RecordedSelection, Selector
from zooter.selector.shared_encoder import share_encoders

log = logging.getLogger(__name__)

SINGLE, ORACLE, AGAINST = "best_single", "oracle", "self_consistency"


@component
class EvaluateSettings:
    """Which selectors to compare on what.

    Attributes:
        run_dir: gets the report, the plots and every decision.
        selectors: name → selector; the best single candidate and the oracle are always compared too.
        records: the recorded table; or
        reader, pool, responder, rewarder, truth, cells: live candidates, as in training. `pool` also gives candidates
            of a table their order and prices.
        queries: of reader=file; here so that `queries=FILE` is all that has to be typed.
        groups: tag → group, for means and ranks of groups of tags in the report.
        call_prices: candidate → US dollars of every call of it, in place of recorded costs.
        split: the run's: selectors learn from its training queries, are tuned on validation and tested on test queries.
        curves: also under a hundred budgets or at all settings.
        in_flight: live queries at a time.
    """

    run_dir: PathField
    cache_dir: PathField
    selectors: Mapping[str, SkipValidation[Selector]] = field(default_factory=dict)
    records: PathField | None = None
    queries: PathField | None = None
    reader: SkipValidation[Reader | None] = None
    pool: Pool | None = None
    responder: SkipValidation[Responder | None] = None
    rewarder: SkipValidation[Rewarder | None] = None
    truth: SkipValidation[Rewarder | None] = None
    cells: FillPolicy = field(default_factory=FillPolicy)
    call_prices: Mapping[str, float] | None = None
    groups: Mapping[str, str] | None = None
    split: Split = field(default_factory=Split)
    curves: bool = True
    in_flight: PositiveInt = 256

    def __post_init__(self) -> None:
        refuse_unless_one_input(self.records is not None, self.reader is not None)
        refuse_lacking_exports(self.selectors)


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Compare selectors with settings from conf/evaluate.yaml, and print the report.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    settings = config.build(values)
    report = run(settings, {**values, "overrides": list(overrides)})
    console = Console()
    console.print(selector_report.table(report))
    for sentence in selector_report.describe_selectors(report):
        console.print(sentence, markup=False)
    console.print(f"report, plots and decisions: {settings.run_dir}", soft_wrap=True)


def run(settings: EvaluateSettings, written_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Compare selectors; write the report, plots and every decision into the run folder.

    Args:
        settings: what is compared on what.
        written_settings: the settings as they were written, for the report; JSON.

    Returns:
        The report.

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
    tag_groups.check_groups(settings.groups or {}, {tag for query in table.queries for tag in query.tags})
    measured_by = harness.measured_by(table)
    test, unmeasured, unmeasured_queries = harness.drop_unmeasurable(test, measured_by)
    lost, dropped = lost + unmeasured, dropped + unmeasured_queries
    notes = harness.describe_missing(test, lost, dropped)
    notes += harness.check_leakage(settings.selectors, settings.split)
    for note in notes:
        log.warning("%s", note)
    live = settings.reader is not None
    selectors = _fitted(settings, training, validation, test)
    replay = Replay(test)  # shared, so that each estimator runs once per query
    if not live:
        runs = {name: harness.run_selector(replay, selector) for name, selector in selectors.items()}
    else:
        runs = asyncio.run(_live(settings, selectors, replay))
    selections = {name: selected for name, (selected, _) in runs.items()}
    results = {
        name: selector_results.collect_results(selected, quality, test.pool.names)
        for name, (selected, quality) in runs.items()
    }
    report = _measure(settings.curves, selectors, replay, validation, results)
    report |= {
        "queries": len(test.queries),
        "groups": tag_groups.summarise_groups(report["tags"], settings.groups or {}, list(results), test.pool.names),
        "missing_cells": dict(zip(("missing", "cells"), harness.count_missing_cells(test), strict=True)),
        "trained_on": len(training.queries),
        "measured_by": measured_by,
        "best_single": report["strong"],
        "examples": examples.examples_of_selectors(results, test.texts, test.pool.names, (SINGLE, ORACLE)),
        "notes": notes,
        "data": {"path": str(path), "sha256": {file.name: sha256(file) for file in data_files(path)}},
        "settings": dict(written_settings),
        "seconds": time.perf_counter() - started,
    }
    selector_results.write_decisions(settings.run_dir / "decisions.parquet", selections, results)
    plots = selector_report.write(report, settings.run_dir)
    html_report.write_selectors_page(report, settings.run_dir, plots)
    return report


def _record(settings: EvaluateSettings) -> Path:
    """Record as many samples of every candidate as any selector needs."""
    if settings.reader is None or settings.pool is None or settings.responder is None or settings.rewarder is None:
        raise ConfigError(
            expected="a pool, a responder and a rewarder beside the reader", found="not all of them",
            do="choose them: reader=file queries=FILE pool=… responder=… rewarder=…",
        )  # fmt: skip
    samples = max([settings.cells.samples, *(selector.needs.samples for selector in settings.selectors.values())])
    path = settings.run_dir / "records.parquet"
    Collector(
        settings.reader, settings.pool, settings.responder, settings.cache_dir, settings.rewarder, settings.truth,
        replace(settings.cells, samples=samples), settings.split,
    ).collect(path)  # fmt: skip
    return path


def _fitted(
    settings: EvaluateSettings, training: ResponseTable, validation: ResponseTable, test: ResponseTable
) -> dict[str, Selector]:
    """Fit all selectors, the best single candidate and the oracle; refuse first what the table lacks."""
    # A table never holds the answers to messages that a selector writes itself.
    live = {
        name for name, selector in settings.selectors.items() if settings.reader is not None and selector.needs.live
    }
    replayed = {name: selector for name, selector in settings.selectors.items() if name not in live}
    harness.check_needs(replayed, (training, validation, test))
    qualities = harness.drop_unmeasurable(training, harness.measured_by(training))[0].qualities()
    best = qualities.candidates[rank_by_mean_reward(qualities)[0]]
    selectors: dict[str, Selector] = {SINGLE: SingleSelector(best), ORACLE: OracleSelector()}
    for name, selector in share_encoders(settings.selectors).items():
        log.info("fitting %s", name)
        selectors[name] = harness.fit_selector(selector, training, validation, settings.cache_dir)
    # Some selectors choose their candidates when they are fitted.
    harness.check_needs({name: selector for name, selector in selectors.items() if name not in live}, (test,))
    return selectors


async def _live(
    settings: EvaluateSettings, selectors: Mapping[str, Selector], replay: Replay
) -> dict[str, tuple[list[RecordedSelection], Floats]]:
    """Run selectors on live candidates; cached responses are not asked for again."""
    assert settings.pool is not None
    assert settings.responder is not None
    cells = ResponseCache(settings.cache_dir)
    evaluator = LiveEvaluator(
        settings.pool, settings.responder, settings.rewarder, settings.truth, cells, settings.in_flight,
        replay.table.prices,
    )  # fmt: skip
    test, runs = replay.table, {}
    for name, selector in selectors.items():
        if name in (SINGLE, ORACLE) or isinstance(selector, DrawsCandidate):  # all that these need is recorded
            runs[name] = harness.run_selector(replay, selector)
        else:
            log.info("asking for %s", name)
            selected = await evaluator.run(selector, test.queries)
            responses = [recorded.selection.response for recorded in selected]
            runs[name] = selected, _qualities(settings, test, responses)
    return runs


def _qualities(settings: EvaluateSettings, test: ResponseTable, responses: Sequence[Response | None]) -> Floats:
    """Look up the recorded qualities (n,); responses to other messages than the query are rewarded now."""
    values = np.zeros(len(responses))
    unrecorded: list[tuple[int, Query, Response]] = []
    for i, response in enumerate(responses):
        if response is not None:
            cells = test.cells[i].get(response.candidate, ())
            match = next(
                (c for c in cells if c.response.sample == response.sample and c.response.text == response.text), None
            )
            if match is None:
                unrecorded.append((i, test.queries[i], response))
            else:
                values[i] = match.quality
    if unrecorded:
        judge = settings.truth or settings.rewarder
        assert judge is not None
        rows, queries, answers = zip(*unrecorded, strict=True)
        values[list(rows)] = np.nan_to_num(judge.reward(list(queries), list(answers)))
    return values


def _measure(
    curves: bool,
    selectors: Mapping[str, Selector],
    replay: Replay,
    validation: ResponseTable,
    results: Mapping[str, SelectorResults],
) -> dict[str, Any]:
    """Compute every measured number of the report."""
    test, single = replay.table, selectors[SINGLE]
    assert isinstance(single, SingleSelector)
    best = str(single.candidate)
    rewards, tags = test.qualities(), Tags.from_rows([query.tags for query in test.queries])
    costs = {name: test.prices[name] for name in test.pool.names}
    weak = min(costs, key=lambda name: costs[name])
    if np.isnan(list(costs.values())).any():  # without costs, the worst candidate is taken for the cheap one
        weak = rewards.candidates[int(np.nanargmin(rewards.column_means()))]
    numbers: dict[str, Any] = {
        "selectors": selector_metrics.summarise_selectors(results, rewards, tags, SINGLE, ORACLE),
        "differences": selector_metrics.paired_differences(results),
        "savings": sample_metrics.sample_savings(results, AGAINST) if AGAINST in results else None,
        "tags": per_tag_report({name: result.quality for name, result in results.items()}, rewards, tags)["tags"],
        "choices_by_tag": examples.choices_of_selectors(results, test.pool.names, tags),
        "candidates": selector_metrics.summarise_candidates(rewards, costs, tags),
        "agreement": sample_metrics.summarise_consistency(test, sample_metrics.answer_extractor(selectors)),
        "coverage": sample_metrics.summarise_coverage(test),
        "curves": {},
        "weak": weak,
        "strong": best,
    }
    if not curves:
        return numbers
    ends = float(min(costs.values())), float(max(costs.values()))
    singles = harness.run_selector(replay, SingleSelector(weak))[1], results[SINGLE].quality
    for name, selector in selectors.items():
        if selector.needs.live:
            continue
        log.info("curve of %s", name)
        curve = operating_curve(replay, selector, validation, best)
        if curve is not None:
            numbers["curves"][name] = summarise_curve(curve, singles, *ends)
    return numbers
