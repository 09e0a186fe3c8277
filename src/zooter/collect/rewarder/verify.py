"""Rewards from a reference answer: 1 where a response is right, 0 where it is wrong."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import regex

from zooter.collect.rewarder.checking import answer_extraction
from zooter.collect.rewarder.checking.math_equivalence import MathEquivalence
from zooter.collect.rewarder.checking.numbers import numbers, same, tidy
from zooter.collect.rewarder.checking.sandbox import Sandbox
from zooter.collect.rewarder.protocol import answered_rows
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)

METHODS = ("exact", "numeric", "choice", "regex", "math", "python")
VERSION = 1  # of the rules of extraction and comparison; raised when they change, so that rewards are made again

TIMED_OUT = "the comparison missed its deadline"

Verdict = bool | str  # right or wrong, or why nobody can say

_FENCE = regex.compile(r"```([^`\n]*)\n(.*?)(?:```|\Z)", regex.DOTALL)
_PYTHON = {"", "python", "python3", "py"}


@dataclass(frozen=True)
class VerifyRewarder:
    """Compares each response with its query's reference.

    Attributes:
        method: "exact" (Unicode form, case, blanks and outer punctuation ignored), "numeric" (currencies, separators,
            percentages, fractions, scale words and units read), "choice" (the reference is an option's letter),
            "regex" (the reference is a pattern, found anywhere in the response), "math" (equality by computer algebra;
            `pip install 'zooter[math]'`), "python" (the reference is test code, run after the response's code).
        by_tag: tag → method, for queries with that tag; the first of a query's tags that is here decides.
        pick: which number of a response is its answer for "numeric", see `answers.number`: "answer" or "last".
        tolerance: largest difference of two equal numbers, as a share of the reference.
        letters: the options of "choice".
        seconds: deadline of one comparison of "regex" and "math".
        sandbox: limits of "python".
        workers: Python tests run at once.
    """

    method: str = "numeric"
    by_tag: Mapping[str, str] = field(default_factory=dict)
    pick: str = "answer"
    tolerance: float = 0.0
    letters: str = "ABCDEFGHIJ"
    seconds: float = 5.0
    sandbox: Sandbox = field(default_factory=Sandbox)
    workers: int = 2

    def __post_init__(self) -> None:
        for method in (self.method, *self.by_tag.values()):
            _require(method in METHODS, f"rewarder.method among {METHODS}", method)
        _require(self.pick in answer_extraction.PICKS, f"rewarder.pick among {answer_extraction.PICKS}", self.pick)
        _require(self.tolerance >= 0.0, "rewarder.tolerance of 0 or more", self.tolerance)
        _require(self.seconds > 0.0, "rewarder.seconds above 0", self.seconds)
        _require(self.workers >= 1, "rewarder.workers of 1 or more", self.workers)
        _require(self.letters.isalpha() and self.letters.isupper(), "rewarder.letters as capitals", self.letters)

    def identity(self) -> Mapping[str, object]:
        """The settings, the limits of what is run among them: another limit can make another verdict."""
        box = self.sandbox
        return {
            "rewarder": "verify", "version": VERSION, "method": self.method, "by_tag": dict(self.by_tag),
            "pick": self.pick, "tolerance": self.tolerance, "letters": self.letters, "seconds": self.seconds,
            "sandbox": [box.seconds, box.memory_mib, box.file_mib, box.processes],
        }  # fmt: skip

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,): 1 right, 0 wrong, NaN for a failed response, a reference that is missing or does not suit the method,
        or a deadline missed. A response without an answer is wrong; so is a Python program over its limits.

        Raises:
            ConfigError: math-verify is missing, or tests cannot be locked in.
        """
        rewards = np.full(len(responses), np.nan)
        rows = [i for i in answered_rows(responses) if queries[i].reference is not None]
        with ThreadPoolExecutor(self.workers) as pool:
            tests = {
                i: pool.submit(self._python, queries[i], responses[i].text)
                for i in rows
                if self._method(queries[i]) == "python"
            }
            verdicts = {i: self._verdict(queries[i], responses[i].text) for i in rows if i not in tests}
            verdicts |= {i: test.result() for i, test in tests.items()}
        silent = Counter(verdict for verdict in verdicts.values() if isinstance(verdict, str))
        silent["no reference"] = len(answered_rows(responses)) - len(rows)
        for reason, count in silent.items():
            if count:
                log.warning("%d of %d responses get no reward: %s", count, len(responses), reason)
        for i, verdict in verdicts.items():
            rewards[i] = np.nan if isinstance(verdict, str) else float(verdict)
        return rewards

    def _method(self, query: Query) -> str:
        return next((self.by_tag[tag] for tag in query.tags if tag in self.by_tag), self.method)

    def _verdict(self, query: Query, text: str) -> Verdict:
        return self._comparisons[self._method(query)](query, text)

    @cached_property
    def _comparisons(self) -> dict[str, Callable[[Query, str], Verdict]]:
        return {
            "exact": self._exact, "numeric": self._numeric, "choice": self._choice,
            "regex": self._regex, "math": self._math, "python": self._python,
        }  # fmt: skip

    @cached_property
    def _equivalence(self) -> MathEquivalence:
        return MathEquivalence(self.seconds)

    def _exact(self, query: Query, text: str) -> bool:
        wanted = answer_extraction.plain(query.reference or "")
        return wanted in {
            answer_extraction.plain(text),
            answer_extraction.plain(answer_extraction.marked(text) or text),
        }

    def _numeric(self, query: Query, text: str) -> Verdict:
        wanted = list(numbers(tidy(query.reference or "")))
        if len(wanted) != 1:
            return "the reference is not one number"
        found = answer_extraction.number(text, query.text, self.pick)
        return found is not None and same(wanted[0], found, self.tolerance)

    def _choice(self, query: Query, text: str) -> Verdict:
        wanted = answer_extraction.letter((query.reference or "").strip().upper(), self.letters)
        if wanted is None:
            return f"the reference is not one letter of {self.letters}"
        return answer_extraction.letter(text, self.letters) == wanted

    def _regex(self, query: Query, text: str) -> Verdict:
        try:
            return regex.search(query.reference or "", text, timeout=self.seconds) is not None
        except TimeoutError:
            return TIMED_OUT
        except regex.error as error:
            return f"the reference is not a regular expression ({error})"

    def _math(self, query: Query, text: str) -> Verdict:
        holds = self._equivalence.holds(query.reference or "", text)
        return TIMED_OUT if holds is None else holds

    def _python(self, query: Query, text: str) -> bool:
        return self.sandbox.runs(code(text), query.reference or "")


def code(text: str) -> str:
    """The Python code of a response: its longest fenced block, or all of it where there is none."""
    blocks = [body for language, body in _FENCE.findall(text) if language.strip().lower() in _PYTHON]
    return max(blocks, key=len, default=text)


def _require(ok: bool, expected: str, found: object) -> None:
    if not ok:
        raise ConfigError(expected=expected, found=repr(found), do="correct it")
