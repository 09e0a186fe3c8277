"""The nouns that travel between stages. Shapes are checked when they are made.

n is the number of queries, m of candidates, t of tags.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # SciPy is slow to import, and a router that serves has no use for it
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def query_id(text: str) -> str:
    """The default id of a query: 32 hex digits of its text's hash."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Query:
    """One user text to be answered.

    Attributes:
        id: unique in its table; the hash of the text unless given.
        reference: a right answer, where one is known.
        tags: the intents and topics it is known to carry.
    """

    id: str
    text: str
    reference: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Response:
    """What a candidate wrote for a query, in one sample.

    Attributes:
        finish_reason: "stop", "length", or whatever the server said; None where it is not known.
        margin: probability gap of the two likeliest first tokens, in [0, 1]; None where it is not known.
        cost: US dollars.
        seconds: from the call to the whole answer.
        error: why there is no answer; None where there is one.
        first_tokens: up to 10 of the likeliest first tokens and their natural-log probabilities before temperature and
            top-p, likeliest first; with `Sampling.labels` the labels and theirs. None where they are not known.
    """

    query_id: str
    candidate: str
    sample: int
    text: str
    finish_reason: str | None = None
    margin: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    error: str | None = None
    first_tokens: tuple[tuple[str, float], ...] | None = None


@dataclass(frozen=True)
class Rewards:
    """What a rewarder gave: values (n, m), NaN where nothing was recorded, and whose column is whose."""

    values: Floats
    candidates: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_columns(self.values, self.candidates)
        if np.isinf(self.values).any():
            raise ValueError("rewards are finite numbers or NaN")

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(n, m): True where there is a reward."""
        return ~np.isnan(self.values)

    def take(self, rows: Ints) -> "Rewards":
        """The same columns for these rows."""
        return Rewards(self.values[rows], self.candidates)

    def column_means(self) -> Floats:
        """(m,): each candidate's mean over the queries on which it has a reward; NaN where it has none."""
        counts = self.observed.sum(axis=0)
        return np.divide(np.nansum(self.values, axis=0), counts, out=np.full(len(counts), np.nan), where=counts > 0)


@dataclass(frozen=True)
class Tags:
    """Which tags each query carries: membership (n, t), 1 where it does, and the tags' names."""

    membership: "csr_array"
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.membership.shape[1] != len(self.names):
            raise ValueError(f"{self.membership.shape[1]} tag columns and {len(self.names)} tag names")

    @classmethod
    def none(cls, n: int) -> "Tags":
        """n queries that carry no tag."""
        from scipy.sparse import csr_array

        return cls(csr_array((n, 0), dtype=np.float64), ())

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]]) -> "Tags":
        """From one sequence of names per query; columns are in alphabetical order."""
        from scipy.sparse import lil_array

        names = tuple(sorted({name for row in rows for name in row}))
        column = {name: j for j, name in enumerate(names)}
        membership = lil_array((len(rows), len(names)), dtype=np.float64)
        for i, row in enumerate(rows):
            for name in row:
                membership[i, column[name]] = 1.0
        return cls(membership.tocsr(), names)

    def take(self, rows: Ints) -> "Tags":
        """The same tags for these rows."""
        return Tags(self.membership[rows], self.names)


@dataclass(frozen=True)
class Labels:
    """Target distributions: values (n, m), rows sum to 1, exactly 0 where the reward is missing."""

    values: Floats
    candidates: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_columns(self.values, self.candidates)
        if not np.allclose(self.values.sum(axis=1), 1.0):
            raise ValueError("every row of labels sums to 1")


@dataclass(frozen=True)
class RouterOutput:
    """What a router says: probs (n, m), rows sum to 1; the candidate with the largest one is chosen.

    Attributes:
        rewards: (n, m) the reward expected of each candidate, for trading it against a price; None if not estimated.
    """

    probs: Floats
    candidates: tuple[str, ...]
    rewards: Floats | None = None

    def __post_init__(self) -> None:
        _check_columns(self.probs, self.candidates)
        if self.rewards is not None:
            _check_columns(self.rewards, self.candidates)

    def names(self) -> list[str]:
        """(n,) names of the chosen candidates; the earlier column wins a tie."""
        return [self.candidates[j] for j in self.probs.argmax(axis=1)]


def _check_columns(values: Floats, candidates: tuple[str, ...]) -> None:
    if values.ndim != 2 or values.shape[1] != len(candidates):
        raise ValueError(f"an array of shape {values.shape} for {len(candidates)} candidates")
