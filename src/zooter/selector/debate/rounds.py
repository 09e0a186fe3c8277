"""What debates are made of: seats, messages, and a vote.

A candidate is told one text and remembers nothing, so that what a debate's authors spread over a chat's turns and its
system message stands in one message here.
"""

import re
from collections.abc import Sequence

from zooter.data.pool import Pool
from zooter.data.types import Query, Response
from zooter.errors import ConfigError
from zooter.selector.protocol import Ask, Selection, first_response
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.vote import agreement

_SLOT = re.compile(r"\{(\w+)\}")


def fill_template(template: str, **parts: str) -> str:
    """The template with its `{slots}` filled; braces in what is filled in, or of other names, stay as they are."""
    return _SLOT.sub(lambda slot: parts.get(slot[1], slot[0]), template)


def refuse_without(template: str, name: str, *slots: str) -> None:
    """Refuse a prompt that lacks a slot, so that a candidate would not be told what it has to know."""
    absent = [slot for slot in slots if f"{{{slot}}}" not in template]
    if absent:
        raise ConfigError(
            expected=f"{', '.join(f'{{{slot}}}' for slot in slots)} in selector.{name}", found=repr(template),
            do=f"add {', '.join(f'{{{slot}}}' for slot in absent)}",
        )  # fmt: skip


def assign_seats(names: Sequence[str], pool: Pool, count: int) -> list[str]:
    """`count` candidates: those named in turn, or those of the pool in turn where none are.

    Raises:
        ConfigError: a name is not in the pool.
    """
    unknown = [name for name in names if name not in pool.names]
    if unknown:
        raise ConfigError(
            expected=f"candidates among {list(pool.names)}", found=f"{unknown}", do="correct the selector's names"
        )
    chosen = list(names) or list(pool.names)
    return [chosen[i % len(chosen)] for i in range(count)]


def answered_or_none(responses: Sequence[Response]) -> list[Response | None]:
    """None in the place of every failed call."""
    return [response if response.error is None else None for response in responses]


def vote(query: Query, responses: Sequence[Response | None], extract: AnswerExtractor) -> Selection:
    """The first response with the answer that most of them give; of equally many, the one met first.

    Failed calls do not vote, and responses without an answer agree with none. Where nobody has an answer, it is the
    first response there is.
    """
    there = [response for response in responses if response is not None]
    found = extract.answers(query, there)
    answer, share = agreement(found)
    if answer is None:
        return Selection(there[0] if there else None, why="nobody gave an answer")
    return Selection(there[found.index(answer)], share, f"{found.count(answer)} of {len(responses)} agree")


async def fall_back_selection(selection: Selection, ask: Ask) -> Selection:
    """The selection; where every call of a debate failed, that of the first candidate that answers the query itself."""
    if selection.response is not None:
        return selection
    return Selection(await first_response(ask, ask.pool.names), why="the debate failed")
