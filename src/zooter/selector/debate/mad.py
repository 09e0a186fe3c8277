"""MAD, the multi-agent debate of Du et al. (arXiv 2305.14325; composable-models/llm_multiagent_debate).

Two methods share the name, and ModelSwitch does not say which of them it ran; this is not that of Liang et al. Every
agent answers; in each later round it is shown what the others answered in the round before, and answers again in a chat
of its own, which it sees whole. The last round's answers vote.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from zooter.data.types import Query, Response
from zooter.errors import ConfigError
from zooter.selector.debate.rounds import (
    answered_or_none,
    assign_seats,
    fall_back_selection,
    fill_template,
    refuse_without,
    vote,
)
from zooter.selector.protocol import Ask, Needs, SampleRequest, Selection
from zooter.selector.voting.answers import AnswerExtractor


@dataclass(frozen=True)
class MadSelector:
    """Lets agents answer side by side, round after round.

    An agent whose call failed says nothing to the others in the next round; its vote is its latest answer.

    Attributes:
        first: what an agent is told in the first round, with {query}.
        again: what its chat goes on with in a later one, with {others} and, if wanted, {query}.
        own, other: how its own answer stands in its chat, and how another agent's stands among {others}; with {answer}.
        agents: how many; 3 in the authors' code.
        rounds: 2 in the authors' code.
        candidates: who the agents are, in turn; none: the pool's candidates. The authors let one model debate.
        extract: reads answers.
    """

    first: str
    again: str
    own: str
    other: str
    agents: int = 3
    rounds: int = 2
    candidates: tuple[str, ...] = ()
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)
    needs: ClassVar[Needs] = Needs(live=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))  # YAML has lists
        refuse_without(self.first, "first", "query")
        refuse_without(self.again, "again", "others")
        refuse_without(self.own, "own", "answer")
        refuse_without(self.other, "other", "answer")
        if self.agents < 1 or self.rounds < 1:
            raise ConfigError(
                expected="1 agent or more, and 1 round or more", found=f"{self.agents} and {self.rounds}",
                do="correct selector.agents and selector.rounds",
            )  # fmt: skip

    async def select(self, query: Query, ask: Ask) -> Selection:
        names = assign_seats(self.candidates, ask.pool, self.agents)
        chats = [fill_template(self.first, query=query.text)] * len(names)
        latest: list[Response | None] = [None] * len(names)
        said = latest
        for number in range(self.rounds):
            if number:
                chats = [self._goes_on(chat, i, said, query) for i, chat in enumerate(chats)]
            wants = [SampleRequest(name, text=chat) for name, chat in zip(names, chats, strict=True)]
            said = answered_or_none([part[0] for part in await ask.together(wants)])
            latest = [new or old for new, old in zip(said, latest, strict=True)]
        return await fall_back_selection(vote(query, latest, self.extract), ask)

    def _goes_on(self, chat: str, agent: int, said: Sequence[Response | None], query: Query) -> str:
        """An agent's chat with what it said and what the others said in the last round."""
        mine = said[agent]
        own = fill_template(self.own, answer=mine.text) if mine is not None else ""
        others = [fill_template(self.other, answer=r.text) for i, r in enumerate(said) if i != agent and r is not None]
        return chat + own + fill_template(self.again, others="".join(others), query=query.text)
