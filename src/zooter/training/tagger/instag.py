"""Tags by a language model: InsTag's instruction through any responder, its tags normalised and merged.

ZOOTER tags its queries with InsTagger (OFA-Sys/InsTagger, arXiv 2308.07074). How it normalised the tags is not
described; here they lose case and punctuation, near-duplicates are merged by the cosine of their embeddings, and tags
of too few training queries are dropped.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, SkipValidation

from zooter.collect.engine.protocol import Engine
from zooter.collect.fill_replies import fill_replies
from zooter.collect.llm import CachedLLM, json_values
from zooter.collect.responder.protocol import Responder
from zooter.data.component import Fraction, PathField, component
from zooter.data.pool import Candidate
from zooter.data.types import Tags
from zooter.errors import ConfigError
from zooter.router.encoder import Embedder

log = logging.getLogger(__name__)

INSTRUCTION = (
    "Please identify tags of user intentions in the following user query and provide an explanation for each tag. "
    'Please respond in the JSON format {"tag": str, "explanation": str}.\nUser query: {query}'
)
MAX_TAG_CHARACTERS = 60  # what is longer is a sentence

_TAG_FIELD = re.compile(r'"tag"\s*:\s*"([^"\n]+)"')
_NON_WORD = re.compile(r"[\W_]+")


@component
class InstagTagger:
    """Ask a model for each query's tags, once per query text.

    Attributes:
        responder: how the model is called.
        candidate: the model.
        encoder: embeds tags, to merge those that mean the same; None merges none.
        cache_dir: folder of the replies; None keeps none.
        instruction: the prompt, with {query}.
        least: training queries that a tag needs.
        similarity: cosine in (0, 1] from which two tags are merged; the more frequent one gives the name.
        max_failures: share of calls that may fail; those queries carry no tag, and are asked again in the next run.
        max_attempts: runs in which a failed call is tried before it is given up.
        tag_by_spelling: normalised name → tag, learned by `fit`; None before.
        replies: content key → reply of this run so far, None for a failed call: no call is made twice.

    Raises:
        ConfigError: a setting is outside its range.
    """

    responder: SkipValidation[Responder]
    candidate: Candidate
    encoder: SkipValidation[Embedder | None] = None
    cache_dir: PathField | None = None
    instruction: str = INSTRUCTION
    least: PositiveInt = 5
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.85
    max_failures: Fraction = 0.2
    max_attempts: PositiveInt = 3
    tag_by_spelling: SkipValidation[Mapping[str, str] | None] = field(default=None, repr=False)
    replies: SkipValidation[dict[str, str | None]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if "{query}" not in self.instruction:
            raise ConfigError(
                expected="tagger.instruction with {query} in it", found=repr(self.instruction), do="correct it"
            )

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "InstagTagger":
        """Learn from training queries which spellings are one tag, and which tags are frequent enough.

        Args:
            queries: n texts.
            embeddings: not used.
            recorded: not used.

        Raises:
            ResponderError: the model cannot be called, or too many calls failed.
        """
        counts = Counter(name for names in self._query_tags(queries) for name in names)
        spellings = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        merged = self._merge(spellings)
        totals: Counter[str] = Counter()
        for names in self._query_tags(queries):
            totals.update({merged[name] for name in names})
        frequent = {name: tag for name, tag in merged.items() if totals[tag] >= self.least}
        log.info("%d spellings are %d tags, of which %d have %d training queries or more",
                 len(spellings), len(totals), len(set(frequent.values())), self.least)  # fmt: skip
        return replace(self, tag_by_spelling=frequent)

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Tag any queries; tags that no training query carried are left out.

        Args:
            queries: n texts.
            embeddings: not used.
            recorded: not used.

        Returns:
            (n, t) over all tags that `fit` has learned.

        Raises:
            ResponderError: as `fit`.
            RuntimeError: `fit` has not been called.
        """
        tag_of = self.tag_by_spelling
        if tag_of is None:
            raise RuntimeError("call fit first")
        rows = [sorted({tag_of[name] for name in names if name in tag_of}) for names in self._query_tags(queries)]
        # A further row carries every tag, so that the columns are the same at each call.
        with_all_tags = Tags.from_rows([*rows, sorted(set(tag_of.values()))])
        return with_all_tags.take(np.arange(len(rows)))

    def _merge(self, spellings: Sequence[str]) -> dict[str, str]:
        """Spelling → tag; spellings come most frequent first, and each joins the nearest tag or becomes one."""
        if self.encoder is None or len(spellings) < 2:
            return {name: name for name in spellings}
        vectors = self.encoder.embed(spellings, self.cache_dir)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        leaders: list[int] = []
        merged = {}
        for i, name in enumerate(spellings):
            cosines = vectors[leaders] @ vectors[i]
            if len(leaders) and cosines.max() >= self.similarity:
                merged[name] = spellings[leaders[int(cosines.argmax())]]
            else:
                leaders.append(i)
                merged[name] = name
        return merged

    @property
    def _folder(self) -> Path | None:
        return None if self.cache_dir is None else self.cache_dir / "tags"

    def fill(self, queries: Sequence[str], engine: Engine) -> None:
        """Ask a cluster for the replies that are not in the cache yet; here, `fit` and `tag` ask for them.

        Args:
            queries: n texts.
            engine: where the model is asked.
        """
        if engine.shard_cells is not None and self._folder is not None:
            fill_replies(self._llm, self._texts(queries), engine)

    @property
    def _llm(self) -> CachedLLM:
        return CachedLLM(
            self.responder, self.candidate, self._folder, self.max_failures, self.max_attempts, "tagging", self.replies
        )

    def _texts(self, queries: Sequence[str]) -> list[str]:
        return [self.instruction.replace("{query}", query) for query in queries]

    def _query_tags(self, queries: Sequence[str]) -> list[list[str]]:
        """Return the normalised tags of each query, each once."""
        replies = self._llm.ask(self._texts(queries))
        tags = [parse_tags(reply) if reply is not None else None for reply in replies]
        unreadable = sum(names is None for names in tags)
        if unreadable:
            log.warning("%d of %d queries carry no tag: no answer, or none that can be read", unreadable, len(queries))
        return [names or [] for names in tags]


def parse_tags(reply: str) -> list[str] | None:
    """Parse the tags of one reply.

    Objects with a key `tag` or `tags` are read, lists of those or of texts, one after the other or nested, and what is
    left of them in broken JSON.

    Args:
        reply: the model's text.

    Returns:
        Normalised tags, each once, in order; None when the reply has no tags that can be read.
    """
    values = list(json_values(reply))
    names = [name for value in values for name in _tag_strings(value)]
    tag_fields = _TAG_FIELD.findall(reply)
    names = tag_fields if len(tag_fields) > len(names) else names  # some of the objects are broken
    if not names:
        return [] if values and not any(values) else None
    normalised = dict.fromkeys(normalise_tag(name) for name in names)
    return [name for name in normalised if name and len(name) <= MAX_TAG_CHARACTERS]


def normalise_tag(name: str) -> str:
    """Remove case, punctuation and repeated blanks, in one Unicode form (NFKC)."""
    return _NON_WORD.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _tag_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _tag_strings(item)
    elif isinstance(value, dict):
        yield from _tag_strings(value.get("tag"))
        yield from _tag_strings(value.get("tags"))
