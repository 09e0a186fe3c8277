"""What the answers inside a query's responses are, so that they can be compared and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from zooter.collect.rewarder.checking import answer_extraction
from zooter.collect.rewarder.checking.math_equivalence import MathEquivalence
from zooter.data.types import Query, Response
from zooter.errors import ConfigError

KINDS = ("number", "boxed", "choice", "string", "equivalence")


@dataclass(frozen=True)
class AnswerExtractor:
    r"""Reads answers.

    Attributes:
        kind: "number" (`answers.number`; 0.5 and 1/2 are one answer, 50% and 0.5 two), "boxed" (what the last
            `\boxed{}` holds, without blanks), "choice" (an option's letter), "string" (a marked answer or else the
            whole text, without differences of case, blanks and outer punctuation), "equivalence" (marked answers that
            computer algebra finds equal are one; `pip install 'zooter[math]'`, and a query's comparisons hold up the
            others in flight, some 10 ms each).
        pick: which number is the answer: "answer" or "last".
        letters: the options of "choice".
        seconds: deadline of one comparison of "equivalence"; what misses it is not equal.
    """

    kind: str = "number"
    pick: str = "answer"
    letters: str = "ABCDEFGHIJ"
    seconds: float = 5.0

    def __post_init__(self) -> None:
        for name, found, allowed in (("kind", self.kind, KINDS), ("pick", self.pick, answer_extraction.PICKS)):
            if found not in allowed:
                raise ConfigError(expected=f"extract.{name} among {allowed}", found=repr(found), do="correct it")
        if not (self.letters.isalpha() and self.letters.isupper()):
            raise ConfigError(expected="extract.letters as capitals", found=repr(self.letters), do="correct it")

    def answers(
        self, query: Query, responses: Sequence[Response], before: Sequence[str | None] = ()
    ) -> list[str | None]:
        """One answer per response, equal texts where the answers are; None for a failed call or an answer that cannot
        be read.

        Args:
            before: answers to the same query that were read earlier; what equals one of them has its text.
        """
        found = [None if response.error is not None else self._answer(query, response.text) for response in responses]
        return self._merged(found, before) if self.kind == "equivalence" else found

    def _answer(self, query: Query, text: str) -> str | None:
        if self.kind == "number":
            number = answer_extraction.number(text, query.text, self.pick)
            return None if number is None else str(number.value)
        if self.kind == "boxed":
            return "".join((answer_extraction.boxed(text) or "").split()) or None
        if self.kind == "choice":
            return answer_extraction.letter(text, self.letters)
        marked = answer_extraction.marked(text)
        if self.kind == "equivalence":
            return marked
        return answer_extraction.plain(marked or text) or None

    def _merged(self, found: Sequence[str | None], before: Sequence[str | None]) -> list[str | None]:
        """With each answer replaced by the first one that it equals."""
        first = {answer: answer for answer in before if answer is not None}
        for answer in found:
            if answer is not None and answer not in first:
                leaders = dict.fromkeys(first.values())
                first[answer] = next((one for one in leaders if self._equivalence.holds(one, f"${answer}$")), answer)
        return [None if answer is None else first[answer] for answer in found]

    @cached_property
    def _equivalence(self) -> MathEquivalence:
        return MathEquivalence(self.seconds)
