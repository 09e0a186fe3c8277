"""The embedded zoo's answers for `papers.py`, asked once and kept, and how differences are told."""

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
LONGEST = 12  # tokens; right answers have 11 at most


@dataclass(frozen=True)
class Drawn:
    """A reader of queries that are drawn already."""

    queries: tuple[Query, ...]

    def read(self) -> list[Query]:
        return list(self.queries)


@dataclass(frozen=True)
class KeptEncoder(Encoder):
    """An encoder that looks every text up in a folder, so that a second run embeds nothing."""

    folder_of_all: Path = Path("cache")

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return super().embed(texts, cache or self.folder_of_all)


def draw(count: int, split: str) -> tuple[Query, ...]:
    """Queries of the zoo's skills, those of "train" and "test" told apart by their texts' hashes."""
    drawn = generate(count, 0, split)
    return tuple(Query(query_id(one.text), one.text, one.reference, (one.skill,)) for one in drawn)


def zoo() -> Pool:
    """All candidates with their prices."""
    pool = config.build(yaml.safe_load((CONF / "pool" / "zoo.yaml").read_text(encoding="utf-8")))
    assert isinstance(pool, Pool)
    return pool


def some(pool: Pool, names: Sequence[str]) -> Pool:
    """These candidates, in this order."""
    of = {candidate.name: candidate for candidate in pool.candidates}
    return Pool(tuple(of[name] for name in names))


def responder(temperature: float) -> HuggingFaceResponder:
    """Candidates as they are asked here."""
    return HuggingFaceResponder(Sampling(temperature=temperature, max_new_tokens=LONGEST), device="cpu")


def asked(
    queries: tuple[Query, ...], pool: Pool, cache: Path, temperature: float, samples: int = 1,
    rewarder: Rewarder = TRUTH,
) -> ResponseTable:  # fmt: skip
    """What the candidates answer, with rewards and whether it is right; asked once, and read from the cache after."""
    rules = FillPolicy(samples=samples, batch=4_096, seconds=60.0, max_failures=1.0)
    truth = None if rewarder is TRUTH else TRUTH
    live = Collector(Drawn(queries), pool, responder(temperature), cache, rewarder, truth, rules)
    out = cache / "papers.parquet"
    live.run(out)
    return response_table.read(out, pool)


def interval(values: Sequence[Floats], statistic: Callable[..., Floats]) -> tuple[float, float, float]:
    """A statistic of the means of several rows of per-query values, and its 95 % interval by a paired bootstrap."""
    columns = np.stack(values)
    low, high = paired_bootstrap(columns, statistic)
    return float(np.asarray(statistic(*columns.mean(axis=1)))), float(low), float(high)


def ahead(ours: Floats, theirs: Floats) -> tuple[str, int]:
    """How far ahead in points, with its interval; and 1, 0 or -1: ahead, not to be told, behind."""
    point, low, high = (100.0 * x for x in interval([ours, theirs], lambda a, b: a - b))
    return f"{point:+.1f} ({low:+.1f}…{high:+.1f})", int(low > 0) - int(high < 0)


def verdict(outcomes: Sequence[int]) -> str:
    """In words, what several comparisons say of a claim to be better in all of them."""
    won, lost = outcomes.count(1), outcomes.count(-1)
    if won == len(outcomes):
        return "**Holds.**"
    if lost == len(outcomes):
        return "**Does not hold; the opposite does.**"
    open_ = len(outcomes) - won - lost
    return f"**Holds in {won} of {len(outcomes)}**; the opposite in {lost}, and {open_} cannot be told apart."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def points(values: Floats) -> str:
    """A mean in percent."""
    return f"{100.0 * float(np.mean(values)):.1f}"
