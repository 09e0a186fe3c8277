"""Give an export the price weight that reaches a target: chosen on validation queries, checked on test queries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zooter import contest, manifest, portable, recorded
from zooter.errors import ExportError
from zooter.pool import Pool
from zooter.router import Router
from zooter.selector.calibration import Target, Trade, hashes
from zooter.split import Split
from zooter.tables import files


@dataclass(frozen=True)
class Settings:
    """What is calibrated, on what, for what.

    Attributes:
        export: a trained router's folder; it is changed, whole or not at all.
        records: the table that the router was trained on.
        pool: its candidates' prices per token, where the table has no costs; or
        call_prices: candidate → US dollars of every call.
        split: that of training.
    """

    export: Path
    records: Path
    target: Target
    pool: Pool | None = None
    call_prices: Mapping[str, float] | None = None
    split: Split = field(default_factory=Split)


def run(settings: Settings) -> dict[str, Any]:
    """Choose and save; what is saved.

    Raises:
        ExportError: the export is incomplete, or was trained on another table.
        ConfigError: no price weight reaches the target.
    """
    about = manifest.verify(settings.export)
    ours = sorted(manifest.digest(file) for file in files(settings.records))
    if hashes(about)["data"] != ours:
        raise ExportError(
            expected=f"the table that {settings.export} was trained on, whose validation queries it has not learned",
            found=f"another one in {settings.records}",
            do="give records=… of the training run, or train on this table",
        )
    router = Router.load(settings.export)
    table = contest.priced(recorded.read(settings.records, settings.pool), settings.call_prices)
    part = settings.split.parts(table.texts)[0]
    validation, test = table.take(part.val), table.take(part.test)
    on_validation = Trade.of(router.route(validation.texts), validation)
    weight, level = on_validation.choose(settings.target), settings.target.level
    checked = Trade.of(router.route(test.texts), test).figures(weight, level)
    found = {
        "price_weight": weight,
        "prices": dict(table.prices),
        "target": asdict(settings.target),
        "for": hashes(about),
        "chosen_on": on_validation.figures(weight, level),
        "held_out": checked | {"kept": kept(settings.target, checked)},
    }
    portable.extend(settings.export, lambda draft, facts: manifest.write_json(draft / manifest.CALIBRATION, found))
    return found


def kept(target: Target, found: dict[str, float]) -> bool:
    """Whether figures of other rows keep to the target too."""
    for name, most in (("mean_price", target.mean_price), ("dearest_share", target.share)):
        if most is not None:
            return found[name] <= most
    return target.no_worse_by is not None and found["worse_by_at_most"] <= target.no_worse_by
