"""Tags by a language model: InsTag's instruction through any responder, its tags cleaned and merged.

ZOOTER tags its queries with InsTagger (OFA-Sys/InsTagger, arXiv 2308.07074). How it normalised the tags is not
described; here they lose case and punctuation, near-duplicates are merged by the cosine of their embeddings, and tags
of too few training queries are dropped.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter.collect.llm import CachedLLM, json_values
from zooter.collect.responder.protocol import Responder
from zooter.data.pool import Candidate
from zooter.data.types import Tags
from zooter.errors import ConfigError
from zooter.router.encoder import Encoder

log = logging.getLogger(__name__)

INSTRUCTION = (
    "Please identify tags of user intentions in the following user query and provide an explanation for each tag. "
    'Please respond in the JSON format {"tag": str, "explanation": str}.\nUser query: {query}'
)
LONGEST = 60  # characters of a tag; what is longer is a sentence

_LOOSE = re.compile(r'"tag"\s*:\s*"([^"\n]+)"')
_NO_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class InstagTagger:
    """Asks a model for each query's tags, once per query text.

    Attributes:
        responder: how the model is asked.
        candidate: the model.
        encoder: embeds tags, to merge those that mean the same; None merges none.
        cache_dir: keeps the replies; None keeps none.
        instruction: the text asked, with {query}.
        least: training queries that a tag needs.
        similarity: cosine from which two tags are one; the more frequent one gives the name.
        max_failures: share of calls that may fail; those queries carry no tag, and are asked again in the next run.
        max_attempts: runs in which a failed call is tried before it is given up.
        merged: spelling → tag, learned by `fit`; None before.
        replies: content key → reply of this run so far, None for a failed call: none is asked twice.
    """

    responder: Responder
    candidate: Candidate
    encoder: Encoder | None = None
    cache_dir: Path | None = None
    instruction: str = INSTRUCTION
    least: int = 5
    similarity: float = 0.85
    max_failures: float = 0.2
    max_attempts: int = 3
    merged: Mapping[str, str] | None = field(default=None, repr=False)
    replies: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = {
            "tagger.instruction with {query} in it": "{query}" in self.instruction,
            "tagger.least of 1 or more": self.least >= 1,
            "tagger.max_attempts of 1 or more": self.max_attempts >= 1,
            "tagger.similarity above 0 and up to 1": 0.0 < self.similarity <= 1.0,
        }
        for rule, kept in rules.items():
            if not kept:
                raise ConfigError(expected=rule, found=repr(self), do="correct it")

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "InstagTagger":
        """Learn from the training queries which spellings are one tag, and which tags are frequent enough.

        Raises:
            ResponderError: the model cannot be asked, or more calls failed than may.
        """
        counts = Counter(name for names in self._names(queries) for name in names)
        spelt = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        merged = self._merge(spelt)
        totals: Counter[str] = Counter()
        for names in self._names(queries):
            totals.update({merged[name] for name in names})
        kept = {name: tag for name, tag in merged.items() if totals[tag] >= self.least}
        log.info("%d spellings are %d tags, of which %d have %d training queries or more",
                 len(spelt), len(totals), len(set(kept.values())), self.least)  # fmt: skip
        return replace(self, merged=kept)

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Tags of any queries; those that no training query carried are left out.

        Raises:
            ResponderError: as `fit`.
        """
        if self.merged is None:
            raise RuntimeError("call fit first")
        rows = [sorted({self.merged[name] for name in names if name in self.merged}) for names in self._names(queries)]
        # One row more carries every tag, so that the columns are the same at each call.
        everything = Tags.of([*rows, sorted(set(self.merged.values()))])
        return everything.take(np.arange(len(rows)))

    def _merge(self, spelt: Sequence[str]) -> dict[str, str]:
        """Spelling → tag; the spellings come most frequent first, and each joins the nearest tag or becomes one."""
        if self.encoder is None or len(spelt) < 2:
            return {name: name for name in spelt}
        vectors = self.encoder.embed(spelt, self.cache_dir)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        leaders: list[int] = []
        merged = {}
        for i, name in enumerate(spelt):
            cosines = vectors[leaders] @ vectors[i]
            if len(leaders) and cosines.max() >= self.similarity:
                merged[name] = spelt[leaders[int(cosines.argmax())]]
            else:
                leaders.append(i)
                merged[name] = name
        return merged

    @property
    def _folder(self) -> Path | None:
        return None if self.cache_dir is None else self.cache_dir / "tags"

    def _names(self, queries: Sequence[str]) -> list[list[str]]:
        """The cleaned tags of each query, each once."""
        replies = CachedLLM(
            self.responder, self.candidate, self._folder, self.max_failures, self.max_attempts, "tagging", self.replies
        )
        texts = [self.instruction.replace("{query}", query) for query in queries]
        names = [tags(reply) if reply is not None else None for reply in replies.to(texts)]
        unread = sum(found is None for found in names)
        if unread:
            log.warning("%d of %d queries carry no tag: no answer, or none that can be read", unread, len(queries))
        return [found or [] for found in names]


def tags(reply: str) -> list[str] | None:
    """The cleaned tags of one reply, each once, in order; None when there is nothing to read in it.

    Read are objects with a key `tag` or `tags`, lists of those or of texts, one after the other or inside one another,
    and what is left of them in broken JSON.
    """
    values = list(json_values(reply))
    found = [name for value in values for name in _of(value)]
    loose = _LOOSE.findall(reply)
    found = loose if len(loose) > len(found) else found  # some of the objects are broken
    if not found:
        return [] if values and not any(values) else None
    cleaned = dict.fromkeys(clean(name) for name in found)
    return [name for name in cleaned if name and len(name) <= LONGEST]


def clean(name: str) -> str:
    """A tag without case, punctuation and repeated blanks, in one Unicode form."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _of(item)
    elif isinstance(value, dict):
        yield from _of(value.get("tag"))
        yield from _of(value.get("tags"))
