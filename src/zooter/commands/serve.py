"""Serve an export until a signal ends it."""

from collections.abc import Mapping, Sequence
from typing import Any

from zooter.commands import config
from zooter.serve import server


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Serve with settings from conf/serve.yaml.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    server.run(config.build(values), server.load_router)
