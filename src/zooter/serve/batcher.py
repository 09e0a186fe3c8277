"""Run a router off the event loop: batches of the texts that wait while it is busy, and a deadline for each request."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zooter.data.types import Floats
from zooter.router.protocol import Router

REQUESTS_PER_TEXT = 4  # requests in the queue for each further text of a batch
SMOOTHING = 0.25  # weight of the newest batch in the average time per text
Output = tuple[Floats, Floats]
"""Probabilities of k texts over candidates (k, m) and over tags (k, t)."""


class NoDecisionError(Exception):
    """The router gave no decision; the message is one word for metrics.

    "crowded": it was clear at once, or while the request waited, that it would not be in time. "deadline": the router
    took too long. "failed": the router raised an error.
    """


@dataclass(eq=False)
class _Request:
    texts: Sequence[str]
    result: asyncio.Future[Output]
    deadline: float  # the loop's time
    alone: bool = False  # whether it goes in a batch of its own


@dataclass
class RouterBatcher:
    """Micro-batches for one router: a batch starts at once, and requests that arrive while it runs form the next.

    A batch is no larger than what can be done before its first deadline, by the average time of recent texts. Requests
    that cannot be done in time are refused as soon as that is clear, so that under overload as many decisions as
    possible are in time instead of all of them late, and nobody waits for nothing.

    Attributes:
        router: the router.
        batch: maximum number of texts in a batch.
        max_queue: maximum number of requests in the queue; further ones are refused at once.
        deadline: seconds from a request to its result.
        threads: number of batches that run at the same time.
    """

    router: Router
    batch: int
    max_queue: int
    deadline: float
    threads: int = 1
    _queue: deque[_Request] = field(default_factory=deque, init=False)
    _running: int = field(default=0, init=False)  # number of batches that run
    _seconds_per_text: float = field(default=0.0, init=False)  # average over recent batches
    _closed: bool = field(default=False, init=False)
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)  # started by the first batch

    async def route_with_tags(self, texts: Sequence[str]) -> Output:
        """Predict candidates and tags for texts.

        Args:
            texts: k texts.

        Returns:
            Probabilities over candidates (k, m) and over tags (k, t).

        Raises:
            NoDecisionError: the router fails, misses the deadline, or the queue is full.
        """
        if len(self._queue) >= self.max_queue:
            self._drop_done()
        if len(self._queue) >= self.max_queue or self._expected_wait() > self.deadline:
            raise NoDecisionError("crowded")
        loop = asyncio.get_running_loop()
        request = _Request(texts, loop.create_future(), loop.time() + self.deadline)
        self._queue.append(request)
        self._start_batches()
        try:
            async with asyncio.timeout(self.deadline):
                return await request.result
        except TimeoutError as error:
            raise NoDecisionError("deadline") from error

    def close(self) -> None:
        """Let the threads end whenever nothing waits; requests that have begun with this router may still come."""
        self._closed = True
        self._shut_down_if_idle()

    def _shut_down_if_idle(self) -> None:
        if self._closed and self._pool is not None and not self._running and not self._queue:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _expected_wait(self) -> float:
        """Return the seconds until a new request starts, by the average time of recent texts."""
        texts = sum(len(request.texts) for request in self._queue if not request.result.done())
        return texts * self._seconds_per_text / self.threads

    def _drop_done(self) -> None:
        self._queue = deque(request for request in self._queue if not request.result.done())

    def _start_batches(self) -> None:
        while self._running < self.threads and (batch := self._next_batch()):
            self._running += 1
            self._run(batch)

    def _run(self, batch: list[_Request]) -> None:
        texts = [text for request in batch for text in request.texts]
        loop = asyncio.get_running_loop()
        start = loop.time()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "decide")
        future = loop.run_in_executor(self._pool, self.router.route_with_tags, texts)
        future.add_done_callback(lambda done: self._finish(batch, done, (loop.time() - start) / len(texts)))

    def _next_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        now = asyncio.get_running_loop().time()
        # All of a batch wait for its last text, and four texts save a quarter of CPU time (int8) or a third (float32):
        # short queues are not batched, and long ones are, before they cost decisions.
        capacity = min(float(self.batch), 1.0 + len(self._queue) // REQUESTS_PER_TEXT)
        while self._queue:
            request = self._queue[0]
            in_time = now + self._seconds_per_text * len(request.texts) <= request.deadline
            # The last request is tried in any case: its texts may take less time than recent ones.
            if request.result.done() or not (in_time or batch or len(self._queue) == 1):
                self._queue.popleft()
                if not request.result.done():
                    request.result.set_exception(NoDecisionError("crowded"))
                continue
            if batch and (request.alone or batch[0].alone or len(request.texts) > capacity):
                break
            if not batch and self._seconds_per_text:
                capacity = min(capacity, (request.deadline - now) / self._seconds_per_text)
            batch.append(self._queue.popleft())
            capacity -= len(request.texts)
        return batch

    def _finish(self, batch: list[_Request], done: asyncio.Future[Any], seconds_per_text: float) -> None:
        self._running -= 1
        average = self._seconds_per_text or seconds_per_text
        self._seconds_per_text = average + (seconds_per_text - average) * SMOOTHING
        error = done.exception()
        if error is None:
            output, tags = done.result()
            start = 0
            for request in batch:
                end = start + len(request.texts)
                if not request.result.done():
                    request.result.set_result((np.asarray(output.probs[start:end]), np.asarray(tags[start:end])))
                start = end
        elif len(batch) > 1:  # one of the texts is at fault: each request is tried again by itself
            for request in batch:
                request.alone = True
            self._queue.extendleft(reversed(batch))
        elif not batch[0].result.done():
            batch[0].result.set_exception(NoDecisionError("failed"))
        self._start_batches()
        self._shut_down_if_idle()
