"""Route queries with an export: one from the command line, or a file of them."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zooter.commands import config
from zooter.data.component import PathField, component
from zooter.data.files import atomic_path
from zooter.data.types import query_id
from zooter.errors import ConfigError
from zooter.router.loading import load_router
from zooter.router.protocol import Router

log = logging.getLogger(__name__)

CHUNK = 4_096  # queries that are routed at a time


@component
class RouteSettings:
    """What to route with what.

    Attributes:
        export: an export's folder.
        query: one text; its decision is printed. Or
        queries: a Parquet or JSON Lines file with a `query` column, and
        out: the JSON Lines file to write; None prints.
        device: "cpu", "cuda" or "auto" to route with torch there; None routes with ONNX Runtime where the export has
            its ONNX form, and with torch elsewhere.
    """

    export: PathField
    query: str | None = None
    queries: PathField | None = None
    out: PathField | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if (self.query is None) == (self.queries is None):
            raise ConfigError(
                expected="either query=… or queries=FILE",
                found="both" if self.query is not None else "neither",
                do='give query="some text", or queries=FILE out=FILE',
            )


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Route with settings from conf/infer.yaml, and print the decisions.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    for line in run(config.build(values)):
        sys.stdout.write(line + "\n")


def run(settings: RouteSettings) -> Iterator[str]:
    """Route queries.

    Yields:
        A line of JSON for each decision: `query_id`, `query`, `candidate`, `probs`; none when they go to `out`.

    Raises:
        ExportError: the export cannot be used.
        RecordsError: the queries cannot be read, or one is empty.
    """
    if settings.query is not None:
        texts, ids = [settings.query], [query_id(settings.query)]
    else:
        from zooter.data import reward_table  # one text is routed without pyarrow

        assert settings.queries is not None
        texts, ids = reward_table.read_queries(settings.queries)
    yield from route_texts(settings.export, texts, ids, settings.out, settings.device)


def route_command(
    export: Path, arguments: Sequence[str], queries: Path | None, out: Path | None, device: str | None
) -> Iterator[str]:
    """Route what `zooter route` is given: texts, a file, or without either the lines of standard input.

    Args:
        export, queries, out, device: as in `RouteSettings`.
        arguments: texts from the command line, whose bytes need not be UTF-8.

    Yields:
        A line of JSON for each decision, as `run`.

    Raises:
        ConfigError: texts and a file are given, or nothing.
        ZooterError: as `run`.
    """
    if queries is not None:
        if arguments:
            raise ConfigError(expected="texts or --queries FILE", found="both", do="leave one out")
        yield from run(RouteSettings(export, None, queries, out, device))
        return
    lines = sys.stdin.buffer.read().splitlines() if not arguments else map(os.fsencode, arguments)
    texts = [line.decode("utf-8", "replace") for line in lines if arguments or line.strip()]
    if not texts:
        raise ConfigError(expected="a query", found="no text", do='give a "text", --queries FILE, or lines on stdin')
    yield from route_texts(export, texts, [query_id(text) for text in texts], out, device)


def route_texts(
    export: Path, texts: Sequence[str], ids: Sequence[str], out: Path | None = None, device: str | None = None
) -> Iterator[str]:
    """Route texts.

    Args:
        export, out, device: as in `RouteSettings`.
        texts: n queries.
        ids: their n ids.

    Yields:
        A line of JSON for each decision, as `run`; none when they go to `out`.

    Raises:
        ExportError: the export cannot be used.
        RecordsError: a text is empty.
    """
    return lines_or_file(_decisions(load_router(export, device), texts, ids), out)


def lines_or_file(lines: Iterable[str], path: Path | None) -> Iterator[str]:
    """Yield lines, or write them to a file, whole or not at all.

    Args:
        lines: without line breaks.
        path: the file; None yields the lines.
    """
    if path is None:
        yield from lines
        return
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    log.info("%d lines in %s", count, path)


def _decisions(router: Router, texts: Sequence[str], ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        output = router.route(chunk)
        rows = zip(ids[start : start + CHUNK], chunk, output.chosen_candidates(), output.probs.tolist(), strict=True)
        for name, text, candidate, probs in rows:
            row: dict[str, Any] = {"query_id": name, "query": text, "candidate": candidate}
            row["probs"] = dict(zip(output.candidates, probs, strict=True))
            yield json.dumps(row, ensure_ascii=False)
