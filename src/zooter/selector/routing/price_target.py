"""What trades quality for price, a router's price weight or a cascade's thresholds: chosen for a target on rows that
were not trained on, and what an export says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, RouterOutput
from zooter.errors import ConfigError, ExportError
from zooter.router import manifest

GRID = np.geomspace(1e-4, 1e4, 321)  # price weights, in rewards' range per range of prices


@dataclass(frozen=True)
class CalibrationTarget:
    """What is wanted; one of the three.

    Attributes:
        mean_price: US dollars per query, at most.
        share: of the queries that the dearest candidate gets, at most.
        no_worse_by: by how much the mean reward may be below the best single candidate's, at most, with confidence
            `level`: the lowest price for which a one-sided bound says so.
    """

    mean_price: float | None = None
    share: float | None = None
    no_worse_by: float | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        given = [value for value in (self.mean_price, self.share, self.no_worse_by) if value is not None]
        if len(given) != 1 or not min(given) >= 0.0 or not 0.5 <= self.level < 1.0:
            raise ConfigError(
                expected="one of mean_price, share and no_worse_by, of 0 or more, and a level from 0.5 to below 1",
                found=repr(self),
                do="give mean_price=0.001, say",
            )


@dataclass(frozen=True)
class PriceCalibration:
    """What an export with a calibrated price weight keeps.

    Attributes:
        price_weight: rewards that a US dollar is worth.
        prices: candidate → US dollars of one call on average, with which it was chosen.
        facts: the target, the data's and the router's hashes, `chosen_on` and `held_out` figures; JSON.
    """

    price_weight: float
    prices: Mapping[str, float]
    facts: Mapping[str, Any]


def expected_rewards(choices: RouterOutput, rows: ResponseTable) -> Floats:
    """(n, m) a router's expected rewards in the columns of the rows' pool.

    Raises:
        ConfigError: the router expects none, or the rows lack candidates' prices or have candidates unknown to it.
    """
    unknown = sorted(set(rows.pool.names) - set(choices.candidates))
    unpriced = [name for name in rows.pool.names if not rows.prices[name] >= 0.0]
    if unknown or unpriced or choices.rewards is None:
        raise ConfigError(
            expected="a router with expected rewards, and rows of candidates that it knows, with their costs",
            found=f"unknown {unknown}, without a price {unpriced}" if unknown or unpriced else "no expected rewards",
            do="record `cost`, or give the pool prices; calibrate on the router's own candidates",
        )
    return choices.rewards[:, [choices.candidates.index(name) for name in rows.pool.names]]


@dataclass(frozen=True)
class PriceTradeoff:
    """What price weights do on n rows.

    Attributes:
        expected: (n, m) rewards that the router expects.
        rewards: (n, m) those that were given; NaN where none was.
        prices: (m,) US dollars of one call.
    """

    expected: Floats
    rewards: Floats
    prices: Floats

    @classmethod
    def of(cls, choices: RouterOutput, rows: ResponseTable) -> "PriceTradeoff":
        """A router's on recorded rows."""
        prices = np.array([rows.prices[name] for name in rows.pool.names])
        return cls(expected_rewards(choices, rows), rows.rewards().values, prices)

    def figures(self, weight: float, level: float = 0.95) -> dict[str, float]:
        """`figures` of the candidates that are chosen at this weight; the earlier one on a tie."""
        at = (self.expected - weight * self.prices).argmax(axis=1)
        ours, single = self.rewards[np.arange(len(at)), at], best_single_rewards(self.rewards)
        return figures(ours, single, self.prices[at], at == self.prices.argmax(), level)

    def weights(self) -> list[float]:
        """Price weights from 0 upwards."""
        reach = float(self.prices.max() - self.prices.min())
        unit = float(np.nanmax(self.rewards) - np.nanmin(self.rewards)) / reach if reach > 0 else 0.0
        return [0.0, *(unit * GRID).tolist()]

    def choose(self, target: CalibrationTarget) -> float:
        """The smallest price weight that keeps to a price or a share; the largest that is no worse by more than x.

        Raises:
            ConfigError: no price weight reaches the target.
        """
        return choose(target, self.weights(), self.figures)


