"""Parse bodies where they keep nobody waiting: short ones at once, longer ones in a thread, long ones in a process."""

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.errors import ApiError

log = logging.getLogger(__name__)

INLINE_BODY = 2**14  # bytes that are parsed on the event loop, in some milliseconds at most
THREAD_BODY = 2**18  # bytes that are parsed in a thread: json holds Python's lock for milliseconds at most
MAX_TEXT = 2**16  # characters of each text of a longer body that the router and the logs get

Parse = Callable[[bytes], ChatRequest]
"""Makes a request of a body, and raises `ApiError` if it cannot be used; can be pickled."""


@dataclass
class BodyParser:
    """Parse bodies off the event loop.

    json, and what else takes tens of milliseconds for a body of megabytes, holds Python's lock all that time, so that a
    thread would stall the event loop. The process for such bodies starts with the first of them.
    """

    # One thread: two that parse would make the event loop wait for Python's lock twice as long.
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "parse"), init=False)
    _waiter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "parse-long"), init=False)
    _process: Connection | None = field(default=None, init=False)

    async def run(self, parse: Parse, body: bytes) -> ChatRequest:
        """Parse a body.

        Args:
            parse: parses it.
            body: the body.

        Raises:
            ApiError: it cannot be used; or 503, the process has ended over it, as by a lack of memory.
        """
        if len(body) <= INLINE_BODY:
            return parse(body)
        loop = asyncio.get_running_loop()
        if len(body) <= THREAD_BODY:
            return await loop.run_in_executor(self._thread, parse, body)
        return await loop.run_in_executor(self._waiter, self._parse_long, parse, body)

    def close(self) -> None:
        """Let the threads and the process end."""
        self._thread.shutdown(wait=False)
        self._waiter.submit(self._end_process)
        self._waiter.shutdown(wait=False)

    def _parse_long(self, parse: Parse, body: bytes) -> ChatRequest:
        for _ in range(2):  # it may have ended before
            if self._process is None:
                self._process = _start_process()
            try:
                self._process.send(parse)
                self._process.send_bytes(body)
                result: ChatRequest | ApiError = self._process.recv()
            except (EOFError, OSError):
                log.error("the process that parses long bodies has ended, and is started again")
                self._end_process()
                continue
            if isinstance(result, ApiError):
                raise result
            return result if result.body else replace(result, body=body)
        raise ApiError(503, "the body could not be parsed", "server_error", "overloaded", retry_after=1)

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def _start_process() -> Connection:
    """Start a process that parses, and return the connection to it; it ends with the other end of the connection."""
    context = multiprocessing.get_context("spawn")
    connection, other_end = context.Pipe()
    with other_end:
        context.Process(target=_run_process, args=(other_end,), daemon=True).start()
    return connection


def _run_process(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's signals are for the server
    while True:
        try:
            parse, body = connection.recv(), connection.recv_bytes()
        except EOFError:
            return
        try:
            chat = parse(body)
            # What the server has, or need not have, is left out.
            texts = tuple(text[:MAX_TEXT] for text in chat.texts)
            connection.send(replace(chat, texts=texts, body=b"" if chat.body == body else chat.body))
        except ApiError as error:
            connection.send(error)
