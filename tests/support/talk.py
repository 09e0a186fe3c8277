"""Scripted candidates for debates, which record the prompts of each round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zooter.data.pool import Pool
from zooter.data.types import Query, Response
from zooter.evaluation.replay import run_synchronously
from zooter.selector.protocol import Ask, SampleRequest, Selection, Selector

QUERY = Query("q", "What is {six} times seven?")


@dataclass
class ScriptedAsk(Ask):
    """Answers with `respond(candidate, text, round)`, rounds from 0; None is a failed call."""

    respond: Callable[[str, str, int], str | None]
    names: Sequence[str] = ("a", "b", "c")
    rounds: list[list[tuple[str, str]]] = field(default_factory=list)

    @property
    def pool(self) -> Pool:
        return Pool.from_names(self.names)

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        return (await self.ask_many([SampleRequest(candidate, samples, text)]))[0]

    async def ask_many(self, requests: Sequence[SampleRequest]) -> list[list[Response]]:
        number = len(self.rounds)
        self.rounds.append(
            [(request.candidate, QUERY.text if request.text is None else request.text) for request in requests]
        )
        return [[self._response(name, text, number)] for name, text in self.rounds[-1]]

    def _response(self, name: str, text: str, number: int) -> Response:
        answer = self.respond(name, text, number)
        return Response(QUERY.id, name, 0, answer or "", error="down" if answer is None else None)

    @property
    def candidates_per_round(self) -> list[str]:
        """Names of the candidates asked in each round, joined per round."""
        return ["".join(name for name, _ in prompts) for prompts in self.rounds]


def run_debate(selector: Selector, ask: ScriptedAsk) -> Selection:
    """Run a debate to its selection."""
    return run_synchronously(selector.select(QUERY, ask))
