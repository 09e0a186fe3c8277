"""Collect work items of concurrent queries into batches."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from zooter.data.types import Floats, Query, Response

Item = TypeVar("Item")
Result = TypeVar("Result")
JudgeFunction = Callable[[list[Query], list[Response]], Floats]
MAX_IDLE_TURNS = 3  # turns of the event loop without a new item after which a batch departs


@dataclass
class Batcher(Generic[Item, Result]):
    """Collect posted items, and hand them over in one batch as soon as no more are posted.

    Attributes:
        work: takes a batch of items and their futures, in the same order, and settles each future.
        waiting: items of the next batch, with their futures.
        departures: running tasks, referenced so that they are not garbage-collected.
    """

    work: Callable[[list[Item], list[asyncio.Future[Result]]], Awaitable[None]]
    waiting: list[tuple[Item, asyncio.Future[Result]]] = field(default_factory=list)
    departures: set[asyncio.Task[None]] = field(default_factory=set)

    async def post(self, item: Item) -> Result:
        """Add an item to the next batch, and wait for its result.

        Raises:
            Exception: whatever ended the batch, for items whose future it had not settled.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, future))
        if len(self.waiting) == 1:
            departure = asyncio.create_task(self._depart())
            self.departures.add(departure)
            departure.add_done_callback(self.departures.discard)
        return await future

    async def _depart(self) -> None:
        size, idle_turns = 0, 0
        while idle_turns < MAX_IDLE_TURNS:
            await asyncio.sleep(0)
            idle_turns = idle_turns + 1 if len(self.waiting) == size else 0
            size = len(self.waiting)
        items, futures = zip(*self.waiting, strict=True)
        self.waiting.clear()
        work = asyncio.ensure_future(self.work(list(items), list(futures)))
        await asyncio.wait((work,))
        # An error or a cancellation of the work must reach the items that it has not settled.
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        for future in futures:
            if error is not None and not future.done():
                future.set_exception(error)


def judge_batcher(judge: JudgeFunction) -> Batcher[tuple[Query, Response], tuple[Floats, float]]:
    """Make a batcher that judges (query, response) pairs in a worker thread.

    Args:
        judge: k queries and their k responses → k values.

    Returns:
        A batcher whose results are (value, seconds per item of the batch).
    """
    return Batcher(partial(_judge_in_thread, judge))


async def _judge_in_thread(
    judge: JudgeFunction,
    items: list[tuple[Query, Response]],
    futures: list[asyncio.Future[tuple[Floats, float]]],
) -> None:
    started = time.perf_counter()
    values = await asyncio.to_thread(judge, [query for query, _ in items], [response for _, response in items])
    seconds = (time.perf_counter() - started) / len(items)
    for value, future in zip(values, futures, strict=True):
        if not future.done():
            future.set_result((value, seconds))
