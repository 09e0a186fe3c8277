"""Which queries train, validate and test: a function of each query's own text.

A query's place depends on nothing but the hash of its normalised text, so that growing the set never moves a query and
copies of one text never land on both sides.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zooter.data.types import Floats, Ints
from zooter.errors import ConfigError

MOST_SALT = 59  # the hash takes a key of 64 bytes, of which five say what it is for


def normalise(text: str) -> str:
    """The text without the differences that do not make it another query: Unicode form, case, blanks."""
    # Folding can undo the composition (ΐ becomes three characters), so it is composed again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def uniform(texts: Sequence[str], salt: str) -> Floats:
    """(n,) numbers in [0, 1), one per text, the same for the same normalised text and salt everywhere."""
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for text in texts
    )
    # 53 bits fill a float64 exactly; more would round up to 1.0.
    return (np.frombuffer(digests, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2.0**53


@dataclass(frozen=True)
class Part:
    """One way to divide the queries: row numbers to train on, to validate on and to test on."""

    train: Ints
    val: Ints
    test: Ints


@dataclass(frozen=True)
class Split:
    """How queries are divided.

    Attributes:
        val: share of the queries that are not tested on which validate, in (0, 1).
        test: share of all queries that test, in (0, 1); unused with folds.
        salt: another one gives another, equally good split.
    """

    val: float = 0.1
    test: float = 0.2
    salt: str = "0"

    def __post_init__(self) -> None:
        for name in ("val", "test"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(
                    expected=f"split.{name} between 0 and 1, both excluded",
                    found=str(getattr(self, name)),
                    do=f"set split.{name} to the share of queries, such as 0.1",
                )

        if len(self.salt.encode()) > MOST_SALT:
            raise ConfigError(
                expected=f"split.salt of at most {MOST_SALT} bytes",
                found=f"{len(self.salt.encode())}",
                do="shorten it; any other text gives another split",
            )

    def parts(self, texts: Sequence[str], folds: int | None = None) -> list[Part]:
        """One part; or `folds` parts that together test every query once.

        Raises:
            ConfigError: `folds` is below 2, there are fewer queries than folds, or a part would be empty.
        """
        if folds is not None and folds < 2:
            raise ConfigError(
                expected="2 folds or more", found=f"folds={folds}", do="set folds=5, or folds=null for one split"
            )
        if folds is not None and len(texts) < folds:
            raise ConfigError(
                expected=f"at least {folds} queries for {folds} folds",
                found=f"{len(texts)} queries",
                do="set a smaller folds=… or give more queries",
            )
        is_val = self._is_val(texts)
        if folds is None:
            tests = [self.is_test(texts)]
        else:
            fold = (uniform(texts, f"test/{self.salt}") * folds).astype(int)
            tests = [fold == k for k in range(folds)]
        parts = [
            Part(np.flatnonzero(~test & ~is_val), np.flatnonzero(~test & is_val), np.flatnonzero(test))
            for test in tests
        ]
        for part in parts:
            _refuse_empty(part, len(texts))
        return parts

    def is_test(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) whether each query is tested on when there is one split."""
        return np.asarray(uniform(texts, f"test/{self.salt}") < self.test)

    def everything(self, texts: Sequence[str]) -> Part:
        """All queries train or validate and none tests: for the router that is exported after a run with folds."""
        is_val = self._is_val(texts)
        return Part(np.flatnonzero(~is_val), np.flatnonzero(is_val), np.empty(0, dtype=np.int64))

    def _is_val(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(uniform(texts, f"val/{self.salt}") < self.val)


def _refuse_empty(part: Part, n: int) -> None:
    for name in ("train", "val", "test"):
        if len(getattr(part, name)) == 0:
            raise ConfigError(
                expected=f"at least one query in the {name} part",
                found=f"none of {n}",
                do="give more queries, fewer folds, or other shares under `split`",
            )
