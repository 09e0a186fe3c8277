"""Self-consistency: the commonest answer among several samples of one candidate (Wang et al., arXiv 2203.11171)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError
from zooter.selector.ordering import mean_rewards, strong_first
from zooter.selector.protocol import Ask, Needs, Selection, first_response, refuse_unknown
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.consistency import SAMPLES
from zooter.selector.voting.vote import agreement


@dataclass(frozen=True)
class SelfConsistencySelector:
    """Samples one candidate and returns its commonest answer, the earlier one on a tie.

    Attributes:
        candidate: its name; None is the best on training rows.
        samples: drawn side by side, at a temperature above 0.
        extract: reads answers.
    """

    candidate: str | None = None
    samples: int = 8
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(expected="selector.samples of 1 or more", found=str(self.samples), do="set 8, say")

    @property
    def needs(self) -> Needs:
        """So many samples of the candidate, with texts."""
        who = None if self.candidate is None else (self.candidate,)
        return Needs(samples=self.samples, texts=True, candidates=who)

    def fit(self, training: ResponseTable, validation: ResponseTable) -> "SelfConsistencySelector":
        """Takes the candidate with the best mean training reward, unless one is named."""
        return self if self.candidate is not None else replace(self, candidate=strong_first(mean_rewards(training))[0])

    def settings(self, validation: ResponseTable) -> Sequence["SelfConsistencySelector"]:
        """From one sample to as many as are recorded."""
        most = min((len(of.get(self.candidate or "", ())) for of in validation.cells), default=1)
        return [replace(self, samples=k) for k in SAMPLES if k <= max(1, most)]

    async def select(self, query: Query, ask: Ask) -> Selection:
        refuse_unknown("self_consistency", [] if self.candidate is None else [self.candidate], ask.pool)
        assert self.candidate is not None
        responses = await ask(self.candidate, self.samples)
        answers = self.extract.answers(query, responses)
        answer, share = agreement(answers)
        if answer is not None:
            return Selection(responses[answers.index(answer)], share, f"{share:.0%} of {self.samples} samples")
        unread = next((response for response in responses if response.error is None), None)
        if unread is None:
            unread = await first_response(ask, [name for name in ask.pool.names if name != self.candidate])
        return Selection(unread, None, "no answer could be read")
