"""Recorded responses in the place of live candidates."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from zooter.collect.responder.protocol import Request, Sampling
from zooter.data import arrow_io, reward_table
from zooter.data.files import sha256
from zooter.data.pool import Candidate
from zooter.data.schema import OF_RESPONSE, first_tokens, schema
from zooter.data.types import Response
from zooter.errors import ConfigError

SCHEMA = schema("query", "candidate", "sample", "response", *OF_RESPONSE)
Cell = tuple[str, str, int]


@dataclass(frozen=True)
class ReplayResponder:
    """Answers from a recorded table with a column `response`, by query text, candidate and sample number.

    Attributes:
        recorded: the table: a Parquet or JSON Lines file, or a folder of them.
    """

    recorded: Path | None
    sampling: Sampling = field(default_factory=Sampling)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"responder": "replay", "files": self._digests, "model": candidate.model or candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            who = request.query.id, request.candidate.name, request.sample
            model = request.candidate.model or request.candidate.name
            row = self._cells.get((request.query.text, model, request.sample))
            if row is None:
                yield Response(*who, text="", error="no such response is recorded")
            else:
                yield Response(*who, text=str(row["response"]), **{name: row[name] for name in OF_RESPONSE})  # type: ignore[arg-type]

    @cached_property
    def _files(self) -> list[Path]:
        if self.recorded is None:
            raise ConfigError(
                expected="a recorded table with responder=replay", found="none", do="add responder.recorded=FILE"
            )
        return arrow_io.data_files(self.recorded)

    @cached_property
    def _digests(self) -> list[str]:
        return [sha256(file) for file in self._files]

    @cached_property
    def _cells(self) -> dict[Cell, dict[str, object]]:
        found: dict[Cell, dict[str, object]] = {}
        for file in self._files:
            reward_table.require_columns(file, ("query", "candidate", "response"))
            for batch in arrow_io.read_batches(file, SCHEMA):
                for row in batch.to_pylist():
                    if row["response"] is not None:
                        row["first_tokens"] = first_tokens(row["first_tokens"])
                        found[row["query"], row["candidate"], row["sample"] or 0] = row
        return found
