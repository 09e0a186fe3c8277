"""Mixture-of-Agents (Wang et al., arXiv 2406.04692; togethercomputer/MoA).

Proposers answer the query; in every further layer each answers again, given all answers of the layer before; at last
one aggregator answers, given those of the last layer. ModelSwitch's has 3 proposers, 1 + 4 layers and 1 last call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zooter.data.types import Query, Response
from zooter.errors import ConfigError
from zooter.selector.debate.rounds import (
    answered_or_none,
    assign_seats,
    fall_back_selection,
    fill_template,
    refuse_without,
)
from zooter.selector.protocol import Ask, Needs, SampleRequest, Selection


@dataclass(frozen=True)
class MoaSelector:
    """Lets proposers answer in layers, and one aggregator at last.

    Failed proposers are passed over; where a whole layer fails, the next one is given the layer before. Where the
    aggregator fails, the first answer of the last layer is returned.

    Attributes:
        combine: what proposers of a further layer and the aggregator are told, with {query} and {answers}.
        line: how one answer stands among {answers}; with {answer} and, if wanted, {number}.
        proposers: how many.
        layers: 3 in the paper with its aggregator's, 5 in ModelSwitch; 1 has the aggregator combine first answers.
        candidates: who the proposers are, in turn; none: the pool's candidates.
        aggregator: a candidate; None is the first proposer.
    """

    combine: str
    line: str
    proposers: int = 3
    layers: int = 2
    candidates: tuple[str, ...] = ()
    aggregator: str | None = None
    needs: ClassVar[Needs] = Needs(live=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))  # YAML has lists
        refuse_without(self.combine, "combine", "query", "answers")
        refuse_without(self.line, "line", "answer")
        if self.proposers < 1 or self.layers < 1:
            raise ConfigError(
                expected="1 proposer or more, and 1 layer or more", found=f"{self.proposers} and {self.layers}",
                do="correct selector.proposers and selector.layers",
            )  # fmt: skip

    async def select(self, query: Query, ask: Ask) -> Selection:
        names = assign_seats(self.candidates, ask.pool, self.proposers)
        last = assign_seats([self.aggregator] if self.aggregator else names, ask.pool, 1)[0]
        given: list[Response] = []
        for _ in range(self.layers):
            wants = [SampleRequest(name, text=self._told(query, given)) for name in names]
            said = answered_or_none([part[0] for part in await ask.together(wants)])
            given = [response for response in said if response is not None] or given
        response = (await ask(last, text=self._told(query, given)))[0]
        if response.error is None:
            return Selection(response, why=f"{last} combined {len(given)} answers")
        return await fall_back_selection(Selection(given[0] if given else None, why="the aggregator failed"), ask)

    def _told(self, query: Query, given: Sequence[Response]) -> str | None:
        """None, the query as it is, where there is nothing to combine."""
        if not given:
            return None
        lines = [fill_template(self.line, number=str(i), answer=response.text) for i, response in enumerate(given, 1)]
        return fill_template(self.combine, query=query.text, answers="".join(lines))
