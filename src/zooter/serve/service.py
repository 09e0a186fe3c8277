"""Load an export and its pool file, and make a service of them: router, candidates' servers, and defaults."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from zooter.data.api_key import read_api_key
from zooter.data.pool import Pool, pool_from_settings
from zooter.data.pool_file import read_candidates
from zooter.errors import ConfigError, ExportError, ZooterError
from zooter.router.ngrams import NGRAMS
from zooter.router.protocol import Router
from zooter.selector.protocol import Selector
from zooter.serve import selector_client, selector_loading
from zooter.serve.batcher import RouterBatcher
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.circuit_breaker import CircuitBreaker
from zooter.serve.upstream.client import UpstreamClient
from zooter.serve.upstream.replica import Replica

log = logging.getLogger(__name__)

ROUTED = "zooter"  # what a request names as its model to be routed; "zooter:NAME" is a selector
REFERENCE = "reference.json"
WARM_UP_TEXT = "Is everything there?"
RouterLoader = Callable[[ServeSettings], Router]
"""Reads the router of the settings' export; raises `ExportError` if it cannot be used."""


@dataclass(frozen=True)
class Service:
    """Everything that answers requests. A new export makes a new service; requests in flight keep theirs.

    Attributes:
        router: router of the export.
        pool: candidates of the export, with the addresses and prices of the pool file.
        batcher: runs the router.
        upstreams: candidate → client of its server, for candidates with a url.
        default: candidate that answers when there is no decision.
        reference: contents of the export's `reference.json`: its mix of choices and tags in training.
        selectors: name → selector.
        eligible: candidates that a request may be routed to: those with a url, or all if none has one.
        backup: router without a transformer, for when `router` gives no decision in time; None for none.
    """

    router: Router
    pool: Pool
    batcher: RouterBatcher
    upstreams: Mapping[str, UpstreamClient]
    default: str
    reference: Mapping[str, Any]
    selectors: Mapping[str, Selector]
    eligible: tuple[str, ...]
    backup: Router | None

    @property
    def model_names(self) -> list[str]:
        """List what a request may name as its model: the router, the selectors and the candidates with a server."""
        return [ROUTED, *(f"{ROUTED}:{name}" for name in self.selectors), *self.upstreams]

    @property
    def eligible_upstreams(self) -> dict[str, UpstreamClient]:
        """Return the clients of the eligible candidates."""
        return {name: self.upstreams[name] for name in self.eligible if name in self.upstreams}


@dataclass(frozen=True)
class LoadedExport:
    """Checked contents of an export, a pool file and the environment, from which a service is made.

    Attributes:
        router: as of `Service`.
        pool: as of `Service`.
        reference: as of `Service`.
        default: as of `Service`.
        keys: candidate → key of its server (None if it needs none), for candidates with a url.
        selectors: as of `Service`.
        backup: as of `Service`.
    """

    router: Router
    pool: Pool
    reference: Mapping[str, Any]
    default: str
    keys: Mapping[str, str | None]
    selectors: Mapping[str, Selector]
    backup: Router | None


def load_export(settings: ServeSettings, load: RouterLoader) -> LoadedExport:
    """Read an export and its pool file, and make one decision as a check. Blocks: not for the event loop.

    Args:
        settings: settings of the server.
        load: reads the router.

    Raises:
        ZooterError: something is missing, changed or does not fit.
    """
    router = _load_router(settings, load)
    pool = apply_pool_file(router.pool, settings.pool_file)
    keys = {
        candidate.name: read_api_key(candidate.key_env, repr(candidate.name))
        for candidate in pool.candidates
        if candidate.url is not None
    }
    path = router.folder / REFERENCE
    reference = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    router.route_with_tags([WARM_UP_TEXT])
    default = _default_candidate(settings.default, pool, keys, reference)
    reachable = selector_client.reachable_pool(pool, keys)
    selectors = selector_loading.load_selectors(settings.selectors, router, reachable, router.folder)
    return LoadedExport(router, pool, reference, default, keys, selectors, _load_backup(settings, load, pool))


