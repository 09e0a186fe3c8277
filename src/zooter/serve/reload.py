"""A new export without dropping a request: on SIGHUP, or when the watched folder has changed and come to rest."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from zooter.errors import ZooterError
from zooter.serve import service
from zooter.serve.metrics import Metrics
from zooter.serve.service import Load, LoadedExport, Service
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int], ...]


@dataclass
class Reloader:
    """Holds the service that answers now, and puts a new one in its place when that is whole."""

    settings: ServeSettings
    account: Metrics
    session: aiohttp.ClientSession
    load: Load
    current: Service = field(init=False)
    _breakers: dict[tuple[str, str], CircuitBreaker] = field(default_factory=dict, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def take(self, found: LoadedExport) -> None:
        """Answer with this from now on; requests at work go on with what they began with."""
        made = service.make_service(found, self.settings, self.session, self._breakers)
        self.account.compare_with(made.reference, made.pool.names, len(made.router.tag_names))
        self.current = made

    async def reload(self) -> bool:
        """Read export and pool file again; whether they were good. If not, all stays as it is."""
        async with self._turn:
            try:
                found = await asyncio.to_thread(service.load_export, self.settings, self.load)
            except (ZooterError, OSError, ValueError) as error:
                log.error("the new export is refused, the old one goes on: %s", error)
                self.account.reloads.labels("refused").inc()
                return False
            self.take(found)
        log.info("a new export answers: %s", self.settings.export)
        self.account.reloads.labels("taken").inc()
        return True

    async def watch(self, every: float) -> None:
        """Reload whenever a file of the export or the pool file is another, and was so at the look before, too."""
        seen = taken = self._signature()
        while True:
            await asyncio.sleep(every)
            now = await asyncio.to_thread(self._signature)
            if now != taken and now == seen:
                taken = now
                await self.reload()
            seen = now

    def _signature(self) -> Signature:
        paths = [*self.settings.export.rglob("*"), *([self.settings.pool_file] if self.settings.pool_file else [])]
        return tuple(sorted(found for path in paths if (found := _state(path)) is not None))


def _state(path: Path) -> tuple[str, int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None  # gone since it was listed
    return (str(path), told.st_mtime_ns, told.st_size)
