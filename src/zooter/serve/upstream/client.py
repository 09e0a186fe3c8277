"""Call the servers of one candidate over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aiohttp

from zooter.data.pool import Candidate
from zooter.serve.http import sse
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.endpoints import CHAT, RESPONSES
from zooter.serve.settings import ServeSettings
from zooter.serve.tracing import NO_SPAN, CallSpan
from zooter.serve.upstream import errors
from zooter.serve.upstream.errors import UpstreamError
from zooter.serve.upstream.headers import response_headers
from zooter.serve.upstream.replica import Replica

MAX_ERROR_BYTES = 2**20
PIECE = 2**18  # bytes of a request that are sent at a time


@dataclass(frozen=True)
class UpstreamResponse:
    """A successful response that has begun: whole, or a stream of server-sent events.

    Attributes:
        headers: headers that are passed on.
        body: the whole body; None for a stream.
        completion: the body as a JSON object; empty for a stream.
        first_events: the first whole events of a stream; empty for a whole response.
        events: the further events of a stream as they arrive, which raises `UpstreamError`; None for a whole response.
        close: closes the connection if anything is still to arrive.
        span: traces a stream until it is closed.
    """

    headers: list[tuple[bytes, bytes]]
    body: bytes | None
    completion: dict[str, Any]
    first_events: bytes
    events: AsyncIterator[bytes] | None
    close: Callable[[], None]
    span: CallSpan = NO_SPAN


@dataclass(frozen=True)
class UpstreamClient:
    """Client of one candidate's servers.

    Attributes:
        candidate: the candidate, with its url.
        settings: settings of the server, for timeouts and limits.
        replicas: the candidate's servers, at least one.
        session: HTTP session.
        key: key of the candidate's servers; None if they need none.
    """

    candidate: Candidate
    settings: ServeSettings
    replicas: Sequence[Replica]
    session: aiohttp.ClientSession
    key: str | None

    @cached_property
    def extra(self) -> dict[str, str]:
        """Return the members that every chat request gets unless it has them: name → JSON."""
        return {name: json.dumps(value) for name, value in self.candidate.extra.items()}

    @property
    def is_out(self) -> bool:
        """Return whether every server of the candidate has failed and none has answered since."""
        return all(replica.breaker.is_open for replica in self.replicas)

    def wait(self) -> float:
        """Return the seconds until one of its servers is asked again; 0 if one is asked now."""
        return min(replica.breaker.wait() for replica in self.replicas)

    async def send(self, chat: ChatRequest, url: str, passed_headers: Mapping[str, str]) -> UpstreamResponse:
        """Send a request to one of the candidate's servers and return when its response has begun.

        Args:
            chat: the request.
            url: base URL of the server.
            passed_headers: headers of the client that are passed on.

        Raises:
            UpstreamError: the response has not begun.
        """
        candidate = self.candidate
        extra = self.extra if chat.endpoint == CHAT else {}  # these are members of chat completions
        parts = chat.body_parts(candidate.model or candidate.name, extra)
        size = sum(map(len, parts))
        body = b"".join(parts) if size <= PIECE else _in_pieces(parts)
        # Responses are passed on unchanged, so no compression is asked for that would have to be undone.
        headers = {**passed_headers, "content-type": "application/json", "accept-encoding": "identity"}
        headers["content-length"] = str(size)
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        target = f"{url.rstrip('/')}/{chat.endpoint}"
        try:
            async with asyncio.timeout(candidate.timeout or self.settings.first_byte) as limit:
                response = await self.session.post(target, data=body, headers=headers, allow_redirects=False)
                with ExitStack() as on_failure:
                    on_failure.callback(response.close)
                    upstream_response = await self._read_response(response, chat, limit)
                    on_failure.pop_all()
                return upstream_response
        except Exception as error:
            raise errors.call_error(error, candidate.name) from error

    async def _read_response(
        self, response: aiohttp.ClientResponse, chat: ChatRequest, limit: asyncio.Timeout
    ) -> UpstreamResponse:
        passed = response_headers(response.raw_headers, self.settings.pass_headers)
        headers = [(name, self._redact(value)) for name, value in passed]
        if not 200 <= response.status < 300:
            raise await self._status_error(response, headers)
        # No compression was asked for, and a compressed body may expand without a limit.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise UpstreamError("malformed", "a packed answer")
        if chat.stream and response.content_type == "text/event-stream":
            events = self._events(response)
            first_events = await anext(events, b"")
            if not first_events:
                raise UpstreamError("malformed", "a stream without an event")
            _refuse_error(next(iter(sse.iter_objects(first_events)), {}))
            return UpstreamResponse(headers, None, {}, first_events, events, response.close)
        start = await response.content.readany()
        limit.reschedule(asyncio.get_running_loop().time() + self.settings.total)
        body = self._redact(start + await _read_body(response, self.settings.largest_reply, self.settings.idle))
        completion = sse.parse_object(body)
        if completion is None:
            raise UpstreamError("malformed", "an answer that is no JSON object")
        _refuse_error(completion)
        key = "output" if chat.endpoint == RESPONSES else "choices"
        if not isinstance(completion.get(key), list) or (key == "choices" and not completion["choices"]):
            raise UpstreamError("malformed", f"an answer without {key}")
        return UpstreamResponse(headers, body, completion, b"", None, response.close)

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield whole events as they arrive; an incomplete one is buffered, so that a cut never leaves half of one."""
        buffer, size = b"", 0
        iterator = response.content.iter_any().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self.settings.idle):
                    piece = await anext(iterator, None)
            except Exception as error:
                raise errors.call_error(error, self.candidate.name) from error
            if piece is None:
                break
            size += len(piece)
            buffer += piece
            end = sse.last_event_end(buffer)
            if end:
                yield self._redact(buffer[:end])
                buffer = buffer[end:]
            if len(buffer) > sse.MAX_EVENT_BYTES:
                raise UpstreamError("malformed", f"an event of more than {sse.MAX_EVENT_BYTES} bytes")
            if size > self.settings.largest_reply:
                raise UpstreamError("too_large", f"an answer of more than {self.settings.largest_reply} bytes")
        if buffer:
            yield self._redact(buffer)

    async def _status_error(
        self, response: aiohttp.ClientResponse, headers: list[tuple[bytes, bytes]]
    ) -> UpstreamError:
        status = response.status
        body = b"" if status < 400 else self._redact(await _read_body(response, MAX_ERROR_BYTES, self.settings.idle))
        return errors.status_error(status, headers, body, response.headers.get("retry-after"))

    def _redact(self, data: bytes) -> bytes:
        """Replace this server's key, which some servers repeat in their error messages."""
        key = self.key.encode() if self.key else b""
        return data.replace(key, b"***") if key and key in data else data


