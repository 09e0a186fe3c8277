"""Reward by a language model as a judge, asked through any responder with a configurable rubric."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

import numpy as np
from pydantic import SkipValidation

from zooter.collect.engine.outcomes import MIN_FIRST_ATTEMPTS
from zooter.collect.llm import CachedLLM, json_values
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import CHARACTERS_PER_TOKEN, CallEstimate, answered_rows
from zooter.collect.spending import Spending
from zooter.data.component import Fraction, PathField, component
from zooter.data.pool import Candidate
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, RewarderError

log = logging.getLogger(__name__)

REMINDER = (
    '\n\nEnd with a JSON object of this form on a line of its own: {{"{key}": <number from {lowest:g} to {highest:g}>}}'
)
_PLACEHOLDER = re.compile(r"\{(query|response|reference|first|second)\}")


@component
class JudgeRewarder:
    """Ask a model for a JSON object with one number.

    A rubric with `{response}` judges each response on its own. A rubric with `{first}` and `{second}` compares two
    responses, and its number says how much better the first is. Judges prefer a position, so both orders are asked and
    averaged, and the position bias is logged. As rewards, pairs compare each response with its query's reference.

    Attributes:
        responder: asks the judge.
        candidate: the judge.
        rubric: the judge's prompt, with {query} and either {response} or {first} and {second}, and optionally
            {reference}; braces around other words are left as they are.
        key: of the number in the object.
        lowest, highest: bounds of the number; a number outside is no reward. For pairs their mean is a tie.
        max_failures: share of the marks that may be missing, as a call failed or as two replies had no number; those
            responses get no reward in this run.
        cache_dir: stores the judge's replies, so that a run after an interrupted one repeats no call; None stores
            none.
        spent: calls made so far and their cost.
    """

    responder: SkipValidation[Responder]
    candidate: Candidate
    rubric: str
    key: str = "reward"
    lowest: float = 1.0
    highest: float = 10.0
    max_failures: Fraction = 0.2
    cache_dir: PathField | None = None
    spent: Spending = field(default_factory=Spending, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placeholders = set(_PLACEHOLDER.findall(self.rubric))
        compared = len({"first", "second"} & placeholders)
        if "query" not in placeholders or compared == 1 or ("response" in placeholders) == bool(compared):
            raise ConfigError(
                expected="rewarder.rubric with {query} and either {response} or both {first} and {second}",
                found=f"{sorted(placeholders)}",
                do="correct the rubric",
            )
        if not self.lowest < self.highest:
            raise ConfigError(
                expected="rewarder.lowest below rewarder.highest", found=f"{self.lowest}, {self.highest}", do="set both"
            )

    def identity(self) -> Mapping[str, object]:
        """Return the judge, how it is asked, the rubric and the bounds."""
        return {
            "rewarder": "judge", "judge": dict(self.responder.identity(self.candidate)), "rubric": self.rubric,
            "key": self.key, "bounds": [self.lowest, self.highest],
        }  # fmt: skip

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """Compute rewards.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.

        Returns:
            (n,) numbers between `lowest` and `highest`; NaN for a failed response, a query without the reference that
            the rubric needs, and two replies without such a number (these are counted in the log): a reply without
            one is asked for once more, with a reminder of the form.

        Raises:
            ResponderError: the judge cannot be asked, or more than `max_failures` of the calls failed.
            RewarderError: of 50 new calls or more, more than `max_failures` gave no mark.
        """
        rewards = np.full(len(responses), np.nan)
        rows = self.askable_rows(queries, responses)
        if self.pairwise:
            references = [queries[i].reference or "" for i in rows]
            rewards[rows] = self.compare([queries[i] for i in rows], [responses[i].text for i in rows], references)
        else:
            rewards[rows] = self._ask([self._fill(queries[i], response=responses[i].text) for i in rows])
        return rewards

    def askable_rows(self, queries: Sequence[Query], responses: Sequence[Response]) -> list[int]:
        """Return the positions of responses that did not fail and whose query has the reference that is needed.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.
        """
        needs_reference = self.pairwise or "{reference}" in self.rubric
        return [i for i in answered_rows(responses) if queries[i].reference is not None or not needs_reference]

    def estimate_calls(self, queries: Sequence[Query], responses: Sequence[Response]) -> CallEstimate:
        """Estimate the calls that `reward` would make; nothing is asked.

        Input tokens are a quarter of the prompts' characters. Replies are as long as the stored ones on average, or
        as long as allowed if none is stored.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses; a text of the right length stands for one that is not there yet.
        """
        rows = self.askable_rows(queries, responses)
        if self.pairwise:
            return self.estimate_pairs([(queries[i], responses[i].text, queries[i].reference or "") for i in rows])
        return self._estimate(
            self._llm.missing([self._fill(queries[i], response=responses[i].text) for i in rows]), None
        )

    def estimate_pairs(self, pairs: Sequence[tuple[Query, str, str]]) -> CallEstimate:
        """Estimate the calls that `compare` would make; nothing is asked.

        Args:
            pairs: a query and two responses to it each.
        """
        texts = self._pair_texts(pairs)
        missing, pair_of = self._llm.missing(texts), {text: i % len(pairs) for i, text in enumerate(texts)}
        return self._estimate(missing, len({pair_of[text] for text in missing}))

    def _estimate(self, missing: Sequence[str], pairs: int | None) -> CallEstimate:
        output = self._llm.mean_output_tokens()
        tokens_in = sum(map(len, missing)) / CHARACTERS_PER_TOKEN
        tokens_out = len(missing) * (self.responder.sampling.max_new_tokens if output is None else output)
        return CallEstimate(
            calls=len(missing),
            pairs=pairs,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost=self.candidate.cost(round(tokens_in), round(tokens_out)) if missing else 0.0,
            guessed=output is None and bool(missing),
        )

    def compare(self, queries: Sequence[Query], left: Sequence[str], right: Sequence[str]) -> Floats:
        """Judge pairs of responses in both orders.

        Args:
            queries: n queries.
            left: n responses, the ones whose advantage is measured.
            right: n responses to the same queries.

        Returns:
            (n,) how much better `left` is than `right`, between `lowest` and `highest`; NaN unless both orders have a
            number.

        Raises:
            ResponderError: the judge cannot be asked, or more than `max_failures` of the calls failed.
            RewarderError: of 50 new calls or more, more than `max_failures` gave no mark.
        """
        pairs = list(zip(queries, left, right, strict=True))
        forward, backward = self._ask(self._pair_texts(pairs)).reshape(2, -1)
        complete = ~np.isnan(forward + backward)
        if complete.any():
            bias = float(np.mean((forward + backward)[complete]) / 2 - (self.lowest + self.highest) / 2)
            log.info("the judge favours the first position by %.3f; both orders are averaged", bias)
        # The second order's number is about the other response: mirrored at the tie.
        return np.asarray((forward + self.lowest + self.highest - backward) / 2)

    @property
    def pairwise(self) -> bool:
        """Return whether the rubric compares two responses."""
        return "{first}" in self.rubric

    def _pair_texts(self, pairs: Sequence[tuple[Query, str, str]]) -> list[str]:
        """Fill in the rubric for n pairs: 2n texts, first all in the given order and then all in the other."""
        texts = [self._fill(query, first=a, second=b) for query, a, b in pairs]
        return texts + [self._fill(query, first=b, second=a) for query, a, b in pairs]

    def _fill(self, query: Query, **responses: str) -> str:
        """Fill in the rubric."""
        values = {"query": query.text, "reference": query.reference or "", **responses}
        # In one pass: a response that contains "{reference}" must not be filled in.
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), self.rubric)

    def _ask(self, texts: Sequence[str]) -> Floats:
        """Return the judge's numbers; NaN for failed calls and for replies without one, after a second attempt."""
        new = set(self._llm.missing(texts))
        numbers, replies = self._numbers(self._llm, texts)
        unread = [i for i, reply in enumerate(replies) if reply is not None and math.isnan(numbers[i])]
        # Asked anew with the same words, a judge at temperature 0 would reply the same.
        reminder = REMINDER.format(key=self.key, lowest=self.lowest, highest=self.highest)
        # Failures of these few calls are counted below, among all.
        lenient = replace(self._llm, max_failures=1.0)
        numbers[unread], _ = self._numbers(lenient, [texts[i] + reminder for i in unread])
        failed = sum(reply is None for reply in replies)
        unparsed = int(np.isnan(numbers).sum()) - failed
        if unread or failed:
            log.warning("of %d calls of the judge %d failed and %d gave no number between %g and %g; of these, asked a "
                        "second time, %d gave none again: no reward there",
                        len(texts), failed, len(unread), self.lowest, self.highest, unparsed)  # fmt: skip
        missing = sum(math.isnan(numbers[i]) for i, text in enumerate(texts) if text in new)
        calls = sum(text in new for text in texts)
        if calls >= MIN_FIRST_ATTEMPTS and missing > self.max_failures * calls:
            raise RewarderError(
                expected=f"at most {self.max_failures:.0%} of the calls of {self.candidate.name!r} without a mark",
                found=f"{missing} of {calls}, {failed} of them failed calls",
                do=f"read the replies under {self._folder or 'cache_dir'} and correct the rubric or the judge; or "
                "allow more with rewarder.max_failures. Finished replies are kept",
            )
        return numbers

    def _numbers(self, llm: CachedLLM, texts: Sequence[str]) -> tuple[Floats, list[str | None]]:
        """Return the n numbers in the replies to n texts, and the replies."""
        replies = llm.ask(texts)
        numbers = [math.nan if reply is None else self._parse(reply) for reply in replies]
        return np.array(numbers, dtype=np.float64), replies

    @property
    def _llm(self) -> CachedLLM:
        return CachedLLM(self.responder, self.candidate, self._folder, self.max_failures, spent=self.spent)

    @property
    def _folder(self) -> Path | None:
        return None if self.cache_dir is None else self.cache_dir / "judged"

    def _parse(self, reply: str) -> float:
        """Return the number in the last object that has the key; NaN without one within the bounds."""
        objects = [value for value in json_values(reply) if isinstance(value, dict) and self.key in value]
        try:
            # A number in quotes is accepted; true is not.
            number = float(str(objects[-1][self.key])) if objects else math.nan
        except ValueError:
            return math.nan
        return number if self.lowest <= number <= self.highest else math.nan
