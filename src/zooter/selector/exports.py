"""Find the selectors that need a trained router and name none, and give them one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from zooter.errors import ConfigError
from zooter.selector.cascade.route_then_verify import RouteThenVerifySelector
from zooter.selector.protocol import Selector
from zooter.selector.routing.routed import RoutedSelector


def refuse_lacking_exports(selectors: Mapping[str, Selector]) -> None:
    """Refuse selectors that need a trained router and name none.

    Args:
        selectors: name → selector.

    Raises:
        ConfigError: there is one; the message has the key to set.
    """
    for name, selector in selectors.items():
        router = selector.first if isinstance(selector, RouteThenVerifySelector) else selector
        if _lacks_export(router):
            key = f"selectors.{name}.{'export' if router is selector else 'first.export'}"
            raise ConfigError(expected=f"a trained router for {name}", found="none", do=f"add {key}=RUN/export")


def with_exports(selectors: Mapping[str, Selector], export: Path) -> dict[str, Selector]:
    """Give an export to the selectors that need a trained router and name none.

    Args:
        selectors: name → selector.
        export: the router's folder.
    """
    return {name: _with_export(selector, export) for name, selector in selectors.items()}


def _with_export(selector: Selector, export: Path) -> Selector:
    if isinstance(selector, RouteThenVerifySelector) and _lacks_export(selector.first):
        return replace(selector, first=replace(selector.first, export=export))
    if isinstance(selector, RoutedSelector) and _lacks_export(selector):
        return replace(selector, export=export)
    return selector


def _lacks_export(selector: Selector) -> bool:
    if not isinstance(selector, RoutedSelector) or selector.export is not None:
        return False
    return selector.estimator is None or selector.estimator.loaded is None