def _load_backup(settings: ServeSettings, load: RouterLoader, pool: Pool) -> Router | None:
    if settings.backup is None:
        return None
    router = _load_router(replace(settings, export=settings.backup, precision="auto"), load)
    if router.facts["encoder"]["model"] != NGRAMS:  # a transformer would hold up the event loop, which calls it
        raise ConfigError(
            expected=f"as backup an export without a transformer in {settings.backup}",
            found=f"encoder {router.facts['encoder']['model']}",
            do="train it with encoder=ngrams",
        )
    if router.pool.names != pool.names:
        raise ConfigError(
            expected=f"as backup an export of {list(pool.names)}, in this order",
            found=f"{list(router.pool.names)} in {settings.backup}",
            do="train both on the same table",
        )
    router.route([WARM_UP_TEXT])
    return router


def _load_router(settings: ServeSettings, load: RouterLoader) -> Router:
    """Load the router; what its libraries raise about files that they cannot read becomes an error for people."""
    try:
        return load(settings)
    except ZooterError:
        raise
    except Exception as error:
        raise ExportError(
            expected=f"an export in {settings.export} that this version of zooter can read",
            found=f"{type(error).__name__}: {error}",
            do="export again, or serve it with the version that wrote it",
        ) from error


def make_service(
    export: LoadedExport,
    settings: ServeSettings,
    session: aiohttp.ClientSession,
    replicas: dict[tuple[str, str], Replica],
) -> Service:
    """Make a service of a loaded export.

    Args:
        export: the loaded export.
        settings: settings of the server.
        session: HTTP session for candidates' servers.
        replicas: (candidate, url) → server of a candidate; kept from one service to the next, and extended here.
    """
    clock = asyncio.get_running_loop().time
    upstreams = {}
    for candidate in export.pool.candidates:
        if candidate.name in export.keys:
            servers = []
            for url in (str(candidate.url), *candidate.replicas):
                breaker = CircuitBreaker(settings.failures, settings.cooldown, settings.max_cooldown, clock)
                servers.append(replicas.setdefault((candidate.name, url), Replica(url, breaker)))
            key = export.keys[candidate.name]
            upstreams[candidate.name] = UpstreamClient(candidate, settings, servers, session, key)
    batcher = RouterBatcher(export.router, settings.batch, settings.max_queue, settings.deadline, settings.threads)
    return Service(
        export.router,
        export.pool,
        batcher,
        upstreams,
        export.default,
        export.reference,
        export.selectors,
        tuple(upstreams) or export.pool.names,
        export.backup,
    )


def apply_pool_file(pool: Pool, path: Path | None) -> Pool:
    """Return an export's pool with the addresses and prices of a pool file.

    Args:
        pool: pool of the export.
        path: the pool file; None leaves the pool as it is.

    Raises:
        ConfigError: the file cannot be read, names a candidate that the export does not have, or a field is unknown.
    """
    if path is None:
        return pool
    overrides = {candidate.name: candidate for candidate in pool_from_settings(read_candidates(path)).candidates}
    unknown = sorted(set(overrides) - set(pool.names))
    if unknown:
        raise ConfigError(
            expected=f"candidates of the export in {path}: {list(pool.names)}", found=f"{unknown}", do="correct them"
        )
    without_url = [name for name in pool.names if name not in overrides or overrides[name].url is None]
    if without_url:
        log.warning("%s gives no url for %s: they will not be asked", path, without_url)
    candidates = []
    for candidate in pool.candidates:
        override = overrides.get(candidate.name, candidate)
        candidates.append(replace(override, price=candidate.price) if override.mean_price() is None else override)
    return Pool(tuple(candidates))


def _default_candidate(default: str | None, pool: Pool, keys: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """Return the default candidate: the given one, or the reachable one chosen most often in training."""
    reachable = [name for name in pool.names if name in keys] or list(pool.names)
    if default is None:
        choices = reference.get("choices", {})
        return max(reachable, key=lambda name: float(choices.get(name, 0.0)))
    if default not in reachable:
        raise ConfigError(
            expected=f"as default one of the candidates that can be asked: {reachable}", found=default, do="correct it"
        )
    return default
