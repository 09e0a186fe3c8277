"""Calibrate an export: choose a price weight or thresholds on validation queries, and check them on test queries."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any

import numpy as np
from pydantic import SkipValidation

from zooter.commands import config
from zooter.data import response_table
from zooter.data.arrow_io import data_files
from zooter.data.component import PathField, component
from zooter.data.files import sha256
from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.split import Split
from zooter.errors import ConfigError, ExportError
from zooter.evaluation import harness
from zooter.evaluation.replay import Replay
from zooter.router import manifest, onnx_export
from zooter.router.torch_router import TorchRouter
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.routing.price_target import (
    CalibrationTarget,
    PriceTradeoff,
    best_single_rewards,
    choose_setting,
    source_hashes,
    target_metrics,
)

SHARES = tuple((np.arange(100, -1, -1) / 100).tolist())  # of a tier's queries that are escalated, the dearest first


@component
class CalibrateSettings:
    """Which export to calibrate, on which table, for which target.

    Attributes:
        export: a trained router's folder; it is changed, whole or not at all.
        records: the table that the router was trained on.
        target: what to reach.
        selector: the cascade whose thresholds are chosen; None chooses the router's price weight.
        pool: its candidates' prices per token, where the table has no costs; or
        call_prices: candidate → US dollars of every call.
        split: that of training.
    """

    export: PathField
    records: PathField
    target: CalibrationTarget
    selector: SkipValidation[MarginSelector | None] = None
    pool: Pool | None = None
    call_prices: Mapping[str, float] | None = None
    split: Split = field(default_factory=Split)

    def __post_init__(self) -> None:
        if not isinstance(self.selector, MarginSelector | None):
            raise ConfigError(
                expected="selector=margin, or none for the router's price weight",
                found=type(self.selector).__name__, do="leave selector out",
            )  # fmt: skip


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Calibrate with settings from conf/calibrate.yaml, and print what was chosen.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    sys.stdout.write(json.dumps(run(config.build(values)), indent=2) + "\n")


def run(settings: CalibrateSettings) -> dict[str, Any]:
    """Choose what reaches the target, and save it in the export.

    Args:
        settings: the export, its recorded table, the split of its training and the target.

    Returns:
        What was saved: the choice, and its figures on validation and test queries; JSON.

    Raises:
        ExportError: the export is incomplete, or was trained on another table.
        ConfigError: nothing reaches the target.
        RecordsError: the table lacks margins.
    """
    export_facts = manifest.verify(settings.export)
    table_hashes = sorted(sha256(file) for file in data_files(settings.records))
    if source_hashes(export_facts)["data"] != table_hashes:
        raise ExportError(
            expected=f"the table that {settings.export} was trained on, whose validation queries it has not learned",
            found=f"another one in {settings.records}",
            do="give records=… of the training run, or train on this table",
        )
    table = harness.with_prices(response_table.read(settings.records, settings.pool), settings.call_prices)
    part = settings.split.parts(table.texts)[0]
    training, validation, test = (table.take(rows) for rows in (part.train, part.val, part.test))
    if settings.selector is None:
        name, router = manifest.CALIBRATION, TorchRouter.from_export(settings.export)
        chosen = calibrate_price_weight(router, settings.target, validation, test)
    else:
        name = manifest.MARGIN
        chosen = calibrate_cascade(settings.selector, settings.target, training, validation, test)
    meets_held_out = meets_target(settings.target, chosen["held_out"])
    calibration = chosen | {
        "target": asdict(settings.target),
        "for": source_hashes(export_facts),
        "held_out": chosen["held_out"] | {"kept": meets_held_out},
    }
    onnx_export.update_export(settings.export, lambda draft, facts: manifest.write_json(draft / name, calibration))
    return calibration


def calibrate_price_weight(
    router: TorchRouter, target: CalibrationTarget, validation: ResponseTable, test: ResponseTable
) -> dict[str, Any]:
    """Choose a router's price weight for a target on validation queries.

    Args:
        router: the export's router, with expected rewards.
        target: a mean price, a share of dearest calls, or a bound on the loss of reward.
        validation: rows that the weight is chosen on.
        test: rows that only measure it.

    Returns:
        The weight, the prices, and the figures on both tables; JSON.
    """
    on_validation, level = PriceTradeoff.from_router_output(router.route(validation.texts), validation), target.level
    weight = on_validation.choose(target)
    return {
        "price_weight": weight,
        "prices": dict(validation.prices),
        "chosen_on": on_validation.target_metrics(weight, level),
        "held_out": PriceTradeoff.from_router_output(router.route(test.texts), test).target_metrics(weight, level),
    }


def calibrate_cascade(
    selector: MarginSelector,
    target: CalibrationTarget,
    training: ResponseTable,
    validation: ResponseTable,
    test: ResponseTable,
) -> dict[str, Any]:
    """Choose a cascade's thresholds for a target by the share of a tier's validation queries that are escalated.

    Args:
        selector: its order and signal; thresholds are chosen here.
        target: a mean price, a share of dearest calls, or a bound on the loss of reward.
        training: rows that give the order where none is set.
        validation: rows that thresholds are chosen on.
        test: rows that only measure them.

    Returns:
        The thresholds, the prices, and the figures on both tables; JSON.
    """
    fitted = replace(selector, threshold=replace(selector.threshold, online_threshold=False)).fit(training, validation)
    share = choose_setting(
        target,
        SHARES,
        lambda rate, level: evaluate_cascade(fitted.with_fixed_thresholds(validation, rate), validation, level),
    )
    final = fitted.with_fixed_thresholds(validation, share)
    return {
        "order": list(final.order),
        "signal": final.signal,
        "distinct": final.merge_token_variants,
        # JSON has no infinity; no margin is as large as the largest number.
        "thresholds": np.nan_to_num(final.threshold.fixed or ()).tolist(),
        "share": share,
        "prices": {name: validation.prices[name] for name in final.order},
        "chosen_on": evaluate_cascade(final, validation, target.level),
        "held_out": evaluate_cascade(final, test, target.level),
    }


def evaluate_cascade(selector: MarginSelector, rows: ResponseTable, level: float) -> dict[str, float]:
    """Measure a cascade with fixed thresholds on recorded rows; its last candidate counts as the dearest.

    Args:
        selector: with fixed thresholds.
        rows: with margins and costs.
        level: confidence of the bound on the loss, in (0, 1).

    Raises:
        RecordsError: rows lack margins.
        ConfigError: a candidate's costs are not known.
    """
    unpriced = [name for name in selector.order if not rows.prices[name] >= 0.0]
    if unpriced:
        raise ConfigError(
            expected="the costs of all candidates of the cascade", found=f"none of {unpriced}",
            do="record `cost`, or give the pool prices, or call_prices={…}",
        )  # fmt: skip
    selected = Replay(rows).run(selector)
    rewards = np.full(len(selected), np.nan)
    for i, (recorded, cells) in enumerate(zip(selected, rows.cells, strict=True)):
        response = recorded.selection.response
        if response is not None:
            rewards[i] = next(cell.reward for cell in cells[response.candidate] if cell.response is response)
    prices = np.array([recorded.ledger.cost for recorded in selected])
    last = np.array([selector.order[-1] in recorded.ledger.calls for recorded in selected])
    return target_metrics(rewards, best_single_rewards(rows.rewards().values), prices, last, level)


def meets_target(target: CalibrationTarget, measured: dict[str, float]) -> bool:
    """Tell whether figures measured on other rows meet the target.

    Args:
        target: what was asked for.
        measured: figures on these rows, such as of `evaluate_cascade`.
    """
    for name, limit in (("mean_price", target.mean_price), ("dearest_share", target.share)):
        if limit is not None:
            return measured[name] <= limit
    return target.no_worse_by is not None and measured["worse_by_at_most"] <= target.no_worse_by
