"""AgentVerse (Chen et al., arXiv 2308.10848; OpenBMB/AgentVerse): a team is recruited, decides, and is evaluated.

Its task solving with the decision maker "vertical solver first", in the authors' settings for MGSM: a role assigner
describes the experts; a solver answers; critics review the answer side by side, and while one of them disagrees the
solver revises it, up to three times; an evaluator accepts it, or gives advice for one more loop. Questions have nothing
to execute, so that the authors' third stage is left out.
"""

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
class AgentVerseSelector:
    """Lets a team solve, criticise, revise and evaluate.

    Every prompt may hold {query}, {experts} (the assigner's text), {answer} (the latest), {reviews} (of it), and
    {advice} (the evaluator's). A failed critic agrees; a failed evaluator accepts; a failed solver keeps the answer
    that there is.

    Attributes:
        assign, solve, review, revise, evaluate: prompts of the assigner, the solver, a critic, the solver again, and
            the evaluator.
        line: how one critic's text stands among {reviews}; with {review}.
        agree: a critic's text that holds this agrees.
        accept: an evaluator's text that holds this accepts.
        critics: 1 in the authors' settings for MGSM.
        reviews: at most, of one loop; 3 there.
        loops: at most; 2 there.
        candidates: assigner, solver, evaluator, then the critics, in turn; none: the pool's candidates.
    """

    assign: str
    solve: str
    review: str
    revise: str
    evaluate: str
    line: str
    agree: str
    accept: str
    critics: int = 1
    reviews: int = 3
    loops: int = 2
    candidates: tuple[str, ...] = ()
    needs: ClassVar[Needs] = Needs(live=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))  # YAML has lists
        refuse_without(self.assign, "assign", "query")
        refuse_without(self.solve, "solve", "query")
        refuse_without(self.review, "review", "query", "answer")
        refuse_without(self.revise, "revise", "query", "answer", "reviews")
        refuse_without(self.evaluate, "evaluate", "query", "answer")
        refuse_without(self.line, "line", "review")
        if min(self.critics, self.reviews, self.loops) < 1 or not self.agree or not self.accept:
            raise ConfigError(
                expected="1 or more of selector.critics, reviews and loops, and words to agree and accept by",
                found=f"{self.critics}, {self.reviews}, {self.loops}, {self.agree!r}, {self.accept!r}",
                do="correct them",
            )

    async def select(self, query: Query, ask: Ask) -> Selection:
        assigner, solver, evaluator, *critics = assign_seats(self.candidates, ask.pool, 3 + self.critics)
        told = {"query": query.text, "advice": ""}
        kept: Response | None = None
        why = "the last loop ended"
        for _ in range(self.loops):
            experts = await _response(ask, assigner, fill_template(self.assign, **told))
            told["experts"] = experts.text if experts is not None else ""
            kept = await self._decided(ask, solver, critics, told) or kept
            if kept is None:
                continue
            told["answer"] = kept.text
            verdict = await _response(ask, evaluator, fill_template(self.evaluate, **told))
            if verdict is None or self.accept in verdict.text:
                why = "the evaluator accepted it"
                break
            told["advice"] = verdict.text
        return await fall_back_selection(Selection(kept, why=why), ask)

    async def _decided(self, ask: Ask, solver: str, critics: list[str], told: dict[str, str]) -> Response | None:
        """The solver's answer after the critics' reviews; None where its first call failed."""
        kept = await _response(ask, solver, fill_template(self.solve, **told))
        if kept is None:
            return None
        for _ in range(self.reviews):
            told["answer"] = kept.text
            wants = [SampleRequest(name, text=fill_template(self.review, **told)) for name in critics]
            said = answered_or_none([part[0] for part in await ask.together(wants)])
            against = [review.text for review in said if review is not None and self.agree not in review.text]
            if not against:
                break
            told["reviews"] = "".join(fill_template(self.line, review=text) for text in against)
            kept = await _response(ask, solver, fill_template(self.revise, **told)) or kept
        return kept


async def _response(ask: Ask, name: str, text: str) -> Response | None:
    """None for a failed call."""
    return answered_or_none(await ask(name, text=text))[0]
