"""A live run: reader → respond → reward, every stage filling only the cells that are missing, into a recorded table."""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zooter import progress
from zooter.ask import Rules, respond
from zooter.cells import Cells, reward_keys, told
from zooter.errors import StoreError
from zooter.pool import Pool
from zooter.reader.protocol import Reader
from zooter.responder.protocol import Responder
from zooter.rewarder.protocol import Rewarder
from zooter.types import Floats, Query, Response

log = logging.getLogger(__name__)

REWARDED_TOGETHER = 1_024  # cells that land together in the reward stage
_TEXT = pa.large_string()
RECORDS = pa.schema(
    [
        ("query_id", _TEXT),
        ("query", _TEXT),
        ("candidate", _TEXT),
        ("sample", pa.int64()),
        ("response", _TEXT),
        ("reward", pa.float64()),
        ("truth", pa.float64()),
        ("reference", _TEXT),
        ("tags", pa.list_(_TEXT)),
        ("finish_reason", _TEXT),
        ("margin", pa.float64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("rewarder", _TEXT),
    ]
)
_OF_RESPONSE = ("finish_reason", "margin", "input_tokens", "output_tokens", "seconds")


@dataclass(frozen=True)
class Live:
    """The parts of a live run.

    Attributes:
        rewarder: gives the rewards that train; None leaves them out.
        truth: a second rewarder, whose rewards are only evaluated with: the column `truth`.
        cache_dir: where cells are kept, for all runs.
    """

    reader: Reader
    pool: Pool
    responder: Responder
    cache_dir: Path
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    rules: Rules = field(default_factory=Rules)

    @property
    def cells(self) -> Cells:
        """The stores of this run."""
        return Cells(self.cache_dir)

    def run(self, out: Path, until: str | None = None) -> None:
        """Fill what is missing and write the recorded table; until="respond" leaves the rewards out.

        Raises:
            ZooterError: queries cannot be read, candidates cannot be asked, or a disk is full.
        """
        queries = self.reader.read()
        keys = respond(queries, self.pool, self.responder, self.cells, self.rules)
        rewarders = [] if until == "respond" else [r for r in (self.rewarder, self.truth) if r is not None]
        for rewarder in rewarders:
            self._reward(rewarder, queries, keys)
        self._write(out, queries, keys, rewarded=bool(rewarders))

    def answers(self, queries: Sequence[Query], name: str, keys: Sequence[str]) -> Iterator[tuple[Query, Response]]:
        """A candidate's responses in the order of its keys, whatever it was called when it gave them."""
        for i, found in enumerate(self.cells.answers(keys)):
            sample, row = divmod(i, len(queries))
            query = queries[row]
            missing = Response(query.id, name, sample, "", error="missing")
            yield query, replace(found or missing, query_id=query.id, candidate=name, sample=sample)

    def _reward(self, rewarder: Rewarder, queries: Sequence[Query], keys: Mapping[str, list[str]]) -> None:
        store, identity, started = self.cells.rewards, rewarder.identity(), time.monotonic()
        with progress.bar("rewarding", sum(map(len, keys.values()))) as advance:
            rewarded = 0
            for name, of_candidate in keys.items():
                pairs = [pair for pair in self.answers(queries, name, of_candidate) if pair[1].error is None]
                names = reward_keys(identity, *_unzipped(pairs))
                missing = store.missing(names)
                advance(len(of_candidate) - len(missing), 0.0, 0)
                for start in range(0, len(missing), REWARDED_TOGETHER):
                    rows = missing[start : start + REWARDED_TOGETHER]
                    values = rewarder.reward(*_unzipped([pairs[i] for i in rows]))
                    self.cells.keep_rewards([names[i] for i in rows], values, identity)
                    advance(len(rows), 0.0, int(np.isnan(values).sum()))
                rewarded += len(missing)
        if rewarded:
            log.info("%d rewards in %.1f s", rewarded, time.monotonic() - started)
            store.compact()

    def _rewards(self, rewarder: Rewarder | None, pairs: Sequence[tuple[Query, Response]]) -> Floats:
        """(n,) rewards; NaN for a missing response, or without a rewarder."""
        values = np.full(len(pairs), np.nan)
        answered = [i for i, (_, response) in enumerate(pairs) if response.error is None]
        if rewarder is not None and answered:
            names = reward_keys(rewarder.identity(), *_unzipped([pairs[i] for i in answered]))
            values[answered] = self.cells.rewards.read(names)["reward"].to_numpy()
        return values

    def _write(self, out: Path, queries: Sequence[Query], keys: Mapping[str, list[str]], rewarded: bool) -> None:
        """One row group per candidate, so that one candidate's texts are in memory; whole or not at all."""
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.parent / f".{out.name}.{uuid.uuid4().hex}.tmp"
        try:
            with pq.ParquetWriter(draft, RECORDS) as writer:
                for name, of_candidate in keys.items():
                    pairs = list(self.answers(queries, name, of_candidate))
                    writer.write_table(self._rows(name, pairs, rewarded))
            draft.replace(out)
        except OSError as error:
            raise StoreError(
                expected=f"to write {out}", found=str(error), do="free some space or choose another run_dir=…"
            ) from error
        finally:
            draft.unlink(missing_ok=True)

    def _rows(self, name: str, pairs: Sequence[tuple[Query, Response]], rewarded: bool) -> pa.Table:
        candidate = next(c for c in self.pool.candidates if c.name == name)
        reward = self._rewards(self.rewarder if rewarded else None, pairs)
        truth = self._rewards(self.truth if rewarded else None, pairs)
        gave = told(self.rewarder.identity()) if self.rewarder is not None and rewarded else None
        rows = []
        for query, response in pairs:
            # Today's prices; the recorded cost where they are not known.
            cost = candidate.cost(response.input_tokens, response.output_tokens)
            rows.append(
                {
                    "query_id": query.id,
                    "query": query.text,
                    "candidate": name,
                    "sample": response.sample,
                    "response": response.text if response.error is None else None,
                    "reference": query.reference,
                    "tags": list(query.tags),
                    "cost": response.cost if cost is None else cost,
                    "rewarder": gave,
                    **{column: getattr(response, column) for column in _OF_RESPONSE},
                }
            )
        table = pa.Table.from_pylist(rows, RECORDS)
        for column, values in (("reward", reward), ("truth", truth)):
            place = RECORDS.get_field_index(column)
            table = table.set_column(place, RECORDS.field(column), pa.array(values, mask=np.isnan(values)))
        return table


def _unzipped(pairs: Sequence[tuple[Query, Response]]) -> tuple[list[Query], list[Response]]:
    return [query for query, _ in pairs], [response for _, response in pairs]
