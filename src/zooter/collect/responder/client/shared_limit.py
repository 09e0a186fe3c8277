"""Share one server's limit of calls at a time, and its pauses after rate limits, among all processes of a cluster."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

EXCHANGE_SECONDS = 0.5  # between two exchanges of a process with the holder of the limit
LEASE_SECONDS = 30.0  # after which a process that is silent has lost its slots


@dataclass
class LimitHolder:
    """Divide a server's slots among the processes that ask it. One object of the cluster does so for each server.

    The slots that processes hold never exceed `concurrency` together: a process gets more only when others have given
    theirs back. Moments are seconds on this process's clock.

    Attributes:
        concurrency: calls at a time to the server, of all processes.
        held: process → slots that it holds.
        seen: process → moment of its last exchange.
        resume_at: moment before which nobody calls the server.
    """

    concurrency: int
    held: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    resume_at: float = 0.0

    def exchange(
        self, process: str, in_use: int, demand: int, pause: float, now: float | None = None
    ) -> tuple[int, float]:
        """Renew the slots of one process.

        Args:
            process: any name of its own.
            in_use: calls that it has under way; it keeps at least so many slots.
            demand: calls under way and waiting.
            pause: seconds for which the server has asked it to wait; 0 for none.
            now: the present moment; None reads the clock.

        Returns:
            The slots that it holds now, and the seconds left of the longest pause of any process.
        """
        now = time.monotonic() if now is None else now
        for other in [name for name, moment in self.seen.items() if now - moment > LEASE_SECONDS]:
            del self.held[other], self.seen[other]
        self.held.pop(process, None)
        self.resume_at = max(self.resume_at, now + pause)
        share = max(1, self.concurrency // (len(self.held) + 1))
        free = max(0, self.concurrency - sum(self.held.values()))
        granted = max(in_use, min(demand, share, free))
        if demand:
            self.held[process], self.seen[process] = granted, now
        else:
            self.seen.pop(process, None)
        return granted, max(0.0, self.resume_at - now)


Exchange = Callable[[int, int, float], Awaitable[tuple[int, float]]]  # `LimitHolder.exchange` of one process


@dataclass
class SharedSlots:
    """The slots of this process: an asynchronous context for one call, as a semaphore is.

    Attributes:
        exchange: asks the holder of the limit.
        pause: returns the seconds for which this process has to wait for the server, and 0 for none.
        on_pause: is told the seconds left of a pause of any process.
    """

    exchange: Exchange
    pause: Callable[[], float]
    on_pause: Callable[[float], None]
    granted: int = 0
    in_use: int = 0
    waiting: int = 0
    renewed_at: float = 0.0
    renewal: "asyncio.Task[None] | None" = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> None:
        self.waiting += 1
        if self.renewal is None or self.renewal.done():
            self.renewal = asyncio.create_task(self._renew())
        try:
            async with self.changed:
                await self.changed.wait_for(self._has_slot)
            self.in_use += 1
        finally:
            self.waiting -= 1

    async def __aexit__(self, *error: object) -> None:
        self.in_use -= 1
        async with self.changed:
            self.changed.notify()

    def _has_slot(self) -> bool:
        is_leased = time.monotonic() - self.renewed_at < LEASE_SECONDS / 2
        return is_leased and self.in_use < self.granted

    async def _renew(self) -> None:
        """Renew the slots while calls are under way or waiting, then give them back."""
        while True:
            demand = self.in_use + self.waiting
            asked_at = time.monotonic()
            self.granted, pause = await self.exchange(self.in_use, demand, self.pause())
            self.renewed_at = asked_at
            if pause:
                self.on_pause(pause)
            async with self.changed:
                self.changed.notify_all()
            if not demand:
                return
            await asyncio.sleep(EXCHANGE_SECONDS if self.granted else EXCHANGE_SECONDS / 5)


_exchange_of: Callable[[str, int], Exchange] | None = None


def share_limits(exchange_of: Callable[[str, int], Exchange] | None) -> None:
    """Let all endpoints of this process share their limits with other processes.

    Args:
        exchange_of: (address, concurrency) → exchange with the holder of that server's limit; None ends the sharing.
    """
    global _exchange_of
    _exchange_of = exchange_of


def shared_exchange(address: str, concurrency: int) -> Exchange | None:
    """Return the exchange for a server, or None where limits are this process's own.

    Args:
        address: of the server.
        concurrency: calls at a time to it.
    """
    return None if _exchange_of is None else _exchange_of(address, concurrency)
