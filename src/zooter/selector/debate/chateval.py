"""ChatEval (Chan et al., arXiv 2308.07201; thunlp/ChatEval): different roles discuss one after the other.

The authors' debate judges two given answers by scores; ModelSwitch runs it as a baseline that answers questions, and so
it is here: the roles speak in turn, each sees all that was said, and each gives its answer in its last turn, as the
authors' judges give their scores. These answers vote.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from zooter.data.types import Query, Response
from zooter.errors import ConfigError
from zooter.selector.debate.rounds import assign_seats, fall_back_selection, fill_template, refuse_without, vote
from zooter.selector.protocol import Ask, Needs, Selection
from zooter.selector.voting.answers import AnswerExtractor


@dataclass(frozen=True)
class ChatEvalSelector:
    """Lets roles discuss a query over several turns.

    A role whose call fails says nothing in that turn; its vote is the last thing it said.

    Attributes:
        turn: what the next role is told, with {query}, {said} and, if wanted, {role}.
        last: the same in its last turn.
        line: how one contribution stands among {said}; with {name} and {answer}.
        names, roles: of those who speak, in this order, and what {role} says about each; the authors' are a member of
            the public, a critic and a news author.
        turns: of each role; 2 in the authors' settings, 5 in ModelSwitch's.
        candidates: who the roles are played by, in turn; none: the pool's candidates.
        extract: reads answers.
    """

    turn: str
    last: str
    line: str
    names: tuple[str, ...]
    roles: tuple[str, ...]
    turns: int = 2
    candidates: tuple[str, ...] = ()
    extract: AnswerExtractor = field(default_factory=AnswerExtractor)
    needs: ClassVar[Needs] = Needs(live=True)

    def __post_init__(self) -> None:
        for name in ("names", "roles", "candidates"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # YAML has lists
        refuse_without(self.turn, "turn", "query", "said")
        refuse_without(self.last, "last", "query", "said")
        refuse_without(self.line, "line", "answer")
        if not self.names or len(self.names) != len(self.roles) or self.turns < 1:
            raise ConfigError(
                expected="as many selector.roles as selector.names, at least one, and 1 turn or more",
                found=f"{len(self.roles)}, {len(self.names)} and {self.turns}",
                do="correct them",
            )

    async def select(self, query: Query, ask: Ask) -> Selection:
        played_by = assign_seats(self.candidates, ask.pool, len(self.names))
        latest: list[Response | None] = [None] * len(self.names)
        said = ""
        for turn in range(self.turns):
            template = self.last if turn == self.turns - 1 else self.turn
            for i, (name, role) in enumerate(zip(self.names, self.roles, strict=True)):
                text = fill_template(template, query=query.text, said=said, role=role, name=name)
                response = (await ask(played_by[i], text=text))[0]
                if response.error is None:
                    latest[i] = response
                    said += fill_template(self.line, name=name, answer=response.text)
        return await fall_back_selection(vote(query, latest, self.extract), ask)
