"""Route queries from a file or one from the command line with an export."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooter.data import reward_table
from zooter.data.files import atomic_path
from zooter.data.types import query_id
from zooter.errors import ConfigError
from zooter.router import drift, onnx_export
from zooter.router.torch_router import TorchRouter

log = logging.getLogger(__name__)

CHUNK = 4_096
MODES = ("route", "drift", "export")


@dataclass(frozen=True)
class RouteSettings:
    """What to route with what.

    Attributes:
        export: an export's folder.
        query: one text; its decision is printed. Or
        queries: a Parquet or JSON Lines file with a `query` column, and
        out: the JSON Lines file to write; None prints.
        device: "cpu", "cuda" or "auto".
        mode: "route"; "drift": say whether the queries are like those that the router learned from; or "export": give
            the export its ONNX form, compared on the queries.
    """

    export: Path
    query: str | None = None
    queries: Path | None = None
    out: Path | None = None
    device: str = "auto"
    mode: str = "route"

    def __post_init__(self) -> None:
        if self.mode not in MODES or (self.mode != "route" and self.queries is None):
            raise ConfigError(
                expected=f"mode among {MODES}, and queries=FILE unless it is route",
                found=f"mode={self.mode}",
                do=f"give mode={self.mode if self.mode in MODES else 'drift'} queries=FILE, or leave mode out",
            )
        if (self.query is None) == (self.queries is None):
            raise ConfigError(
                expected="either query=… or queries=FILE",
                found="both" if self.query is not None else "neither",
                do='give query="some text", or queries=FILE out=FILE',
            )


def run(settings: RouteSettings) -> Iterator[str]:
    """Decisions as lines of JSON: `query_id`, `query`, `candidate`, `probs`. With `out`, they are in the file instead.

    Raises:
        ExportError: the export cannot be used.
        RecordsError: the queries cannot be read, or one is empty.
    """
    if settings.query is not None:
        texts, ids = [settings.query], [query_id(settings.query)]
    else:
        assert settings.queries is not None
        texts, ids = reward_table.read_queries(settings.queries)
    # A recorded table has a row for each response, and copies of a query are no further evidence.
    distinct = list(dict.fromkeys(texts))
    if settings.mode == "export":
        onnx_export.update_export(settings.export, lambda draft, facts: onnx_export.add_onnx(draft, facts, distinct))
        return
    if settings.mode == "drift":
        lines = drift.drift_lines(drift.detect_drift(settings.export, distinct, settings.device))
    else:
        lines = _decisions(TorchRouter.load(settings.export, settings.device), texts, ids)
    if settings.out is None:
        yield from lines
    else:
        count = _write(settings.out, lines)
        log.info("%d decisions in %s", count, settings.out)


def _decisions(router: TorchRouter, texts: list[str], ids: list[str]) -> Iterator[str]:
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        choices = router.route(part)
        rows = zip(ids[start : start + CHUNK], part, choices.names(), choices.probs.tolist(), strict=True)
        for name, text, candidate, probs in rows:
            row: dict[str, Any] = {"query_id": name, "query": text, "candidate": candidate}
            row["probs"] = dict(zip(choices.candidates, probs, strict=True))
            yield json.dumps(row, ensure_ascii=False)


def _write(path: Path, lines: Iterator[str]) -> int:
    """Write the file whole or not at all; returns the number of lines."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count
