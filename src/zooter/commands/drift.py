"""Test whether queries are like those that a router learned from."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zooter.commands import config
from zooter.commands.route import lines_or_file
from zooter.data import reward_table
from zooter.data.component import PathField, component
from zooter.router import drift


@component
class DriftSettings:
    """Which queries to compare with an export's training queries.

    Attributes:
        export: an export's folder.
        queries: a Parquet or JSON Lines file with a `query` column.
        out: the file to write; None prints.
        device: where queries are embedded: "cpu", "cuda" or "auto".
    """

    export: PathField
    queries: PathField
    out: PathField | None = None
    device: str = "auto"


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Test for drift with settings from conf/drift.yaml, and print the report.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    for line in run(config.build(values)):
        sys.stdout.write(line + "\n")


def run(settings: DriftSettings) -> Iterator[str]:
    """Compare the distinct queries of a file with the export's training queries.

    Args:
        settings: the export, the file of queries, and where the report goes.

    Returns:
        The report as one line of JSON; nothing when it goes to `out`.

    Raises:
        ExportError: the export cannot be used.
        RecordsError: the queries cannot be read, or one is empty.
    """
    report = drift.detect_drift(settings.export, distinct_queries(settings.queries), settings.device)
    return lines_or_file([json.dumps(asdict(report), ensure_ascii=False)], settings.out)


def distinct_queries(path: Path) -> list[str]:
    """Read the distinct texts of a file of queries, in order of first appearance.

    A recorded table has a row for each response, and copies of a query are no further evidence.

    Args:
        path: a recorded table, or a file or folder of queries.

    Raises:
        RecordsError: the queries cannot be read, or one is empty.
    """
    return list(dict.fromkeys(reward_table.read_queries(path)[0]))
