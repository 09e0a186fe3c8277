"""Serve until a signal ends it."""

import gc
import logging
import sys

import uvicorn

from zooter.router.onnx_router import OnnxRouter
from zooter.serve import app, service
from zooter.serve.http import protocol
from zooter.serve.service import Load
from zooter.serve.settings import ServeSettings

log = logging.getLogger(__name__)


def load(settings: ServeSettings) -> OnnxRouter:
    """The router of an export, without torch.

    Raises:
        ExportError: the export cannot be used.
    """
    return OnnxRouter.load(settings.export, precision=settings.precision)


def config(settings: ServeSettings, load: Load) -> uvicorn.Config:
    """uvicorn's settings with the application in them.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
    """
    door = app.build_app(settings, load, service.load_export(settings, load))
    return uvicorn.Config(
        door,
        host=settings.host,
        port=settings.port,
        http=protocol.protocol(settings.largest_head, settings.head_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2_048,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.drain),
    )


def run(settings: ServeSettings, load: Load) -> None:
    """Serve until SIGTERM or SIGINT, and let requests at work finish. SIGHUP reads the export again.

    Raises:
        ZooterError: the export, the pool file or a setting cannot be used.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    ready = config(settings, load)
    gc.collect()
    gc.freeze()  # what is loaded stays: looking through it for garbage took a tenth of a request's processor time
    uvicorn.Server(ready).run()
