"""One candidate's server: a call to it, and what can go wrong before and after its answer begins."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aiohttp

from zooter.data.pool import Candidate
from zooter.errors import ConfigError
from zooter.serve.http import sse
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.circuit_breaker import CircuitBreaker

PASSED_ON = ("content-type", "retry-after", "openai-processing-ms", "openai-version")
LARGEST_ERROR = 2**20
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class UpstreamError(Exception):
    """A candidate's server did not answer as it should.

    Attributes:
        kind: a word for metrics: "refused", "timeout", "reset", "status", "malformed", "too_large".
        status, headers, body: its HTTP answer where there was one, without its key.
        retry_after: seconds that it asks to wait.
        again: whether another candidate may do better.
    """

    def __init__(
        self,
        kind: str,
        words: str,
        status: int | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
        retry_after: float | None = None,
        again: bool = True,
    ) -> None:
        super().__init__(words)
        self.kind, self.status, self.headers, self.body = kind, status, headers or [], body
        self.retry_after, self.again = retry_after, again


@dataclass(frozen=True)
class UpstreamResponse:
    """A good answer that has begun.

    Attributes:
        whole: all of its body; or None, and then
        told: the same as an object.
        first: its first whole events, and
        rest: those that follow as they come; raises `UpstreamError`.
        close: hangs up, if anything is still to come.
    """

    headers: list[tuple[bytes, bytes]]
    whole: bytes | None
    told: dict[str, Any]
    first: bytes
    rest: AsyncIterator[bytes] | None
    close: Callable[[], None]


@dataclass(frozen=True)
class UpstreamClient:
    """How one candidate is reached, and whether it is worth trying.

    Attributes:
        key: its server's; None where it wants none.
    """

    candidate: Candidate
    settings: ServeSettings
    breaker: CircuitBreaker
    session: aiohttp.ClientSession
    key: str | None

    @cached_property
    def extra(self) -> dict[str, str]:
        """Members that every request gets unless it has them: name → JSON."""
        return {name: json.dumps(value) for name, value in self.candidate.extra.items()}

    async def ask(self, chat: ChatRequest) -> UpstreamResponse:
        """Call it, and return when its answer has begun.

        Raises:
            UpstreamError: it has not.
        """
        candidate = self.candidate
        body = chat.body(candidate.model or candidate.name, self.extra)
        # An answer is passed on as it is, so nothing is asked for that would have to be unpacked.
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            async with asyncio.timeout(candidate.timeout or self.settings.first_byte) as limit:
                response = await self.session.post(self._address(), data=body, headers=headers, allow_redirects=False)
                with ExitStack() as unless_it_begins:
                    unless_it_begins.callback(response.close)
                    answer = await self._begin(response, chat.stream, limit)
                    unless_it_begins.pop_all()
                return answer
        except _BROKEN as error:
            raise _broken(error) from error

    def _address(self) -> str:
        return f"{str(self.candidate.url).rstrip('/')}/chat/completions"

    async def _begin(self, response: aiohttp.ClientResponse, stream: bool, limit: asyncio.Timeout) -> UpstreamResponse:
        headers = [
            (name.encode(), self._clean(value.encode()))
            for name in PASSED_ON
            if (value := response.headers.get(name)) is not None
        ]
        if not 200 <= response.status < 300:
            raise await self._refused(response, headers)
        # Nothing packed was asked for, and what it unpacks to may have no end.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise UpstreamError("malformed", "a packed answer")
        if stream and response.content_type == "text/event-stream":
            pieces = self._pieces(response)
            first = await anext(pieces, b"")
            if not first:
                raise UpstreamError("malformed", "a stream without an event")
            return UpstreamResponse(headers, None, {}, first, pieces, response.close)
        begin = await response.content.readany()
        limit.reschedule(asyncio.get_running_loop().time() + self.settings.total)
        whole = self._clean(begin + await _read(response, self.settings.largest_reply, self.settings.idle))
        told = sse.as_object(whole)
        if told is None:
            raise UpstreamError("malformed", "an answer that is no JSON object")
        return UpstreamResponse(headers, whole, told, b"", None, response.close)

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Whole events as they come; what comes in between is kept back, so that a cut never leaves half of one."""
        held, seen = b"", 0
        iterator = response.content.iter_any().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self.settings.idle):
                    piece = await anext(iterator, None)
            except _BROKEN as error:
                raise _broken(error) from error
            if piece is None:
                break
            seen += len(piece)
            held += piece
            end = sse.boundary(held)
            if end:
                yield self._clean(held[:end])
                held = held[end:]
            if len(held) > sse.LARGEST:
                raise UpstreamError("malformed", f"an event of more than {sse.LARGEST} bytes")
            if seen > self.settings.largest_reply:
                raise UpstreamError("too_large", f"an answer of more than {self.settings.largest_reply} bytes")
        if held:
            yield self._clean(held)

    async def _refused(self, response: aiohttp.ClientResponse, headers: list[tuple[bytes, bytes]]) -> UpstreamError:
        status = response.status
        body = b"" if status < 400 else self._clean(await _read(response, LARGEST_ERROR, self.settings.idle))
        # What a client got wrong is wrong everywhere; all else another candidate may do better.
        again = status not in (400, 409, 413, 415, 422)
        retry_after = sse.seconds(response.headers.get("retry-after"))
        return UpstreamError("status", f"HTTP {status}", status, headers, body, retry_after, again)

    def _clean(self, words: bytes) -> bytes:
        """Without this server's key, which some servers repeat in their complaints."""
        key = self.key.encode() if self.key else b""
        return words.replace(key, b"***") if key and key in words else words


def key_of(candidate: Candidate) -> str | None:
    """The key of a candidate's server, from the environment.

    Raises:
        ConfigError: its variable is not set.
    """
    if candidate.key_env is None:
        return None
    key = os.environ.get(candidate.key_env, "").strip()
    if not key:
        raise ConfigError(
            expected=f"a key in the environment variable {candidate.key_env}, for {candidate.name!r}",
            found="none",
            do=f"export {candidate.key_env}=… and start again",
        )
    return key


async def _read(response: aiohttp.ClientResponse, largest: int, idle: float) -> bytes:
    pieces, seen = [], 0
    while not response.content.at_eof():
        async with asyncio.timeout(idle):
            piece = await response.content.readany()
        seen += len(piece)
        if seen > largest:
            raise UpstreamError("too_large", f"an answer of more than {largest} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _broken(error: Exception) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return UpstreamError("timeout", "no answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamError("refused", "no connection")
    return UpstreamError("reset", "a connection that broke")


def session(settings: ServeSettings) -> aiohttp.ClientSession:
    """The client that all candidates are called with: no cookies, no proxies, no netrc, nothing unpacked."""
    return aiohttp.ClientSession(
        # A server closes an idle connection after 5 s or more; before that it is safe to use again.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect, sock_connect=settings.connect),
        auto_decompress=False,
        skip_auto_headers=("User-Agent",),
    )
