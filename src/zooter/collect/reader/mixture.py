"""Draw training queries from several sources by their tags, as ZOOTER made DivInstruct (§4.1)."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, SkipValidation

from zooter.collect.reader.protocol import Reader
from zooter.data.component import component
from zooter.data.types import Query, Tags
from zooter.errors import RecordsError

log = logging.getLogger(__name__)

_WORD = re.compile(r"\w+")


class Tagging(Protocol):
    """What the reader asks of a tagger (`zooter.training.tagger`)."""

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "Tagging":
        """Learn tags from queries."""
        ...

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Return the tags of queries."""
        ...


@component
class MixtureReader:
    """Mix sources, leave out what overlaps with test sets, and draw a few queries for each tag.

    1. Equal texts of several sources are one query, of the first source.
    2. A query that shares a sequence of `ngram` words with a query of `exclude` is left out. Words are compared without
       case and punctuation, for the paper does not say how it cut texts; a text of fewer words is compared as a whole.
    3. For each tag, `per_tag` of its queries are drawn at random, or all it has. What is drawn for one tag may carry
       others, so that a frequent tag ends with more; queries without a tag are never drawn.

    Attributes:
        sources: name → reader.
        exclude: name → reader of a test set, whose query template should be the bare question: an instruction that is
            added to each question would be shared by training queries that say the same.
        per_tag: queries drawn for each tag; 10 in the paper.
        ngram: words; 6 in the paper.
        seed: of the draw.
        tagger: tags the queries that are left after step 2; None takes the sources' tags.
    """

    sources: Mapping[str, SkipValidation[Reader]]
    exclude: Mapping[str, SkipValidation[Reader]]
    per_tag: PositiveInt = 10
    ngram: PositiveInt = 6
    seed: int = 0
    tagger: SkipValidation[Tagging | None] = None

    def read(self) -> list[Query]:
        """Read, filter and draw the queries, source after source; the counts of each step are logged.

        Raises:
            RecordsError: a source cannot be read, or no query is left.
        """
        test_queries = [query for reader in self.exclude.values() for query in reader.read()]
        test_grams = {gram for query in test_queries for gram in self._grams(query)}
        counts: dict[str, Counter[str]] = {}
        kept: dict[str, tuple[str, Query]] = {}
        for name, reader in self.sources.items():
            count = counts[name] = Counter()
            for query in reader.read():
                count["read"] += 1
                if query.text in kept:
                    count["equal"] += 1
                elif not test_grams.isdisjoint(self._grams(query)):
                    count["overlapping"] += 1
                else:
                    kept[query.text] = name, query
        queries = self._tagged([query for _, query in kept.values()])
        drawn = draw_per_tag(queries, self.per_tag, self.seed)
        for row, (name, _) in enumerate(kept.values()):
            counts[name]["untagged"] += not queries[row].tags
            counts[name]["drawn"] += row in drawn
        tags = {tag for query in queries for tag in query.tags}
        _log_counts(counts, len(tags))
        if not drawn:
            raise RecordsError(
                expected="queries with tags in the sources",
                found=f"{len(queries)} queries and {len(tags)} tags",
                do="give reader.sources tags, or set reader.tagger",
            )
        return [queries[row] for row in sorted(drawn)]

    def _grams(self, query: Query) -> Iterator[bytes]:
        """Yield a hash of each sequence of `ngram` words; a set of these is smaller than one of texts."""
        words = _WORD.findall(query.text.casefold())
        for start in range(max(1, len(words) - self.ngram + 1)):
            yield hashlib.blake2b(" ".join(words[start : start + self.ngram]).encode(), digest_size=8).digest()

    def _tagged(self, queries: Sequence[Query]) -> Sequence[Query]:
        if self.tagger is None or not queries:
            return queries
        texts, embeddings = [query.text for query in queries], np.empty((len(queries), 0), dtype=np.float32)
        recorded = Tags.from_rows([query.tags for query in queries])
        tags = self.tagger.fit(texts, embeddings, recorded).tag(texts, embeddings, recorded)
        rows = np.split(tags.membership.indices, tags.membership.indptr[1:-1])
        return [
            replace(query, tags=tuple(tags.names[j] for j in columns))
            for query, columns in zip(queries, rows, strict=True)
        ]


def draw_per_tag(queries: Sequence[Query], per_tag: int, seed: int) -> set[int]:
    """Draw up to `per_tag` queries of each tag.

    Args:
        queries: with tags.
        per_tag: 1 or more.
        seed: of the draw; a tag's draw depends on its own name and queries alone.

    Returns:
        Positions of all that were drawn.
    """
    members: dict[str, list[int]] = {}
    for row, query in enumerate(queries):
        for tag in query.tags:
            members.setdefault(tag, []).append(row)
    drawn: set[int] = set()
    for tag, rows in members.items():
        name = int.from_bytes(hashlib.blake2b(tag.encode(), digest_size=8).digest())
        rng = np.random.default_rng([seed, name])
        drawn.update(rng.permutation(rows)[:per_tag].tolist())
    return drawn


def _log_counts(counts: Mapping[str, Mapping[str, int]], tags: int) -> None:
    columns = ("read", "equal", "overlapping", "untagged", "drawn")
    log.info("%-24s %s", "source", " ".join(f"{column:>11}" for column in columns))
    for name, count in [*counts.items(), ("all", _sum(counts.values()))]:
        log.info("%-24s %s", name, " ".join(f"{count[column]:>11,}" for column in columns))
    log.info("%d tags", tags)


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
