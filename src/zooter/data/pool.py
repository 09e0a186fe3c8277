"""Who can answer, in which column, at what price."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from zooter.errors import ConfigError

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # in capitals: some keys (gsk_…, hf_…) could pass for a name otherwise


@dataclass(frozen=True)
class Candidate:
    """A model that may answer: its name, its price, and, for live runs, how it is reached.

    Attributes:
        price: US dollars per million tokens, of both kinds; None when it is not known.
        input_price, output_price: where the two kinds differ.
        model: hub id or folder, or what the server calls it; None when that is `name`.
        revision: hub commit or tag.
        template: the whole text that is given to a local model, with `{query}` and optionally `{system}` in it, in
            place of its tokenizer's chat template.
        url: base URL of an OpenAI-compatible server, such as http://localhost:8000/v1.
        key_env: name of the environment variable with that server's key; None for a server that wants none.
        timeout: seconds until its server begins to answer, when it is served; None is the server's own setting.
        extra: further parameters in the body of each call, such as {reasoning_effort: low}.
    """

    name: str
    price: float | None = None
    input_price: float | None = None
    output_price: float | None = None
    model: str | None = None
    revision: str | None = None
    template: str | None = None
    url: str | None = None
    key_env: str | None = None
    timeout: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("price", "input_price", "output_price"):
            value = getattr(self, kind)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
                raise ConfigError(expected="prices of 0 or more", found=f"{value!r} for {self.name!r}", do="correct it")
        if self.template is not None and "{query}" not in self.template:
            raise ConfigError(
                expected=f"{{query}} in the template of {self.name!r}", found=repr(self.template), do="add it"
            )
        # Neither value is shown: the likeliest mistake is a key in place of its variable's name.
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            raise ConfigError(
                expected=f"the name of an environment variable as key_env of {self.name!r}",
                found="something else (not shown: it may be a key)",
                do="put the key into a variable and give the variable's name",
            )
        if self.url is not None and not re.fullmatch(r"https?://[^@?#\s]+", self.url):
            raise ConfigError(
                expected=f"http(s)://HOST/PATH without user, password or query as url of {self.name!r}",
                found="something else (not shown: it may hold a key)",
                do="correct it, and give keys by key_env",
            )

    def mean_price(self) -> float | None:
        """One price per million tokens, for comparing candidates: `price`, or the mean of both kinds."""
        if self.input_price is None or self.output_price is None:
            return self.price
        return (self.input_price + self.output_price) / 2

    def cost(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """US dollars of one response; None when a price or a count is not known."""
        prices = (
            self.price if self.input_price is None else self.input_price,
            self.price if self.output_price is None else self.output_price,
        )
        if None in prices or input_tokens is None or output_tokens is None:
            return None
        return (prices[0] * input_tokens + prices[1] * output_tokens) / 1e6  # type: ignore[operator]


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
            if price is None:
                raise ConfigError(expected="prices of 0 or more", found=f"None for {name!r}", do="correct it")
        return cls(tuple(Candidate(name, prices.get(name)) for name in names))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    def to_rows(self) -> list[dict[str, object]]:
        """One JSON-ready row per candidate, in column order: what an export tells, not how a candidate is reached."""
        return [{"name": candidate.name, "price": candidate.price} for candidate in self.candidates]

    def digest(self) -> str:
        """A fingerprint of the names and their order; prices may change without making it another pool."""
        return hashlib.sha256(json.dumps(self.names).encode()).hexdigest()


def pool_from_settings(candidates: Mapping[str, Mapping[str, Any] | None]) -> Pool:
    """A pool from settings: name → the other fields of `Candidate`; null for none of them.

    Raises:
        ConfigError: a field is unknown or cannot be used.
    """
    known = {f.name for f in fields(Candidate)} - {"name"}
    for name, values in candidates.items():
        unknown = sorted(set(values or {}) - known)
        if unknown:
            raise ConfigError(
                expected=f"keys of pool.candidates.{name} among {sorted(known)}", found=f"{unknown}", do="correct them"
            )
    return Pool(tuple(Candidate(name, **(values or {})) for name, values in candidates.items()))
