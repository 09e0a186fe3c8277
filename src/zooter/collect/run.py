"""A live run: reader → respond → reward, every stage filling only the cells that are missing, into a recorded table."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zooter.collect import progress
from zooter.collect.reader.protocol import Reader
from zooter.collect.respond import FillPolicy, respond
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import Combination, Rewarder
from zooter.data.cache import ResponseCache, canonical_json, reward_keys
from zooter.data.files import atomic_path
from zooter.data.pool import Candidate, Pool
from zooter.data.schema import schema
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import StoreError

log = logging.getLogger(__name__)

REWARD_BATCH = 1_024  # cells that land together in the reward stage
RECORDS = schema()
_OF_RESPONSE = ("finish_reason", "margin", "first_tokens", "input_tokens", "output_tokens", "seconds")


@dataclass(frozen=True)
class Collector:
    """The parts of a live run.

    Attributes:
        rewarder: gives the rewards that train; None leaves them out.
        truth: a second rewarder, whose rewards are only evaluated with: the column `truth`.
        cache_dir: where cells are kept, for all runs.
        split: says which queries are tested on: combined rewarders learn their scales from the others.
    """

    reader: Reader
    pool: Pool
    responder: Responder
    cache_dir: Path
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    rules: FillPolicy = field(default_factory=FillPolicy)
    split: Split | None = None

    @property
    def cells(self) -> ResponseCache:
        """The stores of this run."""
        return ResponseCache(self.cache_dir)

    def run(self, out: Path, until: str | None = None) -> None:
        """Fill what is missing and write the recorded table; until="respond" leaves the rewards out.

        Raises:
            ZooterError: queries cannot be read, candidates cannot be asked, or a disk is full.
        """
        if until != "respond":
            for rewarder in (self.rewarder, self.truth):
                if rewarder is not None:
                    rewarder.identity()  # a model that cannot be loaded is told before anything is paid for
        queries = self.reader.read()
        keys = respond(queries, self.pool, self.responder, self.cells, self.rules)
        rewards = truths = None
        if until != "respond":
            rewards = self._rewards(self.rewarder, queries, keys)
            truths = self._rewards(self.truth, queries, keys)
        self._write(out, queries, keys, rewards, truths)

    def answers(self, queries: Sequence[Query], name: str, keys: Sequence[str]) -> Iterator[tuple[Query, Response]]:
        """What is rewarded of a candidate's responses, the text and why it ended, in the order of its keys."""
        found = self.cells.rows(keys, ["text", "finish_reason"])
        cells = zip(found["text"].to_pylist(), found["finish_reason"].to_pylist(), strict=True)
        for i, (text, reason) in enumerate(cells):
            sample, row = divmod(i, len(queries))
            query, error = queries[row], "missing" if text is None else None
            yield query, Response(query.id, name, sample, text or "", reason, error=error)

    def _rewards(
        self, rewarder: Rewarder | None, queries: Sequence[Query], keys: Mapping[str, list[str]]
    ) -> dict[str, Floats] | None:
        """Candidate → rewards in the order of its keys, NaN where there is none; None without a rewarder."""
        if rewarder is None:
            return None
        if not isinstance(rewarder, Combination):
            return self._reward(rewarder, queries, keys)
        of_part = {name: self._reward(part, queries, keys) for name, part in rewarder.parts.items()}
        # One column per candidate and sample, one row per query: as the split sees them.
        tables = {
            part: np.stack([values.reshape(-1, len(queries)) for values in found.values()]).reshape(-1, len(queries)).T
            for part, found in of_part.items()
        }
        combined = rewarder.with_scales(tables, self._trains(queries)).combine(tables).T
        whole = combined.reshape(len(keys), -1)
        return dict(zip(keys, whole, strict=True))

    def _trains(self, queries: Sequence[Query]) -> NDArray[np.bool_] | None:
        """(n,) whether a query is not tested on; None where the run has no split."""
        if self.split is None:
            return None
        return np.asarray(~self.split.is_test([query.text for query in queries]))

    def _reward(self, rewarder: Rewarder, queries: Sequence[Query], keys: Mapping[str, list[str]]) -> dict[str, Floats]:
        """Fill the missing rewards of one rewarder; candidate → its rewards."""
        identity, started = rewarder.identity(), time.monotonic()
        found: dict[str, Floats] = {}
        computed = 0
        with progress.progress_bar("rewarding", sum(map(len, keys.values()))) as advance:
            for name, of_candidate in keys.items():
                pairs = list(self.answers(queries, name, of_candidate))
                rows = [i for i, (_, response) in enumerate(pairs) if response.error is None]
                names = reward_keys(identity, *_unzipped([pairs[i] for i in rows]))
                values = self.cells.rewards_of(names)
                missing = self._missing(names, values)
                advance(len(of_candidate) - len(missing), 0.0, 0)
                for start in range(0, len(missing), REWARD_BATCH):
                    batch = missing[start : start + REWARD_BATCH]
                    asked, given = _unzipped([pairs[rows[i]] for i in batch])
                    gave = rewarder.reward(asked, given)
                    self.cells.keep_rewards([names[i] for i in batch], given, gave, identity)
                    advance(len(batch), 0.0, int(np.isnan(gave).sum()))
                computed += len(missing)
                found[name] = np.full(len(of_candidate), np.nan)
                found[name][rows] = self.cells.rewards_of(names) if missing else values
        if computed:
            log.info("%d rewards in %.1f s", computed, time.monotonic() - started)
            self.cells.rewards.compact()
        return found

    def _missing(self, names: Sequence[str], values: Floats) -> list[int]:
        """The first place of each reward key that has no value and may be tried."""
        absent = {names[i]: int(i) for i in np.flatnonzero(np.isnan(values))[::-1]}
        attempts = self.cells.attempts(list(absent)) if absent else {}
        return sorted(i for name, i in absent.items() if attempts.get(name, 0) < self.rules.max_attempts)

    def _write(
        self,
        out: Path,
        queries: Sequence[Query],
        keys: Mapping[str, list[str]],
        rewards: Mapping[str, Floats] | None,
        truths: Mapping[str, Floats] | None,
    ) -> None:
        """One row group per candidate, so that one candidate's texts are in memory; whole or not at all."""
        try:
            with atomic_path(out) as temporary, pq.ParquetWriter(temporary, RECORDS) as writer:
                for candidate in self.pool.candidates:
                    name = candidate.name
                    table = self._rows(candidate, queries, keys[name])
                    table = _with_column(table, "reward", None if rewards is None else rewards[name])
                    writer.write_table(_with_column(table, "truth", None if truths is None else truths[name]))
        except OSError as error:
            raise StoreError(
                expected=f"to write {out}", found=str(error), do="free some space or choose another run_dir=…"
            ) from error

    def _rows(self, candidate: Candidate, queries: Sequence[Query], keys: Sequence[str]) -> pa.Table:
        """A candidate's rows in the order of its keys, whatever it was called when it answered."""
        cells, samples = self.cells.rows(keys), self.rules.samples
        asked = [*queries] * samples
        tokens = zip(cells["input_tokens"].to_pylist(), cells["output_tokens"].to_pylist(), strict=True)
        # Today's prices; the recorded cost where they are not known.
        costs = pa.array([candidate.cost(*counts) for counts in tokens], pa.float64())
        gave = None if self.rewarder is None else canonical_json(self.rewarder.identity())
        columns = {
            "query_id": [query.id for query in asked],
            "query": [query.text for query in asked],
            "candidate": [candidate.name] * len(keys),
            "sample": np.repeat(np.arange(samples), len(queries)),
            "response": cells["text"],
            "reward": [None] * len(keys),
            "truth": [None] * len(keys),
            "reference": [query.reference for query in asked],
            "tags": [list(query.tags) for query in asked],
            "cost": pc.coalesce(costs, cells["cost"]),
            "rewarder": [gave] * len(keys),
            **{name: cells[name] for name in _OF_RESPONSE},
        }
        return pa.table({name: columns[name] for name in RECORDS.names}, schema=RECORDS)


def _with_column(table: pa.Table, name: str, values: Floats | None) -> pa.Table:
    if values is None:
        return table
    place = RECORDS.get_field_index(name)
    return table.set_column(place, RECORDS.field(name), pa.array(values, mask=np.isnan(values)))


def _unzipped(pairs: Sequence[tuple[Query, Response]]) -> tuple[list[Query], list[Response]]:
    return [query for query, _ in pairs], [response for _, response in pairs]
