"""Selectors that need a trained router and name none."""

from pathlib import Path
from typing import cast

import pytest

from zooter.errors import ConfigError
from zooter.router.protocol import Router
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.cascade.route_then_verify import RouteThenVerifySelector
from zooter.selector.exports import refuse_lacking_exports, with_exports
from zooter.selector.protocol import Selector
from zooter.selector.routing.routed import RoutedSelector

MINE, OTHER = Path("mine/export"), Path("other/export")


@pytest.mark.parametrize(
    ("name", "selector", "key"),
    [
        ("routed", RoutedSelector(), "selectors.routed.export"),
        ("both", RouteThenVerifySelector(), "selectors.both.first.export"),
    ],
)
def test_a_selector_without_its_router_is_refused_with_the_key_to_set(name: str, selector: Selector, key: str) -> None:
    with pytest.raises(ConfigError, match=f"expected a trained router for {name}; found none; add {key}=RUN/export"):
        refuse_lacking_exports({"random": RandomSelector(), name: selector})
    refuse_lacking_exports(with_exports({name: selector}, MINE))


def test_only_selectors_that_lack_an_export_are_given_one() -> None:
    selectors = {
        "routed": RoutedSelector(fee=0.1),
        "other": RoutedSelector(OTHER),
        "both": RouteThenVerifySelector(candidates=3),
        "random": RandomSelector(),
    }
    given = with_exports(selectors, MINE)
    assert given["routed"] == RoutedSelector(MINE, fee=0.1)
    assert given["both"] == RouteThenVerifySelector(RoutedSelector(MINE), candidates=3)
    assert (given["other"], given["random"]) == (selectors["other"], selectors["random"])


def test_a_router_in_memory_needs_no_export() -> None:
    selectors = {"routed": RoutedSelector.from_router(cast(Router, object()))}
    refuse_lacking_exports(selectors)
    assert with_exports(selectors, MINE) == selectors
