"""An export ready to serve: its router, its candidates' servers, and who answers without a decision."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from zooter.data.pool import Candidate, Pool, pool_from_settings
from zooter.errors import ConfigError
from zooter.selector.protocol import Selector
from zooter.serve import selector_client, selector_loading
from zooter.serve.batcher import Router, RouterBatcher
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.circuit_breaker import CircuitBreaker
from zooter.serve.upstream.client import UpstreamClient, key_of

log = logging.getLogger(__name__)

REFERENCE = "reference.json"
Load = Callable[[ServeSettings], Router]


@dataclass(frozen=True)
class Service:
    """What answers requests; a new export makes a new one, and requests at work keep theirs.

    Attributes:
        pool: the export's candidates, with what the pool file tells about reaching them and their prices.
        upstreams: candidate → its server, for those that have one.
        default: the candidate that answers where there is no decision.
        reference: what the export knows of its training queries.
        selectors: name → selector.
    """

    router: Router
    pool: Pool
    decider: RouterBatcher
    upstreams: Mapping[str, UpstreamClient]
    default: str
    reference: Mapping[str, Any]
    selectors: Mapping[str, Selector]


@dataclass(frozen=True)
class LoadedExport:
    """What an export, a pool file and the environment hold, checked: everything that a service is made of.

    Attributes:
        keys: candidate → its server's key, for the candidates that can be asked.
    """

    router: Router
    pool: Pool
    reference: Mapping[str, Any]
    default: str
    keys: Mapping[str, str | None]
    selectors: Mapping[str, Selector]


def load_export(settings: ServeSettings, load: Load) -> LoadedExport:
    """Read everything, and make one decision with it. Takes its time: not for the event loop.

    Raises:
        ZooterError: something is missing, changed or does not fit.
    """
    router = load(settings)
    pool = apply_pool_file(router.pool, settings.pool_file)
    keys = {candidate.name: key_of(candidate) for candidate in pool.candidates if candidate.url is not None}
    path = router.folder / REFERENCE
    reference = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    router.look(["Is everything there?"])
    default = _default(settings.default, pool, keys, reference)
    selectors = selector_loading.load_selectors(
        settings.selectors, router, selector_client.askable(pool, keys), router.folder
    )
    return LoadedExport(router, pool, reference, default, keys, selectors)


def make_service(
    found: LoadedExport,
    settings: ServeSettings,
    session: aiohttp.ClientSession,
    breakers: dict[tuple[str, str], CircuitBreaker],
) -> Service:
    """A service of what was found. Candidates keep their breakers from one service to the next."""
    clock = asyncio.get_running_loop().time
    upstreams = {}
    for candidate in found.pool.candidates:
        if candidate.name in found.keys:
            breaker = CircuitBreaker(settings.failures, settings.pause, settings.longest_pause, clock)
            breaker = breakers.setdefault((candidate.name, str(candidate.url)), breaker)
            upstreams[candidate.name] = UpstreamClient(
                candidate, settings, breaker, session, found.keys[candidate.name]
            )
    decider = RouterBatcher(found.router, settings.batch, settings.waiting, settings.deadline, settings.threads)
    return Service(found.router, found.pool, decider, upstreams, found.default, found.reference, found.selectors)


def apply_pool_file(pool: Pool, path: Path | None) -> Pool:
    """An export's pool with what a pool file tells about its candidates.

    Raises:
        ConfigError: the file cannot be read, names a candidate that the export does not have, or a field is unknown.
    """
    if path is None:
        return pool
    told = {candidate.name: candidate for candidate in pool_from_settings(_candidates(path)).candidates}
    strange = sorted(set(told) - set(pool.names))
    if strange:
        raise ConfigError(
            expected=f"candidates of the export in {path}: {list(pool.names)}", found=f"{strange}", do="correct them"
        )
    without = [name for name in pool.names if name not in told or told[name].url is None]
    if without:
        log.warning("%s gives no url for %s: they will not be asked", path, without)
    return Pool(tuple(_priced(told.get(known.name, known), known) for known in pool.candidates))


def _priced(told: Candidate, known: Candidate) -> Candidate:
    return told if told.mean_price() is not None else replace(told, price=known.price)


def _candidates(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            expected=f"a YAML file at {path}", found=str(error), do="check the path and the file"
        ) from error
    candidates = found.get("candidates") if isinstance(found, dict) else None
    if not isinstance(candidates, dict) or not all(isinstance(values, dict | None) for values in candidates.values()):
        raise ConfigError(
            expected=f"candidates: {{NAME: {{url: …}}, …}} in {path}",
            found=type(found).__name__ if candidates is None else type(candidates).__name__,
            do="write it like the files in conf/pool",
        )
    return candidates


def _default(wanted: str | None, pool: Pool, keys: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    able = [name for name in pool.names if name in keys] or list(pool.names)
    if wanted is None:
        chosen = reference.get("choices", {})
        return max(able, key=lambda name: float(chosen.get(name, 0.0)))
    if wanted not in able:
        raise ConfigError(
            expected=f"as default one of the candidates that can be asked: {able}", found=wanted, do="correct it"
        )
    return wanted
