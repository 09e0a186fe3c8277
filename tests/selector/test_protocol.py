"""What selectors share."""

import subprocess
import sys

import pytest

from zooter.data.pool import Pool
from zooter.errors import ConfigError
from zooter.selector.protocol import check_candidates


@pytest.mark.parametrize(("names", "least"), [((), 1), (("a",), 2), (("a", "a"), 1), (("a", "zed"), 1)])
def test_an_order_that_cannot_be_followed_is_refused(names: tuple[str, ...], least: int) -> None:
    with pytest.raises(ConfigError, match=r"different candidates among \['a', 'b'\] for selector some"):
        check_candidates("some", names, Pool.from_names(["a", "b"]), least)


def test_selectors_that_can_serve_do_without_torch() -> None:
    names = ("baseline.single", "baseline.random", "routing.routed", "cascade.margin", "cascade.route_then_verify")
    names += ("voting.consistency", "voting.self_consistency", "voting.best_of")
    imports = "; ".join(f"import zooter.selector.{name}" for name in names)
    script = f"import sys; {imports}; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
