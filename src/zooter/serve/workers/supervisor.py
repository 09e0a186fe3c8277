"""Run several workers on one port: start again those that die, pass signals on, and end with the last of them."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from prometheus_client import multiprocess

from zooter.serve.workers.shared_memory import SharedMemory

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0  # after which a worker that dies at once is started again
_spawn = multiprocessing.get_context("spawn")  # a copy of a process with threads may wait for a lock for ever

Serve = Callable[[SharedMemory, socket.socket, Callable[[], None]], None]
"""Serves on a socket as one worker, and calls its last argument when it is ready; can be pickled."""


def run(workers: int, serve: Serve, listener: socket.socket) -> None:
    """Run workers until SIGTERM or SIGINT, and let each finish its requests. SIGHUP is passed on to each.

    All of them accept connections from one socket, so that those which nobody has accepted yet outlive any of them.

    Args:
        workers: number of workers.
        serve: serves as one worker, in a process of its own.
        listener: bound socket.

    Raises:
        SystemExit: the first worker cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="zooter-", ignore_cleanup_errors=True) as folder:
        asyncio.run(_Supervisor(workers, serve, listener, Path(folder)).run())


@dataclass
class _Supervisor:
    workers: int
    serve: Serve
    listener: socket.socket
    folder: Path
    _processes: dict[int, SpawnProcess] = field(default_factory=dict)
    _hang_ups: int = 0
    _ready: set[int] = field(default_factory=set)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Start the workers, and replace those that end, until a signal ends all of them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        # The first one by itself: what keeps it from starting is said once.
        await self._start(0)
        if 0 not in self._ready:
            self._processes[0].join()
            raise SystemExit(0 if self._stop.is_set() else self._processes[0].exitcode)
        await asyncio.gather(*(self._keep(number) for number in range(self.workers)))

    async def _keep(self, number: int) -> None:
        """Keep a worker running until the server ends."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                if number not in self._ready:
                    await self._start(number)
            except OSError as error:  # no room for a process
                log.error("worker %d cannot be started: %s", number, error)
                await self._pause(RESTART_SECONDS)
                continue
            started = loop.time()
            process = self._processes[number]
            await _readable(process.sentinel)
            process.join()
            self._ready.discard(number)
            multiprocess.mark_process_dead(number, str(self.folder))  # type: ignore[no-untyped-call]
            if not self._stop.is_set():
                log.error("worker %d (%d) has ended (%s) and is started again", number, process.pid, _reason(process))
                await self._pause(started + RESTART_SECONDS - loop.time())

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the server is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stop.wait()

    async def _start(self, number: int) -> None:
        """Start a worker, and return when it is ready or has ended."""
        receiver, sender = _spawn.Pipe(duplex=False)
        memory = SharedMemory(self.folder, number, self.workers)
        process = _spawn.Process(target=_run_worker, args=(self.serve, memory, self.listener, sender))
        hang_ups = self._hang_ups
        with receiver, sender:
            process.start()
            self._processes[number] = process
            sender.close()
            await _readable(receiver.fileno())
            with suppress(EOFError):
                receiver.recv()
                self._ready.add(number)
                log.info("worker %d (%d) is ready", number, process.pid)
        if number in self._ready and self._hang_ups > hang_ups:
            _send(process, signal.SIGHUP)

    def _end(self) -> None:
        self._stop.set()
        for process in self._processes.values():
            _send(process, signal.SIGTERM)

    def _hang_up(self) -> None:
        self._hang_ups += 1
        for number in self._ready:  # one that starts would end by it; it gets the signal when it is ready
            _send(self._processes[number], signal.SIGHUP)


def _run_worker(serve: Serve, memory: SharedMemory, listener: socket.socket, ready: Connection) -> None:
    os.setsid()  # a terminal's signals are for the supervisor, which passes them on
    serve(memory, listener, lambda: ready.send(True))


def _send(process: SpawnProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if process.pid is not None and process.exitcode is None:
            os.kill(process.pid, number)


def _reason(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"status {code}" if code >= 0 else f"signal {-code}"


async def _readable(file: int) -> None:
    """Wait until something can be read from a file, or it has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(file, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(file)
