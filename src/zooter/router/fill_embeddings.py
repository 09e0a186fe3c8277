"""Compute the embeddings that are not in the cache yet, on an engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Engine, Job, Report, count_shards
from zooter.data.shards import KEY
from zooter.data.store import shard_of
from zooter.router.encoder import Embedder, Encoder, embedding_keys


def fill_embeddings(texts: Sequence[str], encoder: Embedder, cache: Path, engine: Engine) -> None:
    """Compute missing embeddings on a cluster; an engine of this process leaves them to `Encoder.embed`.

    Args:
        texts: n queries.
        encoder: computes them; one that is fitted to the queries is left to the training.
        cache: folder that keeps them.
        engine: where they are computed.
    """
    size = engine.shard_cells
    if size is None or not isinstance(encoder, Encoder):
        return
    keys = embedding_keys(texts)
    missing = encoder.store(cache).missing(keys).tolist()

    def tables() -> Iterator[pa.Table]:
        """Make tables of missing texts, one at a time."""
        for start in range(0, len(missing), size):
            rows = missing[start : start + size]
            texts_of_rows = pa.array([texts[i] for i in rows], pa.large_string())
            yield pa.table({KEY: [keys[i] for i in rows], "query": texts_of_rows})

    if missing:
        job = Job("embedding", "embed", EmbedWork(encoder, cache), len(missing), count_shards([len(missing)], size))
        engine.run(job, tables())
        encoder.store(cache).compact()


@dataclass(frozen=True)
class EmbedWork:
    """Embed the texts of a table.

    Attributes:
        encoder: computes embeddings.
        cache: folder that keeps them.
    """

    encoder: Encoder
    cache: Path

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        """Embed the texts that no part of the shard holds yet; see `Work`."""
        store = self.encoder.store(self.cache)
        with shard_of(cells, [store], shard) as missing:
            texts, keys = missing["query"].to_pylist(), missing[KEY].to_pylist()
            for stored in self.encoder.store_embeddings(texts, keys, self.cache, shard):
                report(Outcomes(stored))
