"""Ask a cluster for the replies of one model that are not in the cache yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Engine, Job, Report, count_shards
from zooter.collect.llm import CachedLLM
from zooter.collect.spending import Spending
from zooter.data.content_keys import content_key
from zooter.data.shards import KEY


def fill_replies(llm: CachedLLM, texts: Sequence[str], engine: Engine) -> None:
    """Fill the cache of a model's replies; calls that fail are left to the model's own `ask`.

    Args:
        llm: with a folder.
        texts: n user messages.
        engine: where the model is asked.
    """
    missing = llm.missing(texts)
    size = engine.shard_cells or len(missing)

    def tables() -> Iterator[pa.Table]:
        """Make tables of missing texts, one at a time."""
        for start in range(0, len(missing), size):
            some = missing[start : start + size]
            keys = [content_key("text", text) for text in some]
            yield pa.table({KEY: keys, "text": pa.array(some, pa.large_string())})

    if missing:
        # The limit on failures holds for all texts together: it is checked when they are read.
        work = AskWork(replace(llm, max_failures=1.0, title=None, replies={}, spent=Spending()))
        shards = count_shards([len(missing)], engine.shard_cells)
        engine.run(Job(llm.title or "asking", "tag", work, len(missing), shards), tables())


@dataclass(frozen=True)
class AskWork:
    """Ask for the replies to a table of texts; the model's own cache keeps them.

    Attributes:
        llm: the model.
    """

    llm: CachedLLM

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        """Ask for the replies that are not stored; see `Work`."""
        llm = replace(self.llm, replies={}, spent=Spending())
        replies = llm.ask(cells["text"].to_pylist())
        report(Outcomes(len(replies), replies.count(None), llm.spent))
