"""Many decisions of one selector as arrays: what they were worth, and what they cost."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zooter.data.files import write_atomically
from zooter.data.types import Floats, Ints
from zooter.selector.protocol import RecordedSelection

_TEXT = pa.large_string()
SCHEMA = pa.schema(
    [
        ("selector", _TEXT),
        ("query_id", _TEXT),
        ("query", _TEXT),
        ("candidate", _TEXT),
        ("sample", pa.int64()),
        ("quality", pa.float64()),
        ("confidence", pa.float64()),
        ("why", _TEXT),
        ("calls", _TEXT),
        ("rounds", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("fees", pa.float64()),
        ("seconds", pa.float64()),
        ("failed", pa.int64()),
    ]
)


@dataclass(frozen=True)
class SelectorResults:
    """What a selector did on n queries.

    Attributes:
        quality: (n,) of the returned response; 0 where none was returned.
        cost: (n,) US dollars with the fees of what decided; NaN where a call's cost is not known.
        fees: (n,) the part of it that is not candidates'.
        calls: (n, m) responses asked of each candidate, failed ones too.
        tokens: (n, 2) input and output tokens, as far as known.
        rounds: (n,) calls one after the other.
        seconds: (n,) as a user waits.
        failed: (n,) calls that failed.
        chosen: (n,) column of the returned response's candidate; -1 for none.
    """

    quality: Floats
    cost: Floats
    fees: Floats
    calls: Ints
    tokens: Ints
    rounds: Ints
    seconds: Floats
    failed: Ints
    chosen: Ints

    @property
    def samples(self) -> Ints:
        """(n,) responses asked of all candidates together."""
        return np.asarray(self.calls.sum(axis=1))


def selector_results(decided: Sequence[RecordedSelection], quality: Floats, names: Sequence[str]) -> SelectorResults:
    """Arrays of n decisions, in their order.

    Args:
        quality: (n,) what each returned response is worth.
        names: the candidates in column order.
    """
    column = {name: j for j, name in enumerate(names)}
    calls = np.zeros((len(decided), len(names)), dtype=np.int64)
    for i, one in enumerate(decided):
        for name, count in one.ledger.calls.items():
            calls[i, column[name]] = count
    ledgers = [one.ledger for one in decided]
    responses = [one.selection.response for one in decided]
    return SelectorResults(
        quality=quality,
        cost=np.array([ledger.cost for ledger in ledgers]),
        fees=np.array([sum(fee.cost for fee in ledger.fees) for ledger in ledgers]),
        calls=calls,
        tokens=np.array([ledger.tokens for ledger in ledgers], dtype=np.int64).reshape(-1, 2),
        rounds=np.array([len(ledger.rounds) for ledger in ledgers]),
        seconds=np.array([ledger.seconds for ledger in ledgers]),
        failed=np.array([ledger.failed for ledger in ledgers]),
        chosen=np.array([-1 if response is None else column[response.candidate] for response in responses]),
    )


def write(
    path: Path, decided: Mapping[str, Sequence[RecordedSelection]], accounts: Mapping[str, SelectorResults]
) -> None:
    """Every decision of every selector as one Parquet row, from which all its numbers can be recomputed."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA) as writer:
        for name, of in decided.items():
            writer.write_table(_rows(name, of, accounts[name]))
    write_atomically(path, buffer.getvalue())


def _rows(name: str, decided: Sequence[RecordedSelection], found: SelectorResults) -> pa.Table:
    responses = [one.selection.response for one in decided]
    columns = [
        [name] * len(decided),
        [one.query.id for one in decided],
        [one.query.text for one in decided],
        [None if response is None else response.candidate for response in responses],
        [None if response is None else response.sample for response in responses],
        found.quality.tolist(),
        [None if (given := one.selection.confidence) is None else float(given) for one in decided],
        [one.selection.why for one in decided],
        [json.dumps(dict(one.ledger.calls), ensure_ascii=False) for one in decided],
        found.rounds.tolist(),
        *found.tokens.T.tolist(),
        [None if np.isnan(cost) else cost for cost in found.cost.tolist()],
        found.fees.tolist(),
        found.seconds.tolist(),
        found.failed.tolist(),
    ]
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
