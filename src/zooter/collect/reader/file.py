"""Queries from a file."""

import logging
from dataclasses import dataclass
from pathlib import Path

from zooter.data import arrow_io, reward_table
from zooter.data.schema import schema
from zooter.data.types import Query, query_id
from zooter.errors import ConfigError, RecordsError

log = logging.getLogger(__name__)

SCHEMA = schema("query", "query_id", "reference", "tags")


@dataclass(frozen=True)
class FileReader:
    """Reads Parquet or JSON Lines with a column `query` and optionally `query_id`, `reference` and `tags`.

    A recorded table is such a file too. Rows with the same text are one query, described by the first of them.

    Attributes:
        queries: the file, or a folder of files.
        limit: how many queries to take, from the start; None takes all.
    """

    queries: Path | None
    limit: int | None = None

    def read(self) -> list[Query]:
        if self.queries is None:
            raise ConfigError(expected="a file of queries with reader=file", found="none", do="add queries=FILE")
        found: dict[str, Query] = {}
        rows = 0
        for file in arrow_io.data_files(self.queries):
            reward_table.require_columns(file, ("query",))
            for batch in arrow_io.read_batches(file, SCHEMA):
                reward_table.refuse_blank(batch["query"], "query", file, rows + 1)
                rows += len(batch)
                for row in batch.to_pylist():
                    text = row["query"]
                    query = Query(row["query_id"] or query_id(text), text, row["reference"],
                                  tuple(row["tags"] or ()))  # fmt: skip
                    found.setdefault(text, query)
        queries = list(found.values())[: self.limit]
        _refuse_unusable(queries, self.queries)
        if rows > len(found):
            log.info("%d rows hold %d different queries", rows, len(found))
        return queries


def _refuse_unusable(queries: list[Query], path: Path) -> None:
    if not queries:
        raise RecordsError(expected=f"at least one query in {path}", found="none", do="give a file with rows")
    seen: dict[str, str] = {}
    for query in queries:
        other = seen.setdefault(query.id, query.text)
        if other != query.text:
            raise RecordsError(
                expected=f"one query for each query_id in {path}",
                found=f"{query.id!r} for {other[:40]!r} and for {query.text[:40]!r}",
                do="correct the ids or leave them out",
            )
