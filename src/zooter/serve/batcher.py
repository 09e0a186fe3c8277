"""Decisions off the event loop: texts that wait while the network is at work go through it together; a deadline."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zooter.data.pool import Pool
from zooter.data.types import Floats, RouterOutput

QUEUE_PER_TEXT = 8  # waiting requests, for one more text in a batch
Output = tuple[Floats, Floats]
"""Probabilities of k texts over candidates (k, m) and over tags (k, t)."""


class Router(Protocol):
    """What the server needs of a loaded export."""

    @property
    def pool(self) -> Pool:
        """The candidates, in column order."""
        ...

    @property
    def folder(self) -> Path:
        """The export."""
        ...

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The tags whose probabilities `look` gives."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the export's manifest says."""
        ...

    def route(self, texts: Sequence[str]) -> RouterOutput:
        """Choices of n texts."""
        ...

    def look(self, texts: Sequence[str]) -> tuple[RouterOutput, Floats]:
        """Choices of n texts, and the probabilities (n, t) of the tags that the export knows."""
        ...


class NoDecisionError(Exception):
    """There is no decision; the message is one word for metrics: "deadline", "failed" or "crowded"."""


@dataclass(eq=False)
class _Job:
    texts: Sequence[str]
    answer: asyncio.Future[Output]
    until: float  # the loop's time
    alone: bool = False


@dataclass
class RouterBatcher:
    """Micro-batches for one router: nobody waits for company, but who comes while it works goes in the next batch.

    A batch is no larger than what is done before its first deadline, by the time that texts have taken lately; and who
    cannot be served in time is passed over, so that under too much load as many decisions as possible are in time
    instead of all of them late.

    Attributes:
        batch: most texts in one go.
        waiting: most requests that wait; one more is refused at once.
        deadline: seconds from being asked.
        threads: batches at a time.
    """

    router: Router
    batch: int
    waiting: int
    deadline: float
    threads: int = 1
    _queue: deque[_Job] = field(default_factory=deque, init=False)
    _busy: int = field(default=0, init=False)  # batches at work
    _each: float = field(default=0.0, init=False)  # seconds of a text, averaged over the latest batches
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads, "decide")

    async def look(self, texts: Sequence[str]) -> Output:
        """What the router says of k texts.

        Raises:
            NoDecisionError: it fails, is too late, or too many wait already.
        """
        if len(self._queue) >= self.waiting:
            self._forget_the_late()
        if len(self._queue) >= self.waiting:
            raise NoDecisionError("crowded")
        loop = asyncio.get_running_loop()
        asked = _Job(texts, loop.create_future(), loop.time() + self.deadline)
        self._queue.append(asked)
        self._start()
        try:
            async with asyncio.timeout(self.deadline):
                return await asked.answer
        except TimeoutError as error:
            raise NoDecisionError("deadline") from error

    def close(self) -> None:
        """Take no more work; what the network is at goes on to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget_the_late(self) -> None:
        self._queue = deque(asked for asked in self._queue if not asked.answer.done())

    def _start(self) -> None:
        while self._busy < self.threads and (together := self._next()):
            self._busy += 1
            self._run(together)

    def _run(self, together: list[_Job]) -> None:
        texts = [text for asked in together for text in asked.texts]
        loop = asyncio.get_running_loop()
        start = loop.time()
        running = loop.run_in_executor(self._pool, self.router.look, texts)
        running.add_done_callback(lambda done: self._finish(together, done, (loop.time() - start) / len(texts)))

    def _next(self) -> list[_Job]:
        together: list[_Job] = []
        now = asyncio.get_running_loop().time()
        # Everyone in a batch waits for its last text, and a CPU gains a fifth at most: short queues are not batched.
        room = min(float(self.batch), 1.0 + len(self._queue) // QUEUE_PER_TEXT)
        while self._queue:
            asked = self._queue[0]
            in_time = now + self._each * len(asked.texts) <= asked.until
            # The last one is tried all the same: a text may not take as long as the latest ones did.
            if asked.answer.done() or not (in_time or together or len(self._queue) == 1):
                self._queue.popleft()
                continue
            if together and (asked.alone or together[0].alone or len(asked.texts) > room):
                break
            if not together and self._each:
                room = min(room, (asked.until - now) / self._each)
            together.append(self._queue.popleft())
            room -= len(asked.texts)
        return together

    def _finish(self, together: list[_Job], done: asyncio.Future[Any], each: float) -> None:
        self._busy -= 1
        self._each += (each - self._each) / 4
        error = done.exception()
        if error is None:
            choices, tags = done.result()
            start = 0
            for asked in together:
                end = start + len(asked.texts)
                if not asked.answer.done():
                    asked.answer.set_result((np.asarray(choices.probs[start:end]), np.asarray(tags[start:end])))
                start = end
        elif len(together) > 1:  # one of the texts is at fault: the others do not pay for it
            for asked in together:
                asked.alone = True
            self._queue.extendleft(reversed(together))
        elif not together[0].answer.done():
            together[0].answer.set_exception(NoDecisionError("failed"))
        self._start()
