"""Keep a conversation with its candidate (session affinity), because a switch loses the provider's prompt cache."""

import hashlib
import re
import struct
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache

from zooter.data.types import Floats
from zooter.serve.workers.shared_memory import SharedMemory

FOLLOW_UP_WORDS = 3
MAX_FOLLOW_UP = 40  # characters
_ENTRY = struct.Struct("=16s8sQ")  # a conversation's key, the hash of its candidate's name, the time of its last use
_SET = 8  # conversations, of which the least recently used makes room for a new one
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class SessionAffinity:
    """Map from conversation to the candidate that answered it, in memory that all workers of a server share.

    A set-associative cache (Hennessy and Patterson, Computer Architecture, appendix B): a key's hash gives the set, in
    which the least recently used entry is replaced. There is no lock: two workers that write one entry at the same
    moment can at worst lose it, or send one turn of a conversation to another candidate.

    Args:
        max_sessions: number of conversations remembered, rounded up to whole sets.
        memory: what the workers share; None where there is one.
    """

    def __init__(self, max_sessions: int, memory: SharedMemory | None = None) -> None:
        self._sets = -(-max_sessions // _SET)
        self._memory = (memory or SharedMemory()).map("conversations", self._sets * _SET * _ENTRY.size)

    def get(self, key: bytes, candidates: Iterable[str]) -> str | None:
        """Return the candidate that last answered a conversation; None if it is not remembered.

        Args:
            key: 16 bytes, a hash that identifies the conversation.
            candidates: names of the candidates of now.
        """
        for position, (entry, name, _) in self._entries(key):
            if entry == key:
                _ENTRY.pack_into(self._memory, position, key, name, time.time_ns())
                return next((candidate for candidate in candidates if _name_hash(candidate) == name), None)
        return None

    def set(self, key: bytes, candidate: str) -> None:
        """Remember the candidate that answered a conversation."""
        # Its own entry if it has one, else the one that was not used for longest.
        position, _ = min(self._entries(key), key=lambda entry: (entry[1][0] != key, entry[1][2]))
        _ENTRY.pack_into(self._memory, position, key, _name_hash(candidate), time.time_ns())

    def _entries(self, key: bytes) -> list[tuple[int, tuple[bytes, bytes, int]]]:
        """Return position and values of each entry of a key's set."""
        start = int.from_bytes(key[:8], "big") % self._sets * _SET * _ENTRY.size
        positions = range(start, start + _SET * _ENTRY.size, _ENTRY.size)
        return [(position, _ENTRY.unpack_from(self._memory, position)) for position in positions]


@lru_cache(1_024)
def _name_hash(candidate: str) -> bytes:
    return hashlib.blake2b(candidate.encode(), digest_size=8).digest()


def with_context(texts: Sequence[str]) -> list[str]:
    """Put the text that decides before each short follow-up, which says nothing about its subject by itself.

    Args:
        texts: the user's texts, in order.

    Returns:
        As many texts: one of at most `FOLLOW_UP_WORDS` words (or ideographs) follows the newest longer one before it,
        on a new line.
    """
    routed, context = [], ""
    for text in texts:
        words = _WORD.findall(text[:MAX_FOLLOW_UP])
        if len(text) <= MAX_FOLLOW_UP and len(words) <= FOLLOW_UP_WORDS and context:
            routed.append(f"{context}\n{text}")
        else:
            context = text
            routed.append(text)
    return routed


def stay_or_switch(probs: Floats, previous: int | None, switch_margin: float) -> int:
    """Choose a column of probs.

    Args:
        probs: (m,) probabilities over candidates.
        previous: column chosen in the conversation so far; None for a new conversation.
        switch_margin: difference of probabilities from which another column replaces the previous one.
    """
    best = int(probs.argmax())
    if previous is None or probs[best] - probs[previous] >= switch_margin:
        return best
    return previous


def replay(probs: Floats, switch_margin: float) -> int:
    """Choose a column for the last turn of a conversation by deciding all its turns again.

    Args:
        probs: (k, m) probabilities over candidates for each of k ≥ 1 turns.
        switch_margin: as of `stay_or_switch`.
    """
    column: int | None = None
    for row in probs:
        column = stay_or_switch(row, column, switch_margin)
    assert column is not None
    return column


def select_turns(texts: Sequence[str], max_turns: int) -> list[str]:
    """Return the first text and the newest ones, at most `max_turns` in all.

    Args:
        texts: the user's texts, the oldest first.
        max_turns: 1 or more.
    """
    return list(texts) if len(texts) <= max_turns else [texts[0], *texts[len(texts) - max_turns + 1 :]][:max_turns]
