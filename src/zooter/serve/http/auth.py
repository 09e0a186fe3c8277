"""What stands before every request: keys, limits of time and size, who may come in from a browser, and how many."""

import asyncio
import hashlib
import hmac
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zooter.errors import ConfigError
from zooter.serve.http.errors import ApiError
from zooter.serve.settings import ServeSettings, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
OPEN = ("/", "/healthz", "/readyz", "/favicon.ico")  # tell nothing that is not public
_LINGER = 2.0  # seconds that a client may go on sending a body that is refused, so that it reads the refusal


def read_keys(settings: ServeSettings) -> list[bytes]:
    """SHA-256 of each bearer key that lets clients in; empty where none is needed.

    Raises:
        ConfigError: a variable or file was named and holds no key.
    """
    found: list[str] = []
    if settings.keys_env is not None:
        found += re.split(r"[,\s]+", os.environ.get(settings.keys_env, "").strip())
    if settings.keys_file is not None:
        found += _lines(settings.keys_file)
    found = [key for key in found if key]
    if not found and (settings.keys_env or settings.keys_file):
        raise ConfigError(
            expected=f"bearer keys in {settings.keys_env or settings.keys_file}", found="none", do="put one there"
        )
    return [hashlib.sha256(key.encode()).digest() for key in found]


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(expected=f"a file with bearer keys at {path}", found=str(error), do="check it") from error


def authenticate(headers: Mapping[bytes, bytes], allowed: list[bytes]) -> bytes:
    """The fingerprint of the key that a request came with; empty where no key is needed.

    Raises:
        Refusal: 401, it has none or a wrong one.
    """
    if not allowed:
        return b""
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    given = hashlib.sha256(key.strip()).digest()
    # All keys are compared, each in constant time.
    fits = [hmac.compare_digest(given, one) for one in allowed]
    if kind.lower() != b"bearer" or not any(fits):
        raise ApiError(
            401, "expected a valid key as `Authorization: Bearer …`", "invalid_request_error", "invalid_api_key"
        )
    return given


def refuse_foreign_pages(headers: Mapping[bytes, bytes]) -> None:
    """Without keys, a page that somebody opened in a browser on this machine must not reach the server.

    Raises:
        Refusal: 403, the request comes from another site's page, or by another site's name.
    """
    host = headers.get(b"host", b"localhost").decode("latin-1")
    name = urlsplit(f"//{host}").hostname if re.fullmatch(r"[\w.:\[\]-]+", host) else None
    origin = headers.get(b"origin", b"").decode("latin-1")
    if name is None or not is_loopback(name) or (origin and origin.partition("://")[2] != host):
        raise ApiError(403, "expected a request from this machine's own pages or programs", "invalid_request_error")


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, settings: ServeSettings) -> bytes:
    """A request's body.

    Raises:
        Refusal: 413, it is too large; 408, it came too slowly.
        GoneError: the client left before it had sent all of it.
    """
    told = headers.get(b"content-length", b"0")
    if told.isdigit() and int(told) > settings.largest_body:
        raise too_large(settings)
    pieces, seen = [], 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                pieces.append(message.get("body", b""))
                seen += len(pieces[-1])
                if seen > settings.largest_body:
                    raise too_large(settings)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError as error:
        raise ApiError(
            408, f"expected the whole body within {settings.body_seconds:g} s", "invalid_request_error"
        ) from error


class ClientDisconnectedError(Exception):
    """The client has left."""


def too_large(settings: ServeSettings) -> ApiError:
    """The answer to a body over the limit."""
    return ApiError(413, f"expected a body of at most {settings.largest_body} bytes", "invalid_request_error")


async def send_error(
    refusal: ApiError, receive: Receive, send: Send, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a refusal; one that leaves a body unread lets the client finish sending for a moment, then hangs up."""
    body = refusal.body()
    hang_up = refusal.status in (408, 413)
    headers = [*refusal.headers(), (b"content-length", str(len(body)).encode()), *(more or [])]
    if hang_up:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": hang_up})
    if hang_up:
        try:
            async with asyncio.timeout(_LINGER):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
