"""The application: what is answered under which path."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from zooter.serve import service
from zooter.serve.affinity import SessionAffinity
from zooter.serve.chat import ROUTED, ChatHandler
from zooter.serve.decision import DecisionPolicy, RoutingDecision
from zooter.serve.decision_log import DecisionLog
from zooter.serve.http import auth, chat_request, openapi, page
from zooter.serve.http.access_log import AccessLog
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.errors import ApiError
from zooter.serve.http.middleware import Middleware
from zooter.serve.metrics import Metrics
from zooter.serve.reload import Reloader
from zooter.serve.service import Load, LoadedExport, Service
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream import client
from zooter.serve.upstream.circuit_breaker import RetryBudget
from zooter.serve.upstream.failover import Failover

NEAREST_TAGS = 5


@dataclass
class Application:
    """Everything that answers, from startup to shutdown."""

    settings: ServeSettings
    load: Load
    found: LoadedExport
    account: Metrics = field(default_factory=Metrics)
    keeper: Reloader = field(init=False)
    chat: ChatHandler = field(init=False)
    ready: bool = field(default=False, init=False)

    @property
    def service(self) -> Service:
        """What answers now."""
        return self.keeper.current

    @asynccontextmanager
    async def living(self, app: FastAPI) -> AsyncIterator[None]:
        """Open clients and logs, watch for new exports, and close everything in the end."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(client.session(settings))
            self.keeper = Reloader(settings, self.account, session, self.load)
            self.keeper.take(self.found)
            decisions = None
            if settings.decisions is not None:
                decisions = DecisionLog(
                    settings.decisions, settings.decisions_rows, settings.decisions_seconds, settings.decisions_bytes
                )
                stack.push_async_callback(decisions.close)
            chooser = DecisionPolicy(settings, self.account, SessionAffinity(settings.conversations))
            relay = Failover(RetryBudget(settings.retry_share, settings.retry_reserve), self.account, settings.tries)
            self.chat = ChatHandler(settings, self.account, chooser, relay, decisions)
            watching = [asyncio.create_task(self.keeper.watch(settings.watch))] if settings.watch else []
            if threading.current_thread() is threading.main_thread():
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, lambda: watching.append(loop.create_task(self._hang_up())))
            self.ready = True
            try:
                yield
            finally:
                self.ready = False
                for task in watching:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _hang_up(self) -> None:
        await self.keeper.reload()

    async def route(self, body: bytes) -> dict[str, Any]:
        """The decision for a query or a conversation, and what it rests on."""
        chat = chat_request.parse_route_request(body)
        decision = await self.chat.chooser.choose(chat, self.service, b"")
        return decision_json(decision, self.service)

    def models(self) -> dict[str, Any]:
        """What can be asked for as `model`."""
        names = [ROUTED, *(f"{ROUTED}:{name}" for name in self.service.selectors), *self.service.upstreams]
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": "zooter"} for name in names],
        }

    def metrics(self) -> bytes:
        """Counts, with the candidates' states as they are now."""
        for name, one in self.service.upstreams.items():
            self.account.out.labels(name).set(one.breaker.out)
        return self.account.text()


def decision_json(decision: RoutingDecision, service: Service) -> dict[str, Any]:
    """A decision as JSON."""
    prices = {candidate.name: candidate.mean_price() for candidate in service.pool.candidates}
    found: dict[str, Any] = {
        "candidate": decision.order[0],
        "price": prices[decision.order[0]],
        "why": decision.why,
        "fault": decision.fault,
        "order": list(decision.order),
        "prices": prices,
        "decision_ms": round(decision.seconds * 1e3, 2),
    }
    if decision.probs is not None:
        found["probabilities"] = dict(zip(service.pool.names, decision.probs.tolist(), strict=True))
    if decision.tags is not None:
        near = np.argsort(-decision.tags, kind="stable")[:NEAREST_TAGS]
        found["tags"] = {service.router.tag_names[t]: float(decision.tags[t]) for t in near}
    return found


class _Refused(Response):
    def __init__(self, refusal: ApiError) -> None:
        self.background = None
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await auth.send_error(self._refusal, receive, send)


def build_app(settings: ServeSettings, load: Load, found: LoadedExport | None = None) -> Middleware:
    """The whole application.

    Args:
        load: reads the router of an export.
        found: what has been read already; read now unless given.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
    """
    server = Application(settings, load, found or service.load_export(settings, load))
    app = FastAPI(
        title="zooter", lifespan=server.living, redirect_slashes=False, docs_url=None, redoc_url=None, openapi_url=None
    )
    _add_routes(app, server)
    text, headers = page.read_page()
    app.add_api_route("/", lambda: HTMLResponse(text, headers=headers), include_in_schema=False)
    app.add_exception_handler(ApiError, _refusal)
    app.add_exception_handler(404, _nothing_there)
    app.add_exception_handler(405, _nothing_there)
    log = None if settings.access_log is None else AccessLog(settings.access_log)

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        # Past FastAPI: the way through it takes an eighth of the event loop's time for such a request.
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", openapi.CHAT_PATH):
            await server.chat.answer(scope, receive, send, server.service)
        else:
            await app(scope, receive, send)

    return Middleware(inside, settings, server.account, auth.read_keys(settings), log)


def _add_routes(app: FastAPI, server: Application) -> None:
    async def body(request: Request) -> bytes:
        return await auth.read_body(dict(request.scope["headers"]), request.receive, server.settings)

    @app.post("/route", response_model=None, openapi_extra=openapi.ROUTE)
    async def route(request: Request) -> Response:
        return JSONResponse(await server.route(await body(request)))

    @app.get("/v1/models", response_model=None)
    async def models() -> Response:
        return JSONResponse(server.models())

    @app.get("/v1/models/{name:path}", response_model=None)
    async def model(name: str) -> Response:
        found = [one for one in server.models()["data"] if one["id"] == name]
        if not found:
            raise ApiError(404, f"no model {name[:100]!r}", "invalid_request_error", "model_not_found", "model")
        return JSONResponse(found[0])

    @app.get("/metrics", response_model=None)
    async def metrics() -> Response:
        return Response(server.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz", response_model=None)
    async def healthz() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", response_model=None)
    async def readyz() -> Response:
        return JSONResponse({"status": "ready" if server.ready else "not ready"}, 200 if server.ready else 503)

    @app.get("/openapi.json", response_model=None, include_in_schema=False)
    async def schema() -> Response:
        document = app.openapi()
        return JSONResponse(
            document | {"paths": {openapi.CHAT_PATH: {"post": openapi.CHAT}, **document["paths"]}}
        )

    @app.api_route("/v1/embeddings", methods=["GET", "POST"], response_model=None, include_in_schema=False)
    async def embeddings() -> Response:
        raise ApiError(404, openapi.NO_EMBEDDINGS, "invalid_request_error", "not_offered")


async def _refusal(request: Request, error: Any) -> Response:
    return _Refused(error)


async def _nothing_there(request: Request, error: Any) -> Response:
    words = f"{request.method} is not answered under {request.url.path[:100]}"
    return _Refused(ApiError(error.status_code, words, "invalid_request_error", "not_found"))
