"""Recorded tables in memory, written out in tests as literal cells."""

from collections.abc import Mapping, Sequence

import numpy as np

from zooter.data.pool import Pool
from zooter.data.response_table import Cell, ResponseTable
from zooter.data.types import Query, Response

NAN = float("nan")


def recorded(
    rows: Sequence[Mapping[str, Sequence[Mapping[str, object]]]],
    names: Sequence[str] | None = None,
    tags: Sequence[str] = (),
) -> ResponseTable:
    """One mapping per query: candidate → its samples, each with fields of `Response` and `reward`, `truth`."""
    names = list(names or dict.fromkeys(name for row in rows for name in row))
    queries = tuple(Query(f"q{i}", f"query {i}", tags=(tags[i],) if tags else ()) for i in range(len(rows)))
    cells = tuple(
        {name: tuple(_cell(f"q{i}", name, k, told) for k, told in enumerate(samples)) for name, samples in row.items()}
        for i, row in enumerate(rows)
    )
    costs = {name: [c.response.cost for row in cells for c in row.get(name, ())] for name in names}
    prices = {name: float(np.mean([NAN if c is None else c for c in of])) if of else NAN for name, of in costs.items()}
    return ResponseTable(queries, Pool.of(names), cells, prices)


def _cell(query_id: str, name: str, sample: int, told: Mapping[str, object]) -> Cell:
    of = {key: value for key, value in told.items() if key not in ("reward", "truth")}
    response = Response(query_id, name, sample, **{"text": "", **of})  # type: ignore[arg-type]
    return Cell(response, float(told.get("reward", NAN)), float(told.get("truth", NAN)))  # type: ignore[arg-type]
