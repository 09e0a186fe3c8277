"""Which texts a conversation is routed by, and where it stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.serve.affinity import SessionAffinity, with_context
from zooter.serve.workers.shared_memory import SharedMemory


@pytest.mark.parametrize(
    ("texts", "routed"),
    [
        (["yes"], "yes"),
        (["Write me a poem", "continue"], "Write me a poem\ncontinue"),
        (["Write me a poem", "yes", "go on!"], "Write me a poem\ngo on!"),
        (["Write me a poem", "What is 17 * 3?"], "What is 17 * 3?"),
        (["Write me a poem", "\u7ee7\u7eed"], "Write me a poem\n\u7ee7\u7eed"),  # "continue"
        (["Write me a poem", "\u6cd5\u56fd\u7684\u9996\u90fd"], "\u6cd5\u56fd\u7684\u9996\u90fd"),  # a question
        (["Write me a poem", "x" * 41], "x" * 41),
        (["Write me a poem", "?!"], "Write me a poem\n?!"),
        ([], None),
    ],
)
def test_a_follow_up_of_up_to_three_words_is_routed_with_the_longer_text_before_it(
    texts: list[str], routed: str | None
) -> None:
    assert (with_context(texts) or [None])[-1] == routed


@given(st.lists(st.text(max_size=60), max_size=8))
def test_every_text_stays_in_its_place(texts: list[str]) -> None:
    routed = with_context(texts)
    assert len(routed) == len(texts)
    assert all(now == text or now.endswith("\n" + text) for now, text in zip(routed, texts, strict=True))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_every_worker_knows_who_answered_a_conversation(tmp_path: Path) -> None:
    first, second = (SessionAffinity(100, SharedMemory(tmp_path, worker, 2)) for worker in range(2))
    first.set(key(1), "small")
    assert second.get(key(1), ("small", "large")) == "small"
    second.set(key(1), "large")
    assert first.get(key(1), ("small", "large")) == "large"
    assert first.get(key(1), ("small",)) is None  # the pool has changed
    assert first.get(key(2), ("small", "large")) is None


def test_the_conversation_that_was_not_used_for_longest_makes_room() -> None:
    sessions = SessionAffinity(8)  # one set
    for number in range(8):
        sessions.set(key(number + 1), "small")
    sessions.get(key(1), ("small",))
    sessions.set(key(9), "large")
    remembered = [number for number in range(1, 10) if sessions.get(key(number), ("small", "large"))]
    assert remembered == [1, 3, 4, 5, 6, 7, 8, 9]