def best_single_rewards(rewards: Floats) -> Floats:
    """(n,) the column of rewards (n, m) with the best mean on these rows; the earlier one on a tie."""
    counts = (~np.isnan(rewards)).sum(axis=0)
    column: Floats = rewards[:, int((np.nansum(rewards, axis=0) / np.maximum(counts, 1)).argmax())]
    return column


def figures(ours: Floats, single: Floats, prices: Floats, dearest: NDArray[np.bool_], level: float) -> dict[str, float]:
    """Mean price of a query, the dearest candidate's share, and the mean reward beside the best single candidate's on
    the same rows; queries without both rewards do not count in the latter.

    `worse_by_at_most` is the upper end of a one-sided interval of the mean difference (normal approximation).

    Args:
        ours, single: (n,) rewards; NaN where none was given.
        prices: (n,) US dollars.
        dearest: (n,) whether the dearest candidate was asked.
    """
    both = ~np.isnan(ours) & ~np.isnan(single)
    lost = (single - ours)[both]
    error = float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else np.inf
    return {
        "queries": len(ours),
        "mean_price": float(prices.mean()),
        "dearest_share": float(dearest.mean()),
        "reward": float(ours[both].mean()) if len(lost) else np.nan,
        "best_single_reward": float(single[both].mean()) if len(lost) else np.nan,
        "worse_by_at_most": float(lost.mean() + NormalDist().inv_cdf(level) * error) if len(lost) > 1 else np.inf,
    }


def choose(
    target: CalibrationTarget, settings: Sequence[float], found: Callable[[float, float], Mapping[str, float]]
) -> float:
    """The first setting that keeps to a price or a share; the last that is no worse by more than x.

    The latter goes through the settings and stops at the first whose bound fails, so that its confidence holds for the
    one that is taken (fixed-sequence testing).

    Args:
        settings: from the dearest to the cheapest.
        found: `figures` of a setting at a level.

    Raises:
        ConfigError: no setting reaches the target.
    """
    if target.no_worse_by is not None:
        return _no_worse(target.no_worse_by, settings, lambda setting: found(setting, target.level))
    what, most = ("mean_price", target.mean_price) if target.share is None else ("dearest_share", target.share)
    assert most is not None
    least = np.inf
    for setting in settings:
        here = found(setting, target.level)[what]
        least = min(least, here)
        if here <= most * (1 + 1e-9):
            return setting
    raise ConfigError(expected=f"a {what} of at most {most}", found=f"{least:.6g} at the least", do="allow more")


def _no_worse(most: float, settings: Sequence[float], found: Callable[[float], Mapping[str, float]]) -> float:
    kept = None
    for setting in settings:
        if not found(setting)["worse_by_at_most"] <= most:
            break
        kept = setting
    if kept is not None:
        return kept
    first = found(settings[0])
    raise ConfigError(
        expected=f"choices that are worse than the best single candidate by at most {most}",
        found=f"by {first['worse_by_at_most']:.4f}, as far as {first['queries']} queries can tell",
        do="allow more, calibrate on more rows, or use selector single",
    )


def load(folder: Path) -> PriceCalibration | None:
    """The price weight that an export was calibrated to; None where it was not.

    Raises:
        ExportError: the calibration has changed, or was made for another router or other data.
    """
    told = read(folder, manifest.CALIBRATION)
    return None if told is None else PriceCalibration(told["price_weight"], told["prices"], told)


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """What a calibration's file in an export says; None where there is none.

    Raises:
        ExportError: the calibration has changed, or was made for another router or other data.
    """
    if not (folder / name).is_file():
        return None
    about = manifest.verify(folder, (name,))
    told = manifest.read_json(folder / name, folder)
    if name not in about["files"] or told.get("for") != hashes(about):
        raise ExportError(
            expected=f"a calibration of this router on its own data in {folder}",
            found="one of another router, of other data, or that nobody sealed",
            do="python infer.py mode=calibrate export=… records=… again",
        )
    return told


def hashes(about: Mapping[str, Any]) -> dict[str, object]:
    """What a calibration belongs to: an export's weights, and the table that it was trained on."""
    return {"weights": about["files"].get(manifest.HEAD), "data": sorted(about["data"]["sha256"].values())}
