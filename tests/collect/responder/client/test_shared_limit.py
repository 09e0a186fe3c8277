"""One limit of calls at a time for all processes that ask a server."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from zooter.collect.responder.client import shared_limit
from zooter.collect.responder.client.shared_limit import LEASE_SECONDS, LimitHolder, SharedSlots


def test_a_single_process_gets_what_it_wants_up_to_the_limit() -> None:
    holder = LimitHolder(8)
    assert holder.exchange("a", 0, 5, 0.0, now=0.0) == (5, 0.0)
    assert holder.exchange("a", 5, 20, 0.0, now=1.0) == (8, 0.0)


def test_a_newcomer_waits_until_the_others_give_slots_back() -> None:
    holder = LimitHolder(8)
    holder.exchange("a", 0, 20, 0.0, now=0.0)
    assert holder.exchange("b", 0, 20, 0.0, now=0.1) == (0, 0.0)
    assert holder.exchange("a", 7, 20, 0.0, now=0.5) == (7, 0.0)  # its calls are under way
    assert holder.exchange("b", 0, 20, 0.0, now=0.6) == (1, 0.0)
    assert holder.exchange("a", 2, 20, 0.0, now=1.0) == (4, 0.0)
    assert holder.exchange("b", 1, 20, 0.0, now=1.1) == (4, 0.0)


def test_the_slots_of_a_process_that_died_come_back() -> None:
    holder = LimitHolder(8)
    holder.exchange("a", 0, 20, 0.0, now=0.0)
    assert holder.exchange("b", 0, 20, 0.0, now=LEASE_SECONDS) == (0, 0.0)
    assert holder.exchange("b", 0, 20, 0.0, now=LEASE_SECONDS + 1) == (8, 0.0)


def test_a_pause_that_one_process_was_asked_for_reaches_the_others() -> None:
    holder = LimitHolder(8)
    holder.exchange("a", 1, 1, 10.0, now=0.0)
    assert holder.exchange("b", 0, 1, 0.0, now=4.0)[1] == 6.0
    assert holder.exchange("b", 0, 1, 2.0, now=5.0)[1] == 5.0
    assert holder.exchange("b", 0, 1, 0.0, now=11.0)[1] == 0.0


@given(
    st.integers(1, 9), st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12), st.floats(0, 1)), max_size=40)
)
def test_the_processes_never_hold_more_than_the_limit(limit: int, steps: list[tuple[str, int, float]]) -> None:
    holder, granted = LimitHolder(limit), dict.fromkeys("abcd", 0)
    for moment, (process, wanted, share) in enumerate(steps):
        in_use = round(granted[process] * share)
        granted[process], _ = holder.exchange(process, in_use, max(wanted, in_use), 0.0, now=moment / 10)
        assert sum(granted.values()) <= limit


def test_calls_of_several_processes_stay_within_the_limit_and_all_are_made(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(shared_limit, "EXCHANGE_SECONDS", 0.005)
    holder, rng = LimitHolder(5), random.Random(0)
    active = most = done = 0

    async def call(slots: SharedSlots) -> None:
        nonlocal active, most, done
        async with slots:
            active += 1
            most = max(most, active)
            await asyncio.sleep(rng.uniform(0, 0.004))
            active -= 1
            done += 1

    async def run() -> None:
        def slots_of(process: str) -> SharedSlots:
            async def exchange(in_use: int, wanted: int, pause: float) -> tuple[int, float]:
                return holder.exchange(process, in_use, wanted, pause)

            return SharedSlots(exchange, lambda: 0.0, lambda seconds: None)

        processes = [slots_of(name) for name in "abc"]
        await asyncio.gather(*(call(slots) for slots in processes for _ in range(30)))

    asyncio.run(asyncio.wait_for(run(), 20))
    assert done == 90
    assert most <= 5
