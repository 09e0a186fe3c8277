"""Collect and cache the embedded zoo's answers for `papers.py`, and format comparisons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from zooter.collect.reader.skills.generate import generate
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.huggingface import HuggingFaceResponder
from zooter.collect.responder.protocol import Sampling
from zooter.collect.rewarder.protocol import Rewarder
from zooter.collect.rewarder.verify import VerifyRewarder
from zooter.collect.run import Collector
from zooter.commands import config
from zooter.data import response_table
from zooter.data.pool import Pool
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query, query_id
from zooter.metrics.routing import paired_bootstrap
from zooter.router.encoder import Encoder

CONF = Path("conf")
TRUTH = VerifyRewarder("exact")
MAX_NEW_TOKENS = 12  # tokens; right answers have 11 at most


@dataclass(frozen=True)
class FixedReader:
    """Reader of given queries."""

    queries: tuple[Query, ...]

    def read(self) -> list[Query]:
        return list(self.queries)


@dataclass(frozen=True)
class CachedEncoder(Encoder):
    """Encoder with a cache folder for all texts, so that a second run embeds nothing."""

    shared_cache: Path = Path("cache")

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return super().embed(texts, cache or self.shared_cache)


def draw(count: int, split: str) -> tuple[Query, ...]:
    """Generate queries of the zoo's skills; "train" and "test" are disjoint by the hashes of texts."""
    drawn = generate(count, 0, split)
    return tuple(
        Query(query_id(question.text), question.text, question.reference, (question.skill,)) for question in drawn
    )


def zoo() -> Pool:
    """Load the pool of all candidates with their prices."""
    pool = config.build(yaml.safe_load((CONF / "pool" / "zoo.yaml").read_text(encoding="utf-8")))
    assert isinstance(pool, Pool)
    return pool


def sub_pool(pool: Pool, names: Sequence[str]) -> Pool:
    """Select candidates by name, in this order."""
    by_name = {candidate.name: candidate for candidate in pool.candidates}
    return Pool(tuple(by_name[name] for name in names))


def responder(temperature: float) -> HuggingFaceResponder:
    """Make the responder that all parts use."""
    return HuggingFaceResponder(Sampling(temperature=temperature, max_new_tokens=MAX_NEW_TOKENS), device="cpu")


def collect_table(
    queries: tuple[Query, ...], pool: Pool, cache: Path, temperature: float, samples: int = 1,
    rewarder: Rewarder = TRUTH,
) -> ResponseTable:  # fmt: skip
    """Collect responses with rewards and truth; asked once, and read from the cache afterwards."""
    policy = FillPolicy(samples=samples, batch=4_096, seconds=60.0, max_failures=1.0)
    truth = None if rewarder is TRUTH else TRUTH
    collector = Collector(FixedReader(queries), pool, responder(temperature), cache, rewarder, truth, policy)
    out = cache / "papers.parquet"
    collector.collect(out)
    return response_table.read(out, pool)


def interval(values: Sequence[Floats], statistic: Callable[..., Floats]) -> tuple[float, float, float]:
    """Compute a statistic of the means of per-query values, and its 95 % interval by a paired bootstrap."""
    columns = np.stack(values)
    low, high = paired_bootstrap(columns, statistic)
    return float(np.asarray(statistic(*columns.mean(axis=1)))), float(low), float(high)


def compare(first: Floats, second: Floats) -> tuple[str, int]:
    """Compare two means: the difference in points with its interval, and 1 (better), 0 (undecided) or -1 (worse)."""
    point, low, high = (100.0 * x for x in interval([first, second], lambda a, b: a - b))
    return f"{point:+.1f} ({low:+.1f}…{high:+.1f})", int(low > 0) - int(high < 0)


def verdict(outcomes: Sequence[int]) -> str:
    """Describe in how many comparisons a claim to be better holds."""
    won, lost = outcomes.count(1), outcomes.count(-1)
    if won == len(outcomes):
        return "**Holds.**"
    if lost == len(outcomes):
        return "**Does not hold; the opposite does.**"
    open_ = len(outcomes) - won - lost
    return f"**Holds in {won} of {len(outcomes)}**; the opposite in {lost}, and {open_} cannot be told apart."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Format a Markdown table with numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def points(values: Floats) -> str:
    """Format a mean in percent."""
    return f"{100.0 * float(np.mean(values)):.1f}"
