"""The columns of recorded tables by name; `data/README.md` says what each means."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

TEXT = pa.large_string()
FIRST_TOKENS = pa.list_(pa.struct([("token", TEXT), ("logprob", pa.float64())]))
OF_RESPONSE = {
    "finish_reason": TEXT,
    "margin": pa.float64(),
    "first_tokens": FIRST_TOKENS,
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "cost": pa.float64(),
    "seconds": pa.float64(),
}  # what is known of a response beside its text
COLUMNS = {
    "query_id": TEXT,
    "query": TEXT,
    "candidate": TEXT,
    "sample": pa.int64(),
    "response": TEXT,
    "reward": pa.float64(),
    "truth": pa.float64(),
    "reference": TEXT,
    "tags": pa.list_(TEXT),
    **OF_RESPONSE,
    "rewarder": TEXT,
}


def schema(*names: str) -> pa.Schema:
    """These columns, in this order; all of them without a name."""
    return pa.schema([(name, COLUMNS[name]) for name in names or COLUMNS])


def first_tokens(value: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, float], ...] | None:
    """A value of a column of type FIRST_TOKENS, as `Response` has it; what has a null in it is left out."""
    return None if value is None else tuple((one["token"], one["logprob"]) for one in value if None not in one.values())
