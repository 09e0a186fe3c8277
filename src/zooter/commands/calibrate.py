"""Give an export what reaches a target, a price weight or a cascade's thresholds: chosen on validation queries, checked
on test queries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zooter.data import response_table
from zooter.data.arrow_io import data_files
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
    choose,
    figures,
    hashes,
)

SHARES = tuple((np.arange(100, -1, -1) / 100).tolist())  # of a tier's queries that go on, the dearest first


@dataclass(frozen=True)
class CalibrateSettings:
    """What is calibrated, on what, for what.

    Attributes:
        export: a trained router's folder; it is changed, whole or not at all.
        records: the table that the router was trained on.
        selector: the cascade whose thresholds are chosen; None chooses the router's price weight.
        pool: its candidates' prices per token, where the table has no costs; or
        call_prices: candidate → US dollars of every call.
        split: that of training.
    """

    export: Path
    records: Path
    target: CalibrationTarget
    selector: MarginSelector | None = None
    pool: Pool | None = None
    call_prices: Mapping[str, float] | None = None
    split: Split = field(default_factory=Split)

    def __post_init__(self) -> None:
        if not isinstance(self.selector, MarginSelector | None):
            raise ConfigError(
                expected="selector=margin, or none for the router's price weight",
                found=type(self.selector).__name__, do="leave selector out",
            )  # fmt: skip


def run(settings: CalibrateSettings) -> dict[str, Any]:
    """Choose and save; what is saved.

    Raises:
        ExportError: the export is incomplete, or was trained on another table.
        ConfigError: nothing reaches the target.
        RecordsError: the table lacks margins.
    """
    about = manifest.verify(settings.export)
    ours = sorted(sha256(file) for file in data_files(settings.records))
    if hashes(about)["data"] != ours:
        raise ExportError(
            expected=f"the table that {settings.export} was trained on, whose validation queries it has not learned",
            found=f"another one in {settings.records}",
            do="give records=… of the training run, or train on this table",
        )
    table = harness.with_prices(response_table.read(settings.records, settings.pool), settings.call_prices)
    part = settings.split.parts(table.texts)[0]
    training, validation, test = (table.take(rows) for rows in (part.train, part.val, part.test))
    if settings.selector is None:
        name, chosen = (
            manifest.CALIBRATION,
            calibrate_price_weight(TorchRouter.load(settings.export), settings.target, validation, test),
        )
    else:
        name, chosen = (
            manifest.MARGIN,
            calibrate_cascade(settings.selector, settings.target, training, validation, test),
        )
    kept_too = meets_target(settings.target, chosen["held_out"])
    found = chosen | {
        "target": asdict(settings.target), "for": hashes(about), "held_out": chosen["held_out"] | {"kept": kept_too}
    }  # fmt: skip
    onnx_export.update_export(settings.export, lambda draft, facts: manifest.write_json(draft / name, found))
    return found


def calibrate_price_weight(
    router: TorchRouter, target: CalibrationTarget, validation: ResponseTable, test: ResponseTable
) -> dict[str, Any]:
    """A router's price weight for a target."""
    on_validation, level = PriceTradeoff.of(router.route(validation.texts), validation), target.level
    weight = on_validation.choose(target)
    return {
        "price_weight": weight,
        "prices": dict(validation.prices),
        "chosen_on": on_validation.figures(weight, level),
        "held_out": PriceTradeoff.of(router.route(test.texts), test).figures(weight, level),
    }


def calibrate_cascade(
    selector: MarginSelector,
    target: CalibrationTarget,
    training: ResponseTable,
    validation: ResponseTable,
    test: ResponseTable,
) -> dict[str, Any]:
    """A cascade's thresholds for a target, by the share of a tier's validation queries that go on."""
    fitted = replace(selector, threshold=replace(selector.threshold, running=False)).fit(training, validation)
    share = choose(
        target,
        SHARES,
        lambda one, level: evaluate_cascade(fitted.with_fixed_threshold(validation, one), validation, level),
    )
    final = fitted.with_fixed_threshold(validation, share)
    return {
        "order": list(final.order),
        "signal": final.signal,
        "distinct": final.distinct,
        # JSON has no infinity; no margin is as large as the largest number.
        "thresholds": np.nan_to_num(final.threshold.fixed or ()).tolist(),
        "share": share,
        "prices": {name: validation.prices[name] for name in final.order},
        "chosen_on": evaluate_cascade(final, validation, target.level),
        "held_out": evaluate_cascade(final, test, target.level),
    }


def evaluate_cascade(selector: MarginSelector, rows: ResponseTable, level: float) -> dict[str, float]:
    """`figures` of a cascade with fixed thresholds on recorded rows, whose dearest candidate is its last.

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
    decided = Replay(rows).run(selector)
    ours = np.full(len(decided), np.nan)
    for i, (one, of) in enumerate(zip(decided, rows.cells, strict=True)):
        response = one.selection.response
        if response is not None:
            ours[i] = next(cell.reward for cell in of[response.candidate] if cell.response is response)
    prices = np.array([one.ledger.cost for one in decided])
    last = np.array([selector.order[-1] in one.ledger.calls for one in decided])
    return figures(ours, best_single_rewards(rows.rewards().values), prices, last, level)


def meets_target(target: CalibrationTarget, found: dict[str, float]) -> bool:
    """Whether figures of other rows keep to the target too."""
    for name, most in (("mean_price", target.mean_price), ("dearest_share", target.share)):
        if most is not None:
            return found[name] <= most
    return target.no_worse_by is not None and found["worse_by_at_most"] <= target.no_worse_by
