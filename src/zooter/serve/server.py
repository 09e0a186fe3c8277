"""Run the server until a signal ends it, in one process or several."""

import asyncio
import gc
import logging
import math
import multiprocessing
import socket
import sys
from collections.abc import Callable
from functools import partial

import uvicorn

from zooter.errors import ZooterError
from zooter.router.onnx_router import OnnxRouter
from zooter.serve import app, metrics, process_log, service
from zooter.serve.http import protocol
from zooter.serve.http.middleware import Middleware
from zooter.serve.service import RouterLoader
from zooter.serve.settings import ServeSettings
from zooter.serve.workers import supervisor
from zooter.serve.workers.shared_memory import SharedMemory

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.001
END_SECONDS = 2  # for the errors of requests that the shutdown ends to be sent
NOT_STARTED = 2  # exit status of a worker whose settings or files cannot be used


class DrainingServer(uvicorn.Server):
    """Server that ends requests with an error of its own when the time to shut down is over.

    uvicorn by itself breaks their connections off then.
    """

    def __init__(self, config: uvicorn.Config, application: Middleware, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._application = application
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so; a worker ends with its supervisor, however that ended."""
        await super().startup(sockets)
        if (parent := multiprocessing.parent_process()) is not None:
            asyncio.get_running_loop().add_reader(parent.sentinel, self._end, parent.sentinel)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests in flight finish, then end those that are left."""
        seconds = self.config.timeout_graceful_shutdown or 0
        end = asyncio.get_running_loop().call_later(max(0.0, seconds - END_SECONDS), self._application.end_requests)
        await super().shutdown(sockets)
        end.cancel()

    def _end(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self.should_exit = True


def load_router(settings: ServeSettings) -> OnnxRouter:
    """Load the router of the settings' export, without torch.

    Raises:
        ExportError: the export cannot be used.
    """
    return OnnxRouter.from_export(settings.export, precision=settings.precision)


def uvicorn_config(settings: ServeSettings, load: RouterLoader, memory: SharedMemory | None = None) -> uvicorn.Config:
    """Build the application and uvicorn's configuration for it.

    Args:
        settings: settings of the server.
        load: reads the router of the export.
        memory: what this worker shares with others; None where it is the only one.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
    """
    asgi_app = app.build_app(settings, load, service.load_export(settings, load), memory)
    return uvicorn.Config(
        asgi_app,
        host=settings.host,
        port=settings.port,
        http=protocol.limited_protocol(settings.largest_head, settings.head_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2_048,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout + END_SECONDS),
    )


def run(settings: ServeSettings, load: RouterLoader) -> None:
    """Serve until SIGTERM or SIGINT, and let requests in flight finish.

    SIGHUP reads the export, the pool file and the clients' keys again, and opens the access log again.

    Args:
        settings: settings of the server.
        load: reads the router of the export; with several workers, one that can be pickled.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
        SystemExit: the same for the first of several workers, which has logged it.
    """
    with process_log.to_stderr():
        if settings.workers == 1:
            _serve(settings, load, SharedMemory())
            return
        with uvicorn.Config("", settings.host, settings.port, log_config=None).bind_socket() as listener:
            supervisor.run(settings.workers, partial(_serve_as_worker, settings, load), listener)


def _serve_as_worker(
    settings: ServeSettings,
    load: RouterLoader,
    memory: SharedMemory,
    listener: socket.socket,
    on_start: Callable[[], None],
) -> None:
    with process_log.to_stderr():
        metrics.share(memory)
        try:
            _serve(settings, load, memory, [listener], on_start)
            return
        except ZooterError as error:
            log.error("%s: %s", type(error).__name__, error)
    raise SystemExit(NOT_STARTED)


def _serve(
    settings: ServeSettings,
    load: RouterLoader,
    memory: SharedMemory,
    listeners: list[socket.socket] | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    config = uvicorn_config(settings, load, memory)
    assert isinstance(config.app, Middleware)
    # A thread that computes in Python holds its lock for this long before the event loop gets its turn.
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # garbage collection of what is loaded took a tenth of a request's processor time
    DrainingServer(config, config.app, on_start).run(listeners)
