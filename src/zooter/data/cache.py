"""Responses and rewards as cells: their content keys, and the stores they are kept in under the cache folder.

A response's key is made of the query's text, the sample number and all that can change what the candidate says; a
reward's of the query, the response and all that can change what the rewarder says. Names, prices and addresses are in
neither, so that none of them makes anything be asked again.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.data.schema import FIRST_TOKENS, first_tokens
from zooter.data.store import KEY, Store
from zooter.data.types import Floats, Query, Response

_KEY = (KEY, pa.string())
_WHO = [("query_id", pa.large_string()), ("candidate", pa.string()), ("sample", pa.int64())]
RESPONSES = pa.schema(
    [
        _KEY,
        *_WHO,
        ("text", pa.large_string()),
        ("finish_reason", pa.string()),
        ("margin", pa.float64()),
        ("first_tokens", FIRST_TOKENS),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("identity", pa.string()),
    ]
)
FAILURES = pa.schema([_KEY, *_WHO, ("reason", pa.large_string()), ("identity", pa.string()), ("at", pa.float64())])
REWARDS = pa.schema([_KEY, ("reward", pa.float64()), ("identity", pa.string())])


def canonical_json(identity: Mapping[str, object]) -> str:
    """An identity as one text, the same whatever the order of its keys."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False)


def content_key(*parts: object) -> str:
    """32 hex digits of JSON-ready parts."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def response_keys(identity: Mapping[str, object], queries: Iterable[Query], sample: int) -> list[str]:
    """The key of each query's response by one candidate in one sample."""
    start = content_key("response", canonical_json(identity))
    return [content_key(start, query.text, sample) for query in queries]


def reward_keys(identity: Mapping[str, object], queries: Sequence[Query], responses: Sequence[Response]) -> list[str]:
    """The key of each response's reward."""
    start = content_key("reward", canonical_json(identity))
    # Tags belong into the key where they choose the method (`VerifyRewarder.by_tag`), and nowhere else.
    by_tag = bool(identity.get("by_tag"))
    return [
        content_key(
            start, query.text, query.reference, response.text, response.finish_reason, *(query.tags if by_tag else ())
        )
        for query, response in zip(queries, responses, strict=True)
    ]


@dataclass(frozen=True)
class ResponseCache:
    """The stores of one cache folder."""

    folder: Path

    @property
    def responses(self) -> Store:
        """What candidates answered."""
        return Store(self.folder / "responses")

    @property
    def failures(self) -> Store:
        """Calls that were not answered, one row per attempt."""
        return Store(self.folder / "failures")

    @property
    def rewards(self) -> Store:
        """What rewarders said."""
        return Store(self.folder / "rewards")

    def keep(self, finished: Sequence[tuple[str, Response]], identities: Mapping[str, str]) -> None:
        """Land responses under their keys; those with an error among the failures.

        Args:
            identities: candidate → its identity as one text, which is kept beside each cell for people to read.
        """
        rows = [
            {**vars(response), KEY: name, "identity": identities[response.candidate]} for name, response in finished
        ]
        good = [row for row in rows if row["error"] is None]
        if good:
            self.responses.append(pa.Table.from_pylist(good, RESPONSES))
        bad = [{**row, "reason": row["error"], "at": time.time()} for row in rows if row["error"] is not None]
        if bad:
            self.failures.append(pa.Table.from_pylist(bad, FAILURES))

    def attempts(self, keys: Sequence[str]) -> Counter[str]:
        """How often each of these keys has failed; those that never did are left out."""
        failed = self.failures.table([KEY], only=pa.array(keys, pa.string()))[KEY]
        return Counter(failed.to_pylist())

    def reasons(self, keys: Sequence[str]) -> Counter[str]:
        """How often each reason was given for the failures of these keys."""
        failures = self.failures.table([KEY, "reason"], only=pa.array(keys, pa.string()))
        return Counter(failures["reason"].to_pylist()) if len(failures) else Counter()

    def rows(self, keys: Sequence[str], names: Sequence[str] = RESPONSES.names) -> pa.Table:
        """These columns of the responses of these keys, one row a key; null where there is no cell."""
        wanted = pa.array(keys, pa.string())
        # Shards of earlier versions lack the column `first_tokens`.
        cells = self.responses.table(None if "first_tokens" in names else [KEY, *names], only=wanted)
        places = pc.index_in(wanted, value_set=cells[KEY].cast(pa.string()))
        columns = [
            cells[name].take(places).cast(RESPONSES.field(name).type)
            if name in cells.column_names
            else pa.nulls(len(keys), RESPONSES.field(name).type)
            for name in names
        ]
        return pa.table(columns, names=list(names))

    def answers(self, keys: Sequence[str]) -> list[Response | None]:
        """The responses of these keys; None where there is no cell."""
        found = self.rows(keys, [name for name in RESPONSES.names if name not in (KEY, "identity")]).to_pylist()
        return [
            None if row["text"] is None else Response(**{**row, "first_tokens": first_tokens(row["first_tokens"])})
            for row in found
        ]

    def keep_rewards(
        self, keys: Sequence[str], responses: Sequence[Response], values: Floats, identity: Mapping[str, object]
    ) -> None:
        """Land rewards under their keys; a NaN among the failures, so that it is tried again in later runs."""
        has = ~np.isnan(values)
        if has.any():
            good = [name for name, kept in zip(keys, has, strict=True) if kept]
            columns = [
                pa.array(good, pa.string()),
                pa.array(values[has]),
                pa.array([canonical_json(identity)] * len(good)),
            ]
            self.rewards.append(pa.Table.from_arrays(columns, schema=REWARDS))
        failed = [
            {KEY: keys[i], "reason": "no reward", "identity": canonical_json(identity), "at": time.time(),
             **{name: getattr(responses[i], name) for name, _ in _WHO}}
            for i in np.flatnonzero(~has).tolist()
        ]  # fmt: skip
        if failed:
            self.failures.append(pa.Table.from_pylist(failed, FAILURES))

    def rewards_of(self, keys: Sequence[str]) -> Floats:
        """(n,) rewards of these keys; NaN where there is no cell."""
        wanted = pa.array(keys, pa.string())
        cells = self.rewards.table([KEY, "reward"], only=wanted)
        if not len(cells):
            return np.full(len(keys), np.nan)
        rows = pc.index_in(wanted, value_set=cells[KEY].cast(pa.string()))
        return np.asarray(cells["reward"].take(rows).to_numpy(zero_copy_only=False), dtype=np.float64)
