"""The access log: one JSON object per request, without query texts unless they are asked for."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from zooter.errors import ConfigError

log = logging.getLogger(__name__)


class AccessLog:
    """Writes to a file or to standard error."""

    def __init__(self, target: str) -> None:
        """Open the log.

        Args:
            target: path of a file, which is appended to; "-" is standard error.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            self._file: TextIO = sys.stderr
            if target != "-":
                self._file = Path(target).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open while we serve
        except OSError as error:
            raise ConfigError(
                expected=f"a file for the access log at {target}", found=str(error), do="check it"
            ) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one line with the time; values of None are left out."""
        row = {"time": round(time.time(), 3), **{key: value for key, value in row.items() if value is not None}}
        try:
            self._file.write(json.dumps(row) + "\n")
        except (OSError, ValueError) as error:  # a full disk or a closed pipe must not end a request
            log.error("the access log cannot be written: %s", error)
