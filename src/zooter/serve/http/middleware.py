"""The server's front door: every request passes it in, and is counted and logged on its way out."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zooter.serve.http import auth
from zooter.serve.http.access_log import AccessLog
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.errors import ApiError
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings

ROUTES = ("/", "/route", "/metrics", "/healthz", "/readyz", "/openapi.json", "/favicon.ico")
SAFE = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


@dataclass
class Middleware:
    """Wraps the application: keys, how many at once, request ids, refusals, counts, the access log.

    Attributes:
        app: the ASGI application inside.
        allowed: fingerprints of the keys that let clients in; none: everybody on this machine may come.
        log: None writes no access log.
    """

    app: Callable[[Scope, Receive, Send], Any]
    settings: ServeSettings
    account: Metrics
    allowed: list[bytes]
    log: AccessLog | None
    _at_work: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        told: dict[str, Any] = {"method": scope["method"], "path": scope["path"], "request": os.urandom(16).hex()}
        scope["zooter"] = told
        mine = [*SAFE, (b"x-request-id", told["request"].encode())]

        async def telling(message: Any) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), *mine]
            await send(message)

        self._at_work += 1
        self.account.at_work.set(self._at_work)
        try:
            self._check(scope, told)
            await self.app(scope, receive, telling)
        except ApiError as refusal:
            told["refused"] = refusal.message
            await auth.send_error(refusal, receive, telling)
        except auth.ClientDisconnectedError:
            told["client"] = "gone"
        finally:
            self._at_work -= 1
            self.account.at_work.set(self._at_work)
            self._note(told, time.perf_counter() - start)

    def _check(self, scope: Scope, told: dict[str, Any]) -> None:
        headers = dict(scope["headers"])
        told["client_key"] = b""
        if not self.allowed:
            auth.refuse_foreign_pages(headers)
        elif scope["path"] not in auth.OPEN:
            told["client_key"] = auth.authenticate(headers, self.allowed)
        if self._at_work > self.settings.at_once and scope["path"] not in auth.OPEN:
            raise ApiError(503, "expected fewer requests at once", "server_error", "overloaded", retry_after=1)

    def _note(self, told: dict[str, Any], seconds: float) -> None:
        path = told["path"]
        known = path in ROUTES or (path.startswith("/v1/") and path.count("/") <= 3 and len(path) < 40)
        route = path if known and told.get("status") != 404 else "other"
        self.account.requests.labels(route, str(told.get("status", "none"))).inc()
        told.pop("client_key", None)
        if self.log is not None and path not in ("/healthz", "/readyz"):
            self.log.write({**told, "seconds": round(seconds, 4)})
