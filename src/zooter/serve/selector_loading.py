"""Which selectors a server offers: those of its settings and its export's own, each tried before it serves."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from zooter.data.pool import Pool
from zooter.data.types import Query, Response, query_id
from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import Needs, SampleRequest, Selector
from zooter.selector.routing.routed import RoutedSelector, RouterLike
from zooter.serve.selector_client import ServedAsk

log = logging.getLogger(__name__)

MARGIN = "margin"


@dataclass
class DryRunClient(ServedAsk):
    """A world in which every call fails: what a selector raises in it, it would raise at every request."""

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        """Failed responses."""
        return [
            [Response(self.query.id, want.candidate, i, "", error="a rehearsal") for i in range(want.samples)]
            for want in wants
        ]


def load_selectors(selectors: Mapping[str, Any], router: RouterLike, pool: Pool, export: Path) -> dict[str, Selector]:
    """Selectors of a new service: with the export's router where they want one, and a history of their own.

    An export with calibrated thresholds of a margin cascade has a selector `MARGIN` without being told to.

    Args:
        pool: the candidates that can be asked.

    Raises:
        ConfigError: one is incomplete, names candidates that cannot be asked, or cannot be served.
        ExportError: the export's calibration cannot be used.
    """
    made = {name: _with_thresholds(selector, export) for name, selector in selectors.items()}
    if MARGIN not in made and (export / manifest.MARGIN).is_file():
        cascade = MarginSelector().of_export(export)
        silent = sorted(set(cascade.order) - set(pool.names))
        if silent:
            log.warning("zooter:%s is not offered: it asks %s, which cannot be asked", MARGIN, silent)
        else:
            made[MARGIN] = cascade
    return {name: _rehearsed(name, selector, router, pool) for name, selector in made.items()}


def _with_thresholds(selector: Any, export: Path) -> Any:
    """A margin cascade that names an export, or nothing, with the calibrated thresholds of that export, or of this."""
    if not isinstance(selector, MarginSelector):
        return selector
    bare = not selector.order and selector.threshold.fixed is None
    if selector.export is None and not (bare and (export / manifest.MARGIN).is_file()):
        return selector
    return selector.of_export(selector.export or export)


def _rehearsed(name: str, selector: Any, router: RouterLike, pool: Pool) -> Selector:
    if not hasattr(selector, "select") or not is_dataclass(selector) or isinstance(selector, type):
        raise ConfigError(
            expected=f"a selector as selectors.{name}", found=repr(selector)[:100], do="write one as in conf/selector"
        )
    made: Any = _with_router(selector, router)
    needs: Needs = made.needs
    if needs.rewards or needs.truths or needs.tags or needs.references:
        raise ConfigError(
            expected="a selector that needs no rewards, tags, references or truths",
            found=f"selectors.{name}, which needs {needs}",
            do="serve another",
        )
    query = Query(query_id("Is everything there?"), "Is everything there?")
    ask = DryRunClient(pool, {}, None, None, query, needs)  # type: ignore[arg-type]  # nobody is called
    strangers = sorted(set(needs.candidates or ()) - set(pool.names))
    if strangers:
        raise ConfigError(
            expected=f"candidates among {list(pool.names)} in selectors.{name}", found=f"{strangers}", do="correct them"
        )
    asyncio.run(replace(made).select(query, ask))
    return replace(made)


def _with_router(selector: Any, router: RouterLike) -> Any:
    """The selector with the export's router wherever it routes and names no export."""
    if isinstance(selector, RoutedSelector):
        if selector.export is not None:
            return selector
        return replace(selector, estimator=RoutedSelector.of(router, fee=selector.fee).estimator)
    inner = {
        one.name: _with_router(value, router)
        for one in fields(selector)
        if one.init and is_dataclass(value := getattr(selector, one.name)) and not isinstance(value, type)
    }
    return replace(selector, **inner) if inner else selector
