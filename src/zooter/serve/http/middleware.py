"""Wrap the ASGI application: authentication, request id, metrics and access log."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zooter.serve.http import auth, sse
from zooter.serve.http.access_log import AccessLog
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.body import ClientDisconnectedError
from zooter.serve.http.endpoints import ENDPOINTS
from zooter.serve.http.errors import ApiError
from zooter.serve.http.keys import Keys
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings
from zooter.serve.tracing import NO_TRACING, Tracing

# Labels of metrics come from fixed sets, so that clients cannot create time series.
ROUTES = frozenset(
    ("/", "/route", "/metrics", "/healthz", "/readyz", "/openapi.json", "/favicon.ico", "/v1/models")
) | {*ENDPOINTS, "/v1/embeddings"}
MODELS = "/v1/models/"
COUNTED_ROUTES = frozenset((*ENDPOINTS, "/route"))  # which count against the limits of a key
_EVENTS = b"text/event-stream"
SECURITY_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


@dataclass
class Middleware:
    """Wrap the application.

    Attributes:
        app: the ASGI application inside.
        settings: settings of the server.
        metrics: metrics of the server.
        keys: keys that admit clients.
        access_log: None writes no access log.
        tracing: traces requests to candidates and for decisions.
    """

    app: Callable[[Scope, Receive, Send], Any]
    settings: ServeSettings
    metrics: Metrics
    keys: Keys
    access_log: AccessLog | None
    tracing: Tracing = NO_TRACING
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set, init=False)
    _ending: bool = field(default=False, init=False)

    def end_requests(self) -> None:
        """End all requests in flight with an error, because the time to shut down is over."""
        self._ending = True
        for task in self._tasks:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it; its row of the access log is `scope["zooter"]` inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        row: dict[str, Any] = {"method": scope["method"], "path": scope["path"], "request": os.urandom(16).hex()}
        if self.metrics.memory.workers > 1:
            row["worker"] = self.metrics.memory.worker
        scope["zooter"] = row
        if scope["path"] not in COUNTED_ROUTES:
            await self._answer(scope, receive, send)
            return
        with self.tracing.request(scope):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, row = time.perf_counter(), scope["zooter"]
        headers = [*SECURITY_HEADERS, (b"x-request-id", row["request"].encode())]

        async def send_with_headers(message: Any) -> None:
            """Add the headers of every response, and note status and kind in the row of the access log."""
            if message["type"] == "http.response.start":
                row["status"] = message["status"]
                row["events"] = dict(message.get("headers", ())).get(b"content-type", b"").startswith(_EVENTS) or None
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.metrics.in_flight.set(len(self._tasks))
        try:
            self._check(scope, row)
            await self.app(scope, receive, send_with_headers)
        except ApiError as error:
            row["refused"] = error.message
            await auth.send_error(error, receive, send_with_headers)
        except ClientDisconnectedError:
            row["client"] = "disconnected"
        except asyncio.CancelledError:
            if not self._ending:
                raise
            task.uncancel()
            await self._end_request(row, receive, send_with_headers)
        finally:
            self._tasks.discard(task)
            self.metrics.in_flight.set(len(self._tasks))
            self._record(row, time.perf_counter() - start)

    async def _end_request(self, row: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request that outlasts the shutdown, in the form that OpenAI's clients understand."""
        error = ApiError(503, "the server shuts down", "server_error", "shutting_down", retry_after=1)
        row["refused"] = error.message
        if "status" not in row:
            await auth.send_error(error, receive, send)
        elif row["events"]:
            await send({"type": "http.response.body", "body": sse.error_event(error.message, "shutting_down")})

    def _check(self, scope: Scope, row: dict[str, Any]) -> None:
        headers = dict(scope["headers"])
        row["client_key"] = b""
        if not self.keys.owners:
            auth.check_origin(headers)
        elif scope["path"] not in auth.PUBLIC_PATHS:
            row["client_key"] = self.keys.authenticate(headers)
            row["key"] = self.keys.name(row["client_key"])
            if scope["path"] in COUNTED_ROUTES:
                self.keys.admit(row["client_key"])

    def _record(self, row: dict[str, Any], seconds: float) -> None:
        path = row["path"]
        route = path if path in ROUTES else MODELS + "{name}" if path.startswith(MODELS) else "other"
        self.metrics.requests.labels(route, str(row.get("status", "none"))).inc()
        self.keys.spend(row.pop("client_key", b""), row.get("cost"))
        if self.access_log is not None and path not in ("/healthz", "/readyz"):
            self.access_log.write({**row, "seconds": round(seconds, 4)})
