"""Fake parts of a live run: reader, responder and rewarder."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from zooter.collect.responder.protocol import Request, Sampling
from zooter.collect.run import Collector
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Floats, Query, Response

QUERIES = (Query("1", "one", "1", ("count",)), Query("2", "two", "2", ("count", "even")), Query("3", "three"))


@dataclass(frozen=True)
class FakeReader:
    """A reader of fixed queries."""

    queries: tuple[Query, ...] = QUERIES

    def read(self) -> list[Query]:
        return list(self.queries)


@dataclass(frozen=True)
class ShoutingResponder:
    """A responder that repeats the query in capitals after the candidate's name; cells in `silent` fail."""

    sampling: Sampling = field(default_factory=Sampling)
    silent: frozenset[tuple[str, str]] = frozenset()
    calls: list[str] = field(default_factory=list)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"model": candidate.name, "sampling": self.sampling.to_dict()}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            name, text = request.candidate.name, request.query.text
            self.calls.append(f"{name}/{text}")
            error = "silence" if (name, text) in self.silent else None
            yield Response(request.query.id, name, request.sample, f"{name} {text.upper()}", "stop", 0.5,
                           len(text), 2 * len(text), None, 0.1, error, (("b", -0.25), ("c", -2.0)))  # fmt: skip


@dataclass(frozen=True)
class LengthRewarder:
    """Reward the length of a response; NaN for a query without a reference."""

    factor: float = 1.0
    calls: list[str] = field(default_factory=list)

    def identity(self) -> Mapping[str, object]:
        return {"rewarder": "length", "factor": self.factor}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        assert [query.id for query in queries] == [response.query_id for response in responses]
        self.calls.extend(response.text for response in responses)
        return np.array(
            [self.factor * len(r.text) if q.reference else np.nan for q, r in zip(queries, responses, strict=True)]
        )


def collector(folder: Path, **parts: Any) -> Collector:
    """Build a collector of fake parts, with its cache under the folder; keyword arguments replace parts."""
    pool = Pool((Candidate("b", price=1.0), Candidate("a", input_price=1.0, output_price=2.0)))
    defaults = {
        "reader": FakeReader(),
        "pool": pool,
        "responder": ShoutingResponder(),
        "cache_dir": folder / "cache",
        "rewarder": LengthRewarder(),
    }
    return Collector(**{**defaults, **parts})


def rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a Parquet file."""
    return pq.read_table(path).to_pylist()
