"""Build the ASGI application: its routes, and what it holds from startup to shutdown."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import Counter
from starlette.responses import HTMLResponse, JSONResponse, Response

from zooter.errors import ConfigError
from zooter.serve import eligibility, service
from zooter.serve.affinity import SessionAffinity
from zooter.serve.chat import ChatHandler
from zooter.serve.decision import DecisionPolicy
from zooter.serve.decision_log import DecisionLog
from zooter.serve.http import auth, chat_request, openapi, page
from zooter.serve.http.access_log import AccessLog
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.body import BodyReader
from zooter.serve.http.endpoints import ENDPOINTS
from zooter.serve.http.errors import ApiError
from zooter.serve.http.keys import Keys
from zooter.serve.http.middleware import Middleware
from zooter.serve.metrics import Metrics
from zooter.serve.readiness import readiness
from zooter.serve.reload import Reloader
from zooter.serve.service import LoadedExport, RouterLoader, Service
from zooter.serve.settings import ServeSettings
from zooter.serve.tracing import NO_TRACING, Tracing
from zooter.serve.upstream import client
from zooter.serve.upstream.circuit_breaker import RetryBudget
from zooter.serve.upstream.failover import Failover
from zooter.serve.workers.shared_memory import SharedMemory


@dataclass
class Application:
    """State of the server from startup to shutdown.

    Attributes:
        settings: settings of the server.
        load: reads the router of an export.
        export: the first export to serve.
        metrics: metrics of the server.
        reloader: holds the current service; set at startup.
        chat: handler of chat requests; set at startup.
        keys: keys that admit clients.
        access_log: None writes no access log.
        memory: what this worker shares with others.
        bodies: receives and parses requests' bodies.
        tracing: traces requests.
        ready: whether startup is over and shutdown has not begun.
    """

    settings: ServeSettings
    load: RouterLoader
    export: LoadedExport
    memory: SharedMemory
    metrics: Metrics = field(init=False)
    keys: Keys = field(init=False)
    access_log: AccessLog | None = field(default=None, init=False)
    bodies: BodyReader = field(init=False)
    tracing: Tracing = field(init=False)
    reloader: Reloader = field(init=False)
    chat: ChatHandler = field(init=False)
    ready: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(memory=self.memory)
        self.keys = Keys(self.settings, self.metrics, self.memory)
        if self.settings.access_log is not None:
            self.access_log = AccessLog(self.settings.access_log, self.metrics.dropped_rows.labels("access"))
        self.bodies = BodyReader(self.settings, self.metrics)
        self.tracing = start_tracing(self.settings, self.metrics.dropped_rows.labels("traces"))

    @property
    def service(self) -> Service:
        """Return the service that answers new requests."""
        return self.reloader.current

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Open the HTTP session and the decision log, watch for new exports, and close all of it at shutdown."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            tasks = []
            if self.settings.watch:
                tasks.append(asyncio.create_task(self.reloader.watch(self.settings.watch)))
            if threading.current_thread() is threading.main_thread():
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, lambda: tasks.append(loop.create_task(self.hang_up())))
            self.ready = True
            try:
                yield
            finally:
                self.ready = False
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        session = await stack.enter_async_context(client.open_session(settings))
        stack.push_async_callback(self.tracing.close)
        stack.callback(self.bodies.parser.close)
        if self.access_log is not None:
            stack.callback(self.access_log.close)
        self.reloader = Reloader(settings, self.metrics, session, self.load)
        self.reloader.activate(self.export)
        stack.callback(lambda: self.service.batcher.close())
        decision_log = None
        if settings.decisions is not None:
            decision_log = DecisionLog(settings, self.metrics.dropped_rows.labels("decision"))
            stack.push_async_callback(decision_log.close)
        sessions = SessionAffinity(settings.conversations, self.memory)
        policy = DecisionPolicy(settings, self.metrics, sessions)
        budget = RetryBudget(settings.retry_share, settings.retry_reserve)
        failover = Failover(budget, self.metrics, settings.max_attempts, settings.hedge_after, self.tracing)
        self.chat = ChatHandler(settings, self.metrics, policy, failover, decision_log, self.bodies, self.tracing)

    async def hang_up(self) -> None:
        """Open the access log again, and read the clients' keys, the export and the pool file again."""
        if self.access_log is not None:
            self.access_log.reopen()
        self.keys.reload()
        await self.reloader.reload()

    async def route(self, request: Request) -> dict[str, Any]:
        """Decide for a query or a conversation without asking a candidate.

        Args:
            request: a request to `/route`.

        Returns:
            The decision as JSON values; see `RoutingDecision.to_json`.

        Raises:
            ApiError: the body cannot be used.
        """
        key = request.scope["zooter"]["client_key"]
        async with self.bodies.receive(dict(request.scope["headers"]), request.receive, key) as body:
            chat = await self.bodies.parser.run(chat_request.parse_route_request, body)
        service = eligibility.restrict(self.service, chat.needs, dict(request.scope["headers"]))
        decision = await self.chat.policy.decide(chat, service, b"")
        return decision.to_json(service.pool, service.router.tag_names)

    def list_models(self) -> dict[str, Any]:
        """List what clients can ask for as `model`, in OpenAI's form."""
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "zooter"} for name in self.service.model_names
        ]
        return {"object": "list", "data": models}