def open_session(settings: ServeSettings) -> aiohttp.ClientSession:
    """Open the HTTP session for all candidates' servers: no cookies, proxies, netrc or decompression."""
    return aiohttp.ClientSession(
        # Servers close an idle connection after 5 s or more; before that it is safe to use again.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect, sock_connect=settings.connect),
        auto_decompress=False,
        skip_auto_headers=("User-Agent",),
    )


async def _in_pieces(parts: Iterable[bytes | memoryview]) -> AsyncIterator[memoryview]:
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]
            await asyncio.sleep(0)  # others' turn


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int, idle: float) -> bytes:
    pieces, size = [], 0
    while not response.content.at_eof():
        async with asyncio.timeout(idle):
            piece = await response.content.readany()
        size += len(piece)
        if size > max_bytes:
            raise UpstreamError("too_large", f"an answer of more than {max_bytes} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _refuse_error(answer: dict[str, Any]) -> None:
    """Raise if an answer under status 200, or a stream's first event, is an error in place of an answer."""
    if answer.get("choices") or answer.get("output") or (not answer.get("error") and answer.get("type") != "error"):
        return
    if errors.is_context_refusal(answer):
        headers = [(b"content-type", b"application/json")]
        raise UpstreamError("context", "a request too long for it", 400, headers, json.dumps(answer).encode())
    raise UpstreamError("error", "an error in place of an answer")
