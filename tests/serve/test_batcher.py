"""Decisions in batches, in time or not at all."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from support.fake_router import FakeRouter

from zooter.data.types import Floats, RouterOutput
from zooter.serve.batcher import NoDecisionError, RouterBatcher


@dataclass
class Timed(FakeRouter):
    """Takes so many seconds per text, and notes its batches."""

    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)

    def look(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        self.batches.append(len(texts))
        time.sleep(self.seconds * len(texts))
        return super().look(texts)


def decided(decider: RouterBatcher, texts: list[str], gap: float = 0.0) -> list[str]:
    """What becomes of requests that come one after the other: a candidate's name, or why there is none."""

    async def one(text: str) -> str:
        try:
            probs, tags = await decider.look([text])
        except NoDecisionError as error:
            return str(error)
        assert (probs.shape, tags.shape) == ((1, 3), (1, 2))
        return decider.router.pool.names[int(np.argmax(probs[0]))]

    async def all_of_them() -> list[str]:
        tasks = []
        for text in texts:
            tasks.append(asyncio.create_task(one(text)))
            await asyncio.sleep(gap)
        return await asyncio.gather(*tasks)

    return asyncio.run(all_of_them())


def test_the_more_wait_while_the_router_works_the_more_go_in_one_batch(tmp_path: Path) -> None:
    router = Timed(tmp_path, seconds=0.01)
    names = ["small", "large", "tiny"] * 8
    assert decided(RouterBatcher(router, batch=32, waiting=100, deadline=20.0), names) == names
    assert router.batches == [1, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]  # 1 + a text for every 8 that wait


def test_a_batch_is_no_larger_than_allowed(tmp_path: Path) -> None:
    router = Timed(tmp_path)
    decided(RouterBatcher(router, batch=2, waiting=100, deadline=20.0), ["large"] * 25)
    assert max(router.batches) == 2
    assert sum(router.batches) == 25


def test_under_too_much_load_many_decisions_are_in_time_instead_of_all_late(tmp_path: Path) -> None:
    # 100 a second come and 50 a second can be decided; batches of 32 would each take six times the deadline.
    router = Timed(tmp_path, seconds=0.02)
    found = decided(RouterBatcher(router, batch=32, waiting=1_000, deadline=0.1), ["large"] * 100, gap=0.01)
    assert set(found) == {"large", "deadline"}
    assert found.count("large") > 25
    assert max(router.batches[4:]) <= 5


def test_as_many_decisions_at_a_time_as_there_are_threads(tmp_path: Path) -> None:
    class Together(FakeRouter):
        """Decides nothing until two texts are there at once."""

        both = threading.Barrier(2)

        def look(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
            self.both.wait(10.0)
            return super().look(texts)

    names = ["small", "large", "tiny", "large"]
    assert decided(RouterBatcher(Together(tmp_path), batch=1, waiting=100, deadline=20.0, threads=2), names) == names
    failing = ["broken for large", "broken", "small", "tiny"]  # each takes a thread of its own again
    found = decided(RouterBatcher(FakeRouter(tmp_path), batch=8, waiting=100, deadline=20.0, threads=2), failing)
    assert found == ["failed", "failed", "small", "tiny"]


def test_more_than_may_wait_are_refused_at_once(tmp_path: Path) -> None:
    router = Timed(tmp_path, seconds=0.05)
    found = decided(RouterBatcher(router, batch=1, waiting=3, deadline=2.0), ["large"] * 6)
    assert found == ["large"] * 4 + ["crowded"] * 2


def test_a_router_that_stalled_once_is_asked_again(tmp_path: Path) -> None:
    router = FakeRouter(tmp_path)
    decider = RouterBatcher(router, batch=32, waiting=100, deadline=0.1)
    assert decided(decider, ["slow", "large"], gap=0.6) == ["deadline", "large"]


@pytest.mark.parametrize("text", ["broken", "broken for large"])
def test_a_text_that_fails_alone_fails_only_itself(tmp_path: Path, text: str) -> None:
    router = Timed(tmp_path, seconds=0.01)
    found = decided(RouterBatcher(router, batch=32, waiting=100, deadline=2.0), ["small", "large", text, "tiny"])
    assert found == ["small", "large", "failed", "tiny"]
