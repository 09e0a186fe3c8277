"""Which candidate a conversation has been with, so that it can stay: switching loses the provider's prompt cache."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from zooter.data.types import Floats


@dataclass
class SessionAffinity:
    """Conversation → candidate, for as many conversations as there is room for; the longest unused is forgotten."""

    room: int
    _kept: OrderedDict[bytes, str] = field(default_factory=OrderedDict, init=False)

    def recall(self, key: bytes) -> str | None:
        """Who answered this conversation last."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: bytes, candidate: str) -> None:
        """Note who answered."""
        self._kept[key] = candidate
        self._kept.move_to_end(key)
        if len(self._kept) > self.room:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


def stay(probs: Floats, before: int | None, sure: float) -> int:
    """The column to choose of probs (m,): the one before, unless another's probability is larger by `sure`."""
    best = int(probs.argmax())
    if before is None or probs[best] - probs[before] >= sure:
        return best
    return before


def replay(probs: Floats, sure: float) -> int:
    """The column that a conversation is with after its turns' probs (k, m), each of which may stay or switch."""
    column: int | None = None
    for row in probs:
        column = stay(row, column, sure)
    assert column is not None
    return column


def turns(texts: Sequence[str], most: int) -> list[str]:
    """The first text and the newest ones, `most` in all."""
    return list(texts) if len(texts) <= most else [texts[0], *texts[len(texts) - most + 1 :]][:most]
