"""A debate that a test can read: who was told what in which round, and what they said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zooter.data.pool import Pool
from zooter.data.types import Query, Response
from zooter.evaluation.replay import run_now
from zooter.selector.protocol import Ask, SampleRequest, Selection, Selector

QUERY = Query("q", "What is {six} times seven?")


@dataclass
class Talk(Ask):
    """Answers by `says(candidate, text, round)`, rounds from 0; None is a failed call."""

    says: Callable[[str, str, int], str | None]
    names: Sequence[str] = ("a", "b", "c")
    rounds: list[list[tuple[str, str]]] = field(default_factory=list)

    @property
    def pool(self) -> Pool:
        return Pool.of(self.names)

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        return (await self.together([SampleRequest(candidate, samples, text)]))[0]

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        number = len(self.rounds)
        self.rounds.append([(want.candidate, QUERY.text if want.text is None else want.text) for want in wants])
        return [[self._response(name, text, number)] for name, text in self.rounds[-1]]

    def _response(self, name: str, text: str, number: int) -> Response:
        said = self.says(name, text, number)
        return Response(QUERY.id, name, 0, said or "", error="down" if said is None else None)

    @property
    def who(self) -> list[str]:
        """Who was asked in each round, one word a round."""
        return ["".join(name for name, _ in asked) for asked in self.rounds]


def held(selector: Selector, talk: Talk) -> Selection:
    """The debate's outcome."""
    return run_now(selector.select(QUERY, talk))
