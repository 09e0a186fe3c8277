"""Cache responses and rewards: the stores under the cache folder, whose rows are found by their content keys."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.data.content_keys import canonical_json, group_of
from zooter.data.schema import FIRST_TOKENS, parse_first_tokens
from zooter.data.shards import KEY
from zooter.data.store import Keys, Store
from zooter.data.types import Floats, Ints, Response

_KEY_COLUMN = (KEY, pa.string())
_SAMPLE_COLUMNS = [("query_id", pa.large_string()), ("candidate", pa.string()), ("sample", pa.int64())]
RESPONSES = pa.schema(
    [
        _KEY_COLUMN,
        *_SAMPLE_COLUMNS,
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
FAILURES = pa.schema(
    [
        _KEY_COLUMN,
        *_SAMPLE_COLUMNS,
        ("reason", pa.large_string()),
        ("identity", pa.string()),
        ("at", pa.float64()),
    ]
)
REWARDS = pa.schema([_KEY_COLUMN, ("reward", pa.float64()), ("identity", pa.string())])


@dataclass(frozen=True)
class ResponseCache:
    """Responses, failed calls and rewards, each in a store of its own.

    Attributes:
        folder: the cache folder, which holds the three stores.
    """

    folder: Path

    @property
    def responses(self) -> Store:
        """Store of responses, with the columns RESPONSES."""
        return Store(self.folder / "responses")

    @property
    def failures(self) -> Store:
        """Store of failed calls with the columns FAILURES, one row per attempt."""
        return Store(self.folder / "failures")

    @property
    def rewards(self) -> Store:
        """Store of rewards, with the columns REWARDS."""
        return Store(self.folder / "rewards")

    def add_responses(
        self, finished: Sequence[tuple[str, Response]], identities: Mapping[str, str], shard: str | None = None
    ) -> None:
        """Store responses under their keys, in the group of their identity; those with an error as failures.

        Args:
            finished: (key, response) pairs.
            identities: candidate → its identity as canonical JSON, stored for people who inspect the cache.
            shard: name of the shard that they are a part of; None for a shard of their own.
        """
        rows: dict[str, list[dict[str, object]]] = {}
        for key, response in finished:
            identity = identities[response.candidate]
            rows.setdefault(identity, []).append({**vars(response), KEY: key, "identity": identity})
        for identity, same in rows.items():
            group = group_of(identity)
            successes = [row for row in same if row["error"] is None]
            if successes:
                _append(self.responses.within(group), pa.Table.from_pylist(successes, RESPONSES), shard)
            failures = [{**row, "reason": row["error"], "at": time.time()} for row in same if row["error"] is not None]
            if failures:
                _append(self.failures.within(group), pa.Table.from_pylist(failures, FAILURES), shard)

    def failure_counts(self, keys: Keys, group: str | None = None) -> Ints:
        """Count the failed attempts of each key.

        Args:
            keys: n content keys of cells.
            group: of the cells; None looks in all.

        Returns:
            (n,) counts.
        """
        key_array = pa.array(keys, pa.string())
        failures = self.failures if group is None else self.failures.within(group)
        failed = failures.table([KEY], only=key_array)[KEY].cast(pa.string())
        counts = pc.value_counts(failed.combine_chunks())
        rows = pc.index_in(key_array, value_set=counts.field("values"))
        return pc.fill_null(counts.field("counts").take(rows), 0).to_numpy(zero_copy_only=False)

    def failure_reasons(self, keys: Keys) -> Counter[str]:
        """Count the recorded reasons over all failed attempts of these keys.

        Args:
            keys: content keys of cells.
        """
        failures = self.failures.table([KEY, "reason"], only=pa.array(keys, pa.string()))
        return Counter(failures["reason"].to_pylist()) if len(failures) else Counter()

    def load_columns(self, keys: Keys, names: Sequence[str] = RESPONSES.names, group: str | None = None) -> pa.Table:
        """Load columns of stored responses.

        Args:
            keys: n content keys.
            names: columns of RESPONSES.
            group: of the cells; None looks in all.

        Returns:
            n rows in the order of `keys`; null for a key without a response.
        """
        key_array = pa.array(keys, pa.string())
        # Shards of earlier versions lack the column `first_tokens`.
        store = self.responses if group is None else self.responses.within(group)
        cells = store.table(None if "first_tokens" in names else [KEY, *names], only=key_array)
        positions = pc.index_in(key_array, value_set=cells[KEY].cast(pa.string()))
        columns = [
            cells[name].take(positions).cast(RESPONSES.field(name).type)
            if name in cells.column_names
            else pa.nulls(len(keys), RESPONSES.field(name).type)
            for name in names
        ]
        return pa.table(columns, names=list(names))

    def load_responses(self, keys: Sequence[str]) -> list[Response | None]:
        """Load stored responses in the order of their keys; None for a key without one.

        Args:
            keys: content keys of cells.
        """
        names = [name for name in RESPONSES.names if name not in (KEY, "identity")]
        return [
            None
            if row["text"] is None
            else Response(**{**row, "first_tokens": parse_first_tokens(row["first_tokens"])})
            for row in self.load_columns(keys, names).to_pylist()
        ]

    def add_rewards(
        self,
        keys: Sequence[str],
        responses: Sequence[Response],
        values: Floats,
        identity: Mapping[str, object],
        shard: str | None = None,
    ) -> None:
        """Store rewards under their keys; a NaN is stored as a failure, so that a later run tries it again.

        Args:
            keys: n content keys.
            responses: the n responses.
            values: (n,) their rewards; NaN for none.
            identity: the rewarder's identity.
            shard: name of the shard that they are a part of; None for a shard of their own.
        """
        group = group_of(identity)
        has_reward = ~np.isnan(values)
        if has_reward.any():
            rewarded = [key for key, has in zip(keys, has_reward, strict=True) if has]
            columns = [
                pa.array(rewarded, pa.string()),
                pa.array(values[has_reward]),
                pa.array([canonical_json(identity)] * len(rewarded)),
            ]
            _append(self.rewards.within(group), pa.Table.from_arrays(columns, schema=REWARDS), shard)
        failures = [
            {KEY: keys[i], "reason": "no reward", "identity": canonical_json(identity), "at": time.time(),
             **{name: getattr(responses[i], name) for name, _ in _SAMPLE_COLUMNS}}
            for i in np.flatnonzero(~has_reward).tolist()
        ]  # fmt: skip
        if failures:
            _append(self.failures.within(group), pa.Table.from_pylist(failures, FAILURES), shard)

    def load_rewards(self, keys: Keys, group: str | None = None) -> Floats:
        """Load stored rewards.

        Args:
            keys: n content keys.
            group: of the rewarder; None looks in all.

        Returns:
            (n,) rewards; NaN for a key without one.
        """
        key_array = pa.array(keys, pa.string())
        store = self.rewards if group is None else self.rewards.within(group)
        cells = store.table([KEY, "reward"], only=key_array)
        if not len(cells):
            return np.full(len(keys), np.nan)
        rows = pc.index_in(key_array, value_set=cells[KEY].cast(pa.string()))
        return np.asarray(cells["reward"].take(rows).to_numpy(zero_copy_only=False), dtype=np.float64)


def _append(store: Store, cells: pa.Table, shard: str | None) -> None:
    """Append rows as a shard of their own, or as a part of a shard."""
    if shard is None:
        store.append(cells)
    else:
        store.append_part(cells, shard)
