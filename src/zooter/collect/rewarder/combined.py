"""Several rewarders as one: each standardised over the training rewards, then their weighted mean."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from zooter.collect.rewarder.protocol import Rewarder
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scale:
    """A part's rewards over the training responses: mean, and standard deviation above 0."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class CombinedRewarder:
    """Σ weight · (reward − mean) / deviation over the parts, divided by Σ weight.

    A logit of a reward model and a judge's mark out of ten have nothing in common but their order, so each is put on
    the scale of its own training rewards first. The scales are learned once, by `fit`, and are part of the identity.

    Attributes:
        parts: name → rewarder.
        weights: name → weight above 0; 1 where none is given.
        partial: what a response gets that some part has no reward for: false none, true the mean of the others.
        scales: name → what `fit` found; empty before.
    """

    parts: Mapping[str, Rewarder]
    weights: Mapping[str, float] = field(default_factory=dict)
    partial: bool = False
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted({*self.weights, *self.scales} - set(self.parts))
        if not self.parts or unknown:
            raise ConfigError(
                expected=f"rewarder.weights and scales for parts among {list(self.parts)}",
                found=f"{unknown}",
                do="correct the names, and give at least one part",
            )
        if not all(weight > 0 for weight in self.weights.values()):
            raise ConfigError(
                expected="rewarder.weights above 0", found=str(dict(self.weights)), do="leave the part out instead"
            )

    def identity(self) -> Mapping[str, object]:
        """The parts' identities, weights and scales."""
        return {
            "rewarder": "combined", "partial": self.partial,
            "parts": {
                name: [dict(part.identity()), self._weight(name), vars(self.scales[name]) if self.scales else None]
                for name, part in self.parts.items()
            },
        }  # fmt: skip

    def fit(self, queries: Sequence[Query], responses: Sequence[Response]) -> "CombinedRewarder":
        """The same with the scales of these (training) responses."""
        return self.with_scales(self.by_part(queries, responses))

    def with_scales(self, rewards: Mapping[str, Floats], train: NDArray[np.bool_] | None = None) -> "CombinedRewarder":
        """The same with the scales of rewards at hand, such as recorded ones.

        Args:
            rewards: part → rewards of any shape, NaN where there is none.
            train: the first axis' rows to learn from; None takes all.

        Raises:
            ConfigError: a part gives all training responses the same reward, or none.
        """
        scales = {}
        for name in self.parts:
            values = rewards[name] if train is None else rewards[name][train]
            values = values[~np.isnan(values)]
            deviation = float(values.std()) if len(values) else 0.0
            # The deviation of equal numbers is rounding error, not exactly 0.
            if not deviation > 1e-12 * max(1.0, float(np.abs(values).max(initial=0.0))):
                raise ConfigError(
                    expected=f"training rewards of {name!r} that differ",
                    found=f"{len(values)} rewards, all alike",
                    do=f"leave {name!r} out of rewarder.parts",
                )
            scales[name] = Scale(float(values.mean()), deviation)
            log.info("%s: mean %.4g, deviation %.4g over %d rewards", name, scales[name].mean, deviation, len(values))
        return replace(self, scales=scales)

    def by_part(self, queries: Sequence[Query], responses: Sequence[Response]) -> dict[str, Floats]:
        """Part → (n,) its own rewards, as it gave them."""
        return {name: part.reward(queries, responses) for name, part in self.parts.items()}

    def combine(self, rewards: Mapping[str, Floats]) -> Floats:
        """One array of the parts' shape: their weighted mean, each on its own scale; NaN as `partial` says."""
        if set(self.scales) != set(self.parts):
            raise ConfigError(
                expected=f"rewarder.scales for {list(self.parts)}", found=f"{list(self.scales)}", do="call fit first"
            )
        names = list(self.parts)
        scaled = np.stack([(rewards[n] - self.scales[n].mean) / self.scales[n].deviation for n in names])
        there = ~np.isnan(scaled)
        weights = np.array([self._weight(name) for name in names]).reshape(-1, *[1] * (scaled.ndim - 1)) * there
        enough = there.any(axis=0) if self.partial else there.all(axis=0)
        total = (weights * np.where(there, scaled, 0.0)).sum(axis=0)
        return np.divide(total, weights.sum(axis=0), out=np.full(total.shape, np.nan), where=enough)

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,) combined rewards, in standard deviations of the training rewards.

        Raises:
            ConfigError: before `fit`; and whatever a part raises.
        """
        return self.combine(self.by_part(queries, responses))

    def _weight(self, name: str) -> float:
        return float(self.weights.get(name, 1.0))
