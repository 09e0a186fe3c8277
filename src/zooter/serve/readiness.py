"""Report whether the server can answer requests, and what is wrong if it cannot, or not well."""

from typing import Any

from zooter.serve.metrics import MAX_DEFAULT_SHARE, Metrics
from zooter.serve.service import Service


def readiness(running: bool, service: Service, metrics: Metrics) -> tuple[bool, dict[str, Any]]:
    """Return whether requests can be answered, and details without names, which clients without a key may read.

    The server is ready again when one candidate may be asked, by a probe after its cooldown at the latest: a load
    balancer that sends it nothing must not keep it out for good.

    Args:
        running: whether startup is over and shutdown has not begun.
        service: router and candidates.
        metrics: metrics of the server.
    """
    waits = [upstream.wait() for upstream in service.upstreams.values()]
    unavailable = sum(wait > 0 for wait in waits)
    share = metrics.default_share()
    problems = [] if running else ["starting or shutting down"]
    if waits and unavailable == len(waits):
        problems.append(f"the circuit breaker of every candidate is open, for {min(waits):.0f} s more at least")
    ready = not problems
    if share > MAX_DEFAULT_SHARE:
        problems.append(f"{share:.1%} of recent decisions fell to the default candidate")
    return ready, {
        "status": "ready" if ready else "not ready",
        "problems": problems,
        "candidates": len(waits),
        "candidates_unavailable": unavailable,
        "default_share": round(share, 4),
    }
