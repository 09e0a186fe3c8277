"""A router's price weight for a target, chosen on rows that it was not trained on, and what an export says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from zooter import manifest
from zooter.errors import ConfigError, ExportError
from zooter.recorded import Recorded
from zooter.types import Choices, Floats

GRID = np.geomspace(1e-4, 1e4, 321)  # price weights, in rewards' range per range of prices


@dataclass(frozen=True)
class Target:
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
class Calibration:
    """What a calibrated export keeps.

    Attributes:
        price_weight: rewards that a US dollar is worth.
        prices: candidate → US dollars of one call on average, with which it was chosen.
        facts: the target, the data's and the router's hashes, `chosen_on` and `held_out` figures; JSON.
    """

    price_weight: float
    prices: Mapping[str, float]
    facts: Mapping[str, Any]


def expected_rewards(choices: Choices, rows: Recorded) -> Floats:
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
class Trade:
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
    def of(cls, choices: Choices, rows: Recorded) -> "Trade":
        """A router's on recorded rows."""
        prices = np.array([rows.prices[name] for name in rows.pool.names])
        return cls(expected_rewards(choices, rows), rows.rewards().values, prices)

    @property
    def single(self) -> int:
        """The column of the best single candidate on these rows."""
        counts = (~np.isnan(self.rewards)).sum(axis=0)
        return int((np.nansum(self.rewards, axis=0) / np.maximum(counts, 1)).argmax())

    def figures(self, weight: float, level: float = 0.95) -> dict[str, float]:
        """Mean price of a call, the dearest candidate's share, and the mean reward beside the best single candidate's
        on the same rows; queries without both rewards do not count in the latter.

        `worse_by_at_most` is the upper end of a one-sided interval of the mean difference (normal approximation).
        """
        n = len(self.expected)
        at = (self.expected - weight * self.prices).argmax(axis=1)  # the earlier one on a tie
        ours, single = self.rewards[np.arange(n), at], self.rewards[:, self.single]
        both = ~np.isnan(ours) & ~np.isnan(single)
        lost = (single - ours)[both]
        error = float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else np.inf
        return {
            "queries": n,
            "mean_price": float(self.prices[at].mean()),
            "dearest_share": float((at == self.prices.argmax()).mean()),
            "reward": float(ours[both].mean()) if len(lost) else np.nan,
            "best_single_reward": float(single[both].mean()) if len(lost) else np.nan,
            "worse_by_at_most": float(lost.mean() + NormalDist().inv_cdf(level) * error) if len(lost) > 1 else np.inf,
        }

    def weights(self) -> list[float]:
        """Price weights from 0 upwards."""
        reach = float(self.prices.max() - self.prices.min())
        unit = float(np.nanmax(self.rewards) - np.nanmin(self.rewards)) / reach if reach > 0 else 0.0
        return [0.0, *(unit * GRID).tolist()]

    def choose(self, target: Target) -> float:
        """The smallest price weight that keeps to a price or a share; the largest that is no worse by more than x.

        The latter goes through weights from 0 upwards and stops at the first whose bound fails, so that its confidence
        holds for the one that is taken (fixed-sequence testing).

        Raises:
            ConfigError: no price weight reaches the target.
        """
        if target.no_worse_by is not None:
            return self._no_worse(target.no_worse_by, target.level)
        what, most = ("mean_price", target.mean_price) if target.share is None else ("dearest_share", target.share)
        assert most is not None
        least = np.inf
        for weight in self.weights():
            found = self.figures(weight)[what]
            least = min(least, found)
            if found <= most * (1 + 1e-9):
                return weight
        raise ConfigError(expected=f"a {what} of at most {most}", found=f"{least:.6g} at the least", do="allow more")

    def _no_worse(self, most: float, level: float) -> float:
        kept = None
        for weight in self.weights():
            if not self.figures(weight, level)["worse_by_at_most"] <= most:
                break
            kept = weight
        if kept is not None:
            return kept
        found = self.figures(0.0, level)
        raise ConfigError(
            expected=f"a router that is worse than the best single candidate by at most {most}",
            found=f"by {found['worse_by_at_most']:.4f}, as far as {found['queries']} queries can tell",
            do="allow more, calibrate on more rows, or use selector single",
        )


def load(folder: Path) -> Calibration | None:
    """What an export was calibrated to; None where it was not.

    Raises:
        ExportError: the calibration has changed, or was made for another router or other data.
    """
    if not (folder / manifest.CALIBRATION).is_file():
        return None
    about = manifest.verify(folder, (manifest.CALIBRATION,))
    told = manifest.read_json(folder / manifest.CALIBRATION, folder)
    if manifest.CALIBRATION not in about["files"] or told.get("for") != hashes(about):
        raise ExportError(
            expected=f"a calibration of this router on its own data in {folder}",
            found="one of another router, of other data, or that nobody sealed",
            do="python infer.py mode=calibrate export=… records=… again",
        )
    return Calibration(told["price_weight"], told["prices"], told)


def hashes(about: Mapping[str, Any]) -> dict[str, object]:
    """What a calibration belongs to: an export's weights, and the table that it was trained on."""
    return {"weights": about["files"].get(manifest.HEAD), "data": sorted(about["data"]["sha256"].values())}
