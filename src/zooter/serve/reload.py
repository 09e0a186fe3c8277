"""Replace the served export without dropping a request: on SIGHUP, or when the watched folder has changed."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from zooter.serve import faults, service
from zooter.serve.metrics import Metrics
from zooter.serve.service import LoadedExport, RouterLoader, Service
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.replica import Replica

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int], ...]


@dataclass
class Reloader:
    """Hold the current service, and replace it by a new one once that is complete.

    Attributes:
        settings: settings of the server.
        metrics: metrics of the server.
        session: HTTP session for candidates' servers.
        load: reads the router of an export.
        current: the service that answers new requests; set by `activate`.
    """

    settings: ServeSettings
    metrics: Metrics
    session: aiohttp.ClientSession
    load: RouterLoader
    current: Service = field(init=False)
    _replicas: dict[tuple[str, str], Replica] = field(default_factory=dict, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def activate(self, export: LoadedExport) -> None:
        """Answer new requests with an export; requests in flight keep the service they began with."""
        new_service = service.make_service(export, self.settings, self.session, self._replicas)
        self.metrics.set_reference(new_service.reference, new_service.pool.names, len(new_service.router.tag_names))
        for name, upstream in new_service.upstreams.items():
            self.metrics.open_breakers.labels(name).set(upstream.is_out)
        previous = getattr(self, "current", None)
        self.current = new_service
        if previous is not None:
            previous.batcher.close()

    async def reload(self) -> bool:
        """Read the export and the pool file again.

        Returns:
            Whether they are valid. If not, whatever is wrong with them, it is logged and counted, and the current
            service stays.
        """
        async with self._lock:
            try:
                self.activate(await asyncio.to_thread(service.load_export, self.settings, self.load))
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            # Files that others write can fail any library that reads them, and the panics of those in Rust are no
            # Exception.
            except BaseException as error:  # noqa: BLE001
                faults.log_fault(log, error, "the new export is refused, the old one goes on")
                self.metrics.reloads.labels("refused").inc()
                return False
        log.info("a new export answers: %s", self.settings.export)
        self.metrics.reloads.labels("taken").inc()
        return True

    async def watch(self, interval: float) -> None:
        """Reload when a file of the export or the pool file has changed and is the same at two checks in a row.

        Args:
            interval: seconds between two checks.
        """
        previous = loaded = self._signature()
        while True:
            await asyncio.sleep(interval)
            signature = await asyncio.to_thread(self._signature)
            if signature != loaded and signature == previous:
                loaded = signature
                await self.reload()
            previous = signature

    def _signature(self) -> Signature:
        pool_files = [self.settings.pool_file] if self.settings.pool_file else []
        try:
            exports = [folder for folder in (self.settings.export, self.settings.backup) if folder]
            paths = [*(path for folder in exports for path in folder.rglob("*")), *pool_files]
        except OSError:
            paths = pool_files  # the folder cannot be read at the moment
        return tuple(sorted(state for path in paths if (state := _file_state(path)) is not None))


def _file_state(path: Path) -> tuple[str, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # deleted since it was listed
    return (str(path), stat.st_mtime_ns, stat.st_size)
