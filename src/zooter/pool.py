"""Who can answer, in which column, at what price."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from zooter.errors import ConfigError


@dataclass(frozen=True)
class Candidate:
    """A model that may answer. `price` is in US dollars per million tokens; None when it is not known."""

    name: str
    price: float | None = None


@dataclass(frozen=True)
class Pool:
    """The ordered set of candidates. Column j of every (n, m) table belongs to `candidates[j]`."""

    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ConfigError(
                expected="every candidate once", found=f"the names {list(self.names)}", do="remove the repeated ones"
            )

    @classmethod
    def of(cls, names: Iterable[str], prices: Mapping[str, float] | None = None) -> "Pool":
        """A pool in the order of `names`.

        Raises:
            ConfigError: a price is given for a candidate that is not in the pool, or is not a number of 0 or more.
        """
        names, prices = list(names), dict(prices or {})
        for name, price in prices.items():
            if name not in names:
                raise ConfigError(
                    expected=f"prices for candidates among {names}",
                    found=f"a price for {name!r}",
                    do="correct the name under `prices`",
                )
            if not isinstance(price, int | float) or not price >= 0:
                raise ConfigError(expected="prices of 0 or more", found=f"{price!r} for {name!r}", do="correct it")
        return cls(tuple(Candidate(name, prices.get(name)) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    def to_rows(self) -> list[dict[str, object]]:
        """One JSON-ready row per candidate, in column order."""
        return [asdict(candidate) for candidate in self.candidates]

    def digest(self) -> str:
        """A fingerprint of the names and their order; prices may change without making it another pool."""
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()
