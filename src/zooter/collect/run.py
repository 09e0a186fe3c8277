"""Run live: read queries, ask candidates, reward responses, and write a recorded table.

Each stage computes only the cells that are missing from the cache.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.protocol import Engine
from zooter.collect.reader.protocol import Reader
from zooter.collect.respond import FillPolicy, respond
from zooter.collect.responder.protocol import Responder
from zooter.collect.reward import RewardStage, unzip
from zooter.collect.rewarder.protocol import ComparingRewarder, CompositeRewarder, Rewarder
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import canonical_json, group_of
from zooter.data.files import atomic_path
from zooter.data.locks import exclusive
from zooter.data.pool import Candidate, Pool
from zooter.data.schema import REFERENCE_LISTS, RESPONSE_COLUMNS, schema
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

TABLE_SCHEMA = schema()


@dataclass(frozen=True)
class Collector:
    """Collect a recorded table from live candidates.

    Attributes:
        reader: gives the queries.
        pool: the candidates.
        responder: asks them.
        cache_dir: folder of the cell stores, shared by all runs.
        rewarder: gives the rewards to train with; None leaves them out.
        truth: a second rewarder, whose rewards are used for evaluation only: the column `truth`.
        policy: how missing cells are filled.
        split: tells test queries from the others; a composite rewarder fits its scales on the others. None fits them
            on all queries.
        engine: where candidates are asked and responses rewarded.

    Raises:
        ConfigError: the pool has no candidates.
    """

    reader: Reader
    pool: Pool
    responder: Responder
    cache_dir: Path
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    policy: FillPolicy = field(default_factory=FillPolicy)
    split: Split | None = None
    engine: Engine = field(default_factory=LocalEngine)

    def __post_init__(self) -> None:
        if not self.pool.candidates:
            raise ConfigError(
                expected="candidates in the pool",
                found="none",
                do="add pool_file=FILE.yaml, or +pool.candidates.NAME='{model: …}' for each",
            )

    @property
    def cells(self) -> ResponseCache:
        """Open the stores of responses, failures and rewards."""
        return ResponseCache(self.cache_dir)

    def collect(self, out: Path, until: str | None = None) -> None:
        """Compute the missing cells and write the recorded table.

        Args:
            out: path of the Parquet file.
            until: "respond" leaves the rewards out; None computes everything.

        Raises:
            StoreError: another live run fills the same cache, or the table cannot be written.
            ZooterError: queries cannot be read, or candidates cannot be asked.
        """
        # Each of two runs would pay for the same cells. Reading needs no lock: shards never change.
        with exclusive(self.cache_dir, "cache of responses"):
            self._collect(out, until)

    def _collect(self, out: Path, until: str | None) -> None:
        if until != "respond":
            for rewarder in (self.rewarder, self.truth):
                if rewarder is not None:
                    rewarder.identity()  # a model that cannot be loaded fails here, before anything is paid for
        queries = self.reader.read()
        keys = respond(queries, self.pool, self.responder, self.cells, self.policy, self.engine)
        rewards = truths = None
        if until != "respond":
            rewards = self._rewards(self.rewarder, queries, keys, "reward")
            truths = self._rewards(self.truth, queries, keys, "truth")
        self._write(out, queries, keys, rewards, truths)

    def stored_responses(self, queries: Sequence[Query], name: str, keys: pa.Array) -> Iterator[tuple[Query, Response]]:
        """Load what rewarders see of a candidate's cached responses: text and finish reason.

        Args:
            queries: n queries.
            name: the candidate's name.
            keys: content keys of its cells, sample after sample, each in the order of the queries.

        Yields:
            Query and response per key, in order; a response that is not in the cache has an error.
        """
        columns = self.cells.load_columns(keys, ["text", "finish_reason"], self._group(name))
        cells = zip(columns["text"].to_pylist(), columns["finish_reason"].to_pylist(), strict=True)
        for i, (text, finish_reason) in enumerate(cells):
            sample, row = divmod(i, len(queries))
            query, error = queries[row], "missing" if text is None else None
            yield query, Response(query.id, name, sample, text or "", finish_reason, error=error)

    def _group(self, name: str) -> str:
        """Group of the store that holds a candidate's responses."""
        (candidate,) = (candidate for candidate in self.pool.candidates if candidate.name == name)
        return group_of(self.responder.identity(candidate))

    def _rewards(
        self, rewarder: Rewarder | None, queries: Sequence[Query], keys: Mapping[str, pa.Array], title: str
    ) -> dict[str, Floats] | None:
        """Candidate → rewards in the order of its keys, NaN where there is none; None without a rewarder."""
        if rewarder is None:
            return None
        if not isinstance(rewarder, CompositeRewarder):
            return self._fill_rewards(rewarder, queries, keys, title)
        by_part = {
            name: self._fill_rewards(part, queries, keys, f"{title}: {name}") for name, part in rewarder.parts.items()
        }
        # (queries, candidates × samples): one row per query, as the split has them.
        tables = {
            part: np.stack([values.reshape(-1, len(queries)) for values in rewards.values()])
            .reshape(-1, len(queries))
            .T
            for part, rewards in by_part.items()
        }
        combined = rewarder.with_scales(tables, self._training_rows(queries)).combine(tables).T
        return dict(zip(keys, combined.reshape(len(keys), -1), strict=True))

    def _training_rows(self, queries: Sequence[Query]) -> NDArray[np.bool_] | None:
        """(n,) whether a query is outside the test part; None without a split."""
        if self.split is None:
            return None
        return np.asarray(~self.split.is_test([query.text for query in queries]))

    def _fill_rewards(
        self, rewarder: Rewarder, queries: Sequence[Query], keys: Mapping[str, pa.Array], title: str
    ) -> dict[str, Floats]:
        """Compute the missing rewards of one rewarder; candidate → its rewards in the order of its keys."""
        if isinstance(rewarder, ComparingRewarder):
            return self._compare(rewarder, queries, keys, title)
        stage = RewardStage(rewarder, self.cells, self.policy.max_attempts, title, self.engine)
        return stage.fill(lambda name: list(self.stored_responses(queries, name, keys[name])), list(keys))

    def _compare(
        self, rewarder: ComparingRewarder, queries: Sequence[Query], keys: Mapping[str, pa.Array], title: str
    ) -> dict[str, Floats]:
        """Compare all responses to each query; the rewards depend on the pool and are not stored."""
        before = rewarder.spent.copy()
        pairs = [pair for name in keys for pair in self.stored_responses(queries, name, keys[name])]
        values = rewarder.reward(*unzip(pairs))
        log.info("%s: %d responses compared; %s", title, len(pairs), rewarder.spent.since(before).describe())
        ends = np.cumsum([len(cell_keys) for cell_keys in keys.values()])[:-1]
        return dict(zip(keys, np.split(values, ends), strict=True))

    def _write(
        self,
        out: Path,
        queries: Sequence[Query],
        keys: Mapping[str, pa.Array],
        rewards: Mapping[str, Floats] | None,
        truths: Mapping[str, Floats] | None,
    ) -> None:
        """Write the table atomically, one row group per candidate: one candidate's texts are in memory at a time."""
        try:
            table_schema = _table_schema(queries)
            with atomic_path(out) as temporary, pq.ParquetWriter(temporary, table_schema) as writer:
                for candidate in self.pool.candidates:
                    name = candidate.name
                    table = self._rows(candidate, queries, keys[name], table_schema)
                    table = _with_column(table, "reward", None if rewards is None else rewards[name])
                    writer.write_table(_with_column(table, "truth", None if truths is None else truths[name]))
        except OSError as error:
            raise StoreError(
                expected=f"to write {out}", found=str(error), do="free some space or choose another run_dir=…"
            ) from error

    def _rows(
        self, candidate: Candidate, queries: Sequence[Query], keys: pa.Array, table_schema: pa.Schema
    ) -> pa.Table:
        """Rows of a candidate in the order of its keys, under its present name; rewards are left empty."""
        cells, samples = self.cells.load_columns(keys, group=self._group(candidate.name)), self.policy.samples
        row_queries = [*queries] * samples
        tokens = zip(cells["input_tokens"].to_pylist(), cells["output_tokens"].to_pylist(), strict=True)
        # At the pool's prices; the cached cost where they are not known.
        costs = pa.array([candidate.cost(*counts) for counts in tokens], pa.float64())
        identity = None if self.rewarder is None else canonical_json(self.rewarder.identity())
        columns = {
            "query_id": [query.id for query in row_queries],
            "query": [query.text for query in row_queries],
            "candidate": [candidate.name] * len(keys),
            "sample": np.repeat(np.arange(samples), len(queries)),
            "response": cells["text"],
            "reward": [None] * len(keys),
            "truth": [None] * len(keys),
            "reference": [
                (list(query.references) or None) if table_schema != TABLE_SCHEMA else query.reference
                for query in row_queries
            ],
            "tags": [list(query.tags) for query in row_queries],
            **{name: cells[name] for name in RESPONSE_COLUMNS},
            "cost": pc.coalesce(costs, cells["cost"]),
            "rewarder": [identity] * len(keys),
        }
        return pa.table({name: columns[name] for name in table_schema.names}, schema=table_schema)


def _table_schema(queries: Sequence[Query]) -> pa.Schema:
    """Columns of the table: `reference` is a list of texts if a query has several."""
    if not any(query.other_references for query in queries):
        return TABLE_SCHEMA
    return TABLE_SCHEMA.set(TABLE_SCHEMA.get_field_index("reference"), pa.field("reference", REFERENCE_LISTS))


def _with_column(table: pa.Table, name: str, values: Floats | None) -> pa.Table:
    """Fill a column with values, null where NaN; None leaves the table as it is."""
    if values is None:
        return table
    i = TABLE_SCHEMA.get_field_index(name)
    return table.set_column(i, TABLE_SCHEMA.field(name), pa.array(values, mask=np.isnan(values)))
