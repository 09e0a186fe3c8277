"""Train LLM routers by reward distillation and tag smoothing (ZOOTER, arXiv 2311.08692).

    table = zooter.read_table("records.parquet")
    run = zooter.fit(table, beta="auto")
    run.report["test"]["gap_closed"]
    run.router.route(["In which country is the capital Paris?"]).chosen_candidates()
    run.export("export")

    router = zooter.Router.load("export")

Names are imported on first use, so that serving an export loads nothing that trains.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zooter.commands.estimator import RouterClassifier as RouterClassifier
    from zooter.commands.fit import Run as Run
    from zooter.commands.fit import fit as fit
    from zooter.data.pool import Candidate as Candidate
    from zooter.data.pool import Pool as Pool
    from zooter.data.reward_table import RewardTable as RewardTable
    from zooter.data.reward_table import read as read_table
    from zooter.data.types import Query as Query
    from zooter.data.types import Response as Response
    from zooter.data.types import RouterOutput as RouterOutput
    from zooter.errors import ZooterError as ZooterError
    from zooter.router.protocol import Router as Router

__version__ = "0.2.0"

# Public name → the module that defines it, and its name there.
_PUBLIC = {
    "Candidate": ("zooter.data.pool", "Candidate"),
    "Pool": ("zooter.data.pool", "Pool"),
    "Query": ("zooter.data.types", "Query"),
    "Response": ("zooter.data.types", "Response"),
    "RewardTable": ("zooter.data.reward_table", "RewardTable"),
    "Router": ("zooter.router.protocol", "Router"),
    "RouterClassifier": ("zooter.commands.estimator", "RouterClassifier"),
    "RouterOutput": ("zooter.data.types", "RouterOutput"),
    "Run": ("zooter.commands.fit", "Run"),
    "ZooterError": ("zooter.errors", "ZooterError"),
    "fit": ("zooter.commands.fit", "fit"),
    "read_table": ("zooter.data.reward_table", "read"),
}

__all__ = [
    "Candidate", "Pool", "Query", "Response", "RewardTable", "Router", "RouterClassifier", "RouterOutput", "Run",
    "ZooterError", "__version__", "fit", "read_table",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'zooter' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*globals(), *_PUBLIC])
