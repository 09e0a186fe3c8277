"""Messages, seats and votes."""

import asyncio

import pytest
from support.fake_responder import FakeResponder
from support.table import recorded
from support.talk import QUERY, Talk

from zooter.data.pool import Pool
from zooter.data.types import Response
from zooter.errors import ConfigError
from zooter.evaluation.live import LiveEvaluator
from zooter.evaluation.replay import Replay, run_now
from zooter.selector.debate.mad import MadSelector
from zooter.selector.debate.rounds import (
    answered_or_none,
    assign_seats,
    fall_back_selection,
    fill_template,
    refuse_without,
    vote,
)
from zooter.selector.protocol import Selection
from zooter.selector.voting.answers import AnswerExtractor


def said(*texts: str | None) -> list[Response | None]:
    return [None if text is None else Response("q", f"m{i}", 0, text) for i, text in enumerate(texts)]


def test_braces_in_what_is_filled_in_stay_as_they_are() -> None:
    assert (
        fill_template("{query} and {other} {}", query="f(x) = {answer} {query}")
        == "f(x) = {answer} {query} and {other} {}"
    )


def test_a_prompt_without_its_slot_is_refused() -> None:
    refuse_without("{a} {b}", "first", "a", "b")
    with pytest.raises(ConfigError, match=r"\{a\}, \{b\} in selector.first.*add \{b\}"):
        refuse_without("{a}", "first", "a", "b")


def test_seats_are_taken_in_turn() -> None:
    pool = Pool.of(["a", "b"])
    assert assign_seats((), pool, 3) == ["a", "b", "a"]
    assert assign_seats(("b",), pool, 2) == ["b", "b"]
    with pytest.raises(ConfigError, match=r"among \['a', 'b'\].*\['c'\]"):
        assign_seats(("c",), pool, 2)


def test_most_votes_win_and_the_first_met_of_equally_many() -> None:
    chosen = vote(QUERY, said("4", "5", None, "5."), AnswerExtractor())
    assert chosen.response is not None
    assert (chosen.response.candidate, chosen.confidence) == ("m1", pytest.approx(2 / 3))
    tied = vote(QUERY, said("7", "8", "8", "7"), AnswerExtractor())
    assert tied.response is not None
    assert tied.response.candidate == "m0"


def test_without_any_answer_the_first_response_stays_and_without_any_response_none() -> None:
    silent = vote(QUERY, said(None, "", ""), AnswerExtractor())
    assert silent.response is not None
    assert silent.response.candidate == "m1"
    assert vote(QUERY, [None, None], AnswerExtractor()).response is None


def test_failed_calls_are_told_apart() -> None:
    failed = Response("q", "m", 0, "", error="down")
    assert answered_or_none([failed, *[r for r in said("x") if r]]) == [None, *said("x")]


def test_a_debate_that_failed_is_rescued_by_whoever_answers_the_query_itself() -> None:
    talk = Talk(lambda name, text, round: "42" if name == "b" else None)
    found = run_now(fall_back_selection(Selection(None), talk))
    assert found.response is not None
    assert found.response.candidate == "b"
    assert talk.rounds == [[("a", QUERY.text)], [("b", QUERY.text)]]
    kept = Selection(found.response)
    assert run_now(fall_back_selection(kept, talk)) is kept


MAD = MadSelector("Q {query}", " AGAIN {others}", "{answer}", "{answer}", candidates=("a",))


def test_live_agents_of_one_model_draw_samples_of_their_own_and_a_round_is_one_round() -> None:
    responder = FakeResponder(lambda text: "7" if text.startswith("Q") else "0")
    (decided,) = asyncio.run(LiveEvaluator(Pool.of(["a", "b"]), responder).run(MAD, [QUERY]))
    assert responder.asked == [f"Q {QUERY.text}"] * 3 + [f"Q {QUERY.text}7 AGAIN 77"] * 3
    assert decided.ledger.calls == {"a": 6}
    assert [{r.sample for r in part} for part in decided.ledger.rounds] == [{0, 1, 2}, {0, 1, 2}]
    assert decided.selection.response is not None
    assert decided.selection.response.query_id == QUERY.id


def test_recorded_responses_cannot_debate() -> None:
    with pytest.raises(ConfigError, match="live candidates for a selector that writes messages of its own"):
        Replay(recorded([{"a": [{"text": "7"}]}])).run(MAD)