def start_tracing(settings: ServeSettings, lost_spans: Counter) -> Tracing:
    """Start to trace requests if the settings want it.

    Args:
        settings: settings of the server.
        lost_spans: counts spans that could not be sent.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not settings.traces:
        return NO_TRACING
    try:
        from zooter.serve.open_telemetry import OpenTelemetry
    except ImportError as error:
        do = "pip install 'zooter[otel]', or set traces to false"
        raise ConfigError(expected="OpenTelemetry for traces", found=str(error), do=do) from error
    return OpenTelemetry(lost_spans)


class _ErrorResponse(Response):
    def __init__(self, error: ApiError) -> None:
        self.background = None
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await auth.send_error(self._error, receive, send)


def build_app(
    settings: ServeSettings, load: RouterLoader, export: LoadedExport | None = None, memory: SharedMemory | None = None
) -> Middleware:
    """Build the whole ASGI application.

    Args:
        settings: settings of the server.
        load: reads the router of an export.
        export: the export to serve; None reads the one of the settings.
        memory: what this worker shares with others; None where it is the only one.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
    """
    export = export or service.load_export(settings, load)
    server = Application(settings, load, export, memory or SharedMemory())
    app = FastAPI(
        title="zooter",
        lifespan=server.lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _add_api_routes(app, server)
    _add_status_routes(app, server)
    html, headers = page.read_page()
    app.add_api_route("/", lambda: HTMLResponse(html, headers=headers), include_in_schema=False)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(404, _not_found)
    app.add_exception_handler(405, _not_found)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer chat and text requests here, and pass all others to FastAPI."""
        # Past FastAPI: its routing takes an eighth of the event loop's time for such a request.
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in ENDPOINTS:
            await server.chat.handle(scope, receive, send, lambda: server.service)
        else:
            await app(scope, receive, send)

    return Middleware(dispatch, settings, server.metrics, server.keys, server.access_log, server.tracing)


def _add_api_routes(app: FastAPI, server: Application) -> None:
    @app.post("/route", response_model=None, openapi_extra=openapi.ROUTE)
    async def route(request: Request) -> Response:
        """Choose a candidate for a query or a chat, without asking any."""
        return JSONResponse(await server.route(request))

    @app.get("/v1/models", response_model=None)
    async def models() -> Response:
        """List what a request may name as its model: the router, the selectors and the candidates."""
        return JSONResponse(server.list_models())

    @app.get("/v1/models/{name:path}", response_model=None)
    async def model(name: str) -> Response:
        """Describe one of the models that `/v1/models` lists."""
        matches = [entry for entry in server.list_models()["data"] if entry["id"] == name]
        if not matches:
            raise ApiError(404, f"no model {name[:100]!r}", "invalid_request_error", "model_not_found", "model")
        return JSONResponse(matches[0])

    @app.api_route("/v1/embeddings", methods=["GET", "POST"], response_model=None, include_in_schema=False)
    async def embeddings() -> Response:
        """Refuse: embeddings are not offered."""
        raise ApiError(404, openapi.NO_EMBEDDINGS, "invalid_request_error", "not_offered")


def _add_status_routes(app: FastAPI, server: Application) -> None:
    @app.get("/metrics", response_model=None)
    async def metrics() -> Response:
        """Report the server's metrics in Prometheus's text format."""
        body = await asyncio.to_thread(server.metrics.render)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz", response_model=None)
    async def healthz() -> Response:
        """Report that the server runs, whether it can answer requests or not."""
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", response_model=None)
    async def readyz() -> Response:
        """Report whether the server can answer requests (200) or not (503), and why."""
        ready, details = readiness(server.ready, server.service, server.metrics)
        return JSONResponse(details, 200 if ready else 503)

    @app.get("/openapi.json", response_model=None, include_in_schema=False)
    async def schema() -> Response:
        """Return the OpenAPI document, with the paths that FastAPI does not route."""
        document = app.openapi()
        return JSONResponse(document | {"paths": {**openapi.PASSED_PATHS, **document["paths"]}})


async def _api_error(request: Request, error: Any) -> Response:
    return _ErrorResponse(error)


async def _not_found(request: Request, error: Any) -> Response:
    message = f"{request.method} is not answered under {request.url.path[:100]}"
    return _ErrorResponse(ApiError(error.status_code, message, "invalid_request_error", "not_found"))
