"""A language model as the judge, asked through any responder by a rubric from the configuration."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zooter.collect.llm import CachedLLM, json_values
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import answered_rows
from zooter.data.pool import Candidate
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)

_PLACE = re.compile(r"\{(query|response|reference|first|second)\}")


@dataclass(frozen=True)
class JudgeRewarder:
    """Asks a model for a JSON object with one number.

    A rubric with `{response}` judges each response by itself. One with `{first}` and `{second}` compares two, and its
    number says how much better the first is; judges favour a place, so both orders are asked and averaged, and the
    preference for the first place is told. As rewards, pairs compare each response with its query's reference.

    Attributes:
        responder: how the judge is asked.
        candidate: the judge.
        rubric: the text it gets, with {query} and either {response} or {first} and {second}, and optionally
            {reference}; braces around other words stay as they are.
        key: of the number in the object.
        lowest, highest: bounds of the number; one outside is no reward. For pairs their mean is a tie.
        max_failures: share of a batch's calls that may fail; those responses get no reward in this run.
        cache_dir: keeps the judge's replies, so that a run that was stopped asks none of them again.
    """

    responder: Responder
    candidate: Candidate
    rubric: str
    key: str = "reward"
    lowest: float = 1.0
    highest: float = 10.0
    max_failures: float = 0.2
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        places = set(_PLACE.findall(self.rubric))
        compared = len({"first", "second"} & places)
        if "query" not in places or compared == 1 or ("response" in places) == bool(compared):
            raise ConfigError(
                expected="rewarder.rubric with {query} and either {response} or both {first} and {second}",
                found=f"{sorted(places)}",
                do="correct the rubric",
            )
        if not self.lowest < self.highest:
            raise ConfigError(
                expected="rewarder.lowest below rewarder.highest", found=f"{self.lowest}, {self.highest}", do="set both"
            )

    def identity(self) -> Mapping[str, object]:
        """The judge, how it is asked, the rubric and the bounds."""
        return {
            "rewarder": "judge", "judge": dict(self.responder.identity(self.candidate)), "rubric": self.rubric,
            "key": self.key, "bounds": [self.lowest, self.highest],
        }  # fmt: skip

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,) numbers between `lowest` and `highest`; NaN for a failed response, a query without the reference that
        the rubric wants, and where the judge gives no such number (which is counted in the log).

        Raises:
            ResponderError: the judge cannot be asked, or more calls failed than may.
        """
        rewards = np.full(len(responses), np.nan)
        wants_reference = self._pairs or "{reference}" in self.rubric
        rows = [i for i in answered_rows(responses) if queries[i].reference is not None or not wants_reference]
        if self._pairs:
            references = [queries[i].reference or "" for i in rows]
            rewards[rows] = self.prefer([queries[i] for i in rows], [responses[i].text for i in rows], references)
        else:
            rewards[rows] = self._numbers([self._text(queries[i], response=responses[i].text) for i in rows])
        return rewards

    def prefer(self, queries: Sequence[Query], these: Sequence[str], those: Sequence[str]) -> Floats:
        """(n,) how much better `these` are than `those`, on the rubric's scale; NaN unless both orders have a number.

        Raises:
            as `reward`.
        """
        rows = list(zip(queries, these, those, strict=True))
        texts = [self._text(query, first=this, second=that) for query, this, that in rows]
        texts += [self._text(query, first=that, second=this) for query, this, that in rows]
        forth, back = self._numbers(texts).reshape(2, -1)
        both = ~np.isnan(forth + back)
        if both.any():
            favour = float(np.mean((forth + back)[both]) / 2 - (self.lowest + self.highest) / 2)
            log.info("the judge favours the first place by %.3f; both orders are averaged", favour)
        # The second order's number is about the other one: mirrored at the tie.
        return np.asarray((forth + self.lowest + self.highest - back) / 2)

    @property
    def _pairs(self) -> bool:
        return "{first}" in self.rubric

    def _text(self, query: Query, **parts: str) -> str:
        values = {"query": query.text, "reference": query.reference or "", **parts}
        # In one pass: a response that contains "{reference}" must not be filled in.
        return _PLACE.sub(lambda place: values.get(place[1], place[0]), self.rubric)

    def _numbers(self, texts: Sequence[str]) -> Floats:
        replies = CachedLLM(self.responder, self.candidate, self._folder, self.max_failures).to(texts)
        numbers = np.array([math.nan if reply is None else self._number(reply) for reply in replies], dtype=np.float64)
        failed = sum(reply is None for reply in replies)
        unread = int(np.isnan(numbers).sum()) - failed
        if failed or unread:
            log.warning("of %d calls of the judge %d failed and %d gave no number between %g and %g: no reward there",
                        len(texts), failed, unread, self.lowest, self.highest)  # fmt: skip
        return numbers

    @property
    def _folder(self) -> Path | None:
        return None if self.cache_dir is None else self.cache_dir / "judged"

    def _number(self, reply: str) -> float:
        """The number in the last object that has the key; NaN where there is none within the bounds."""
        objects = [value for value in json_values(reply) if isinstance(value, dict) and self.key in value]
        try:
            # A number in quotes is meant as one; true is not.
            number = float(str(objects[-1][self.key])) if objects else math.nan
        except ValueError:
            return math.nan
        return number if self.lowest <= number <= self.highest else math.nan
