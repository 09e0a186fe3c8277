"""Messages, seats and votes."""

import asyncio

import pytest
from support.fake_responder import FakeResponder
from support.table import recorded
from support.talk import QUERY, ScriptedAsk

from zooter.data.pool import Pool
from zooter.data.types import Response
from zooter.errors import ConfigError
from zooter.evaluation.live import LiveEvaluator
from zooter.evaluation.replay import Replay, run_synchronously
from zooter.selector.debate.mad import MadSelector
from zooter.selector.debate.rounds import (
    assign_candidates,
    check_slots,
    fill_template,
    majority_vote,
    mask_failed,
    with_fallback,
)
from zooter.selector.protocol import Selection
from zooter.selector.voting.answers import AnswerExtractor


def responses(*texts: str | None) -> list[Response | None]:
    return [None if text is None else Response("q", f"m{i}", 0, text) for i, text in enumerate(texts)]


def test_braces_in_what_is_filled_in_stay_as_they_are() -> None:
    assert (
        fill_template("{query} and {other} {}", query="f(x) = {answer} {query}")
        == "f(x) = {answer} {query} and {other} {}"
    )


def test_a_prompt_without_its_slot_is_refused() -> None:
    check_slots("{a} {b}", "first", "a", "b")
    with pytest.raises(ConfigError, match=r"\{a\}, \{b\} in selector.first.*add \{b\}"):
        check_slots("{a}", "first", "a", "b")


def test_candidates_are_assigned_in_turn() -> None:
    pool = Pool.from_names(["a", "b"])
    assert assign_candidates((), pool, 3) == ["a", "b", "a"]
    assert assign_candidates(("b",), pool, 2) == ["b", "b"]
    with pytest.raises(ConfigError, match=r"among \['a', 'b'\].*\['c'\]"):
        assign_candidates(("c",), pool, 2)


def test_most_votes_win_and_the_first_met_of_equally_many() -> None:
    chosen = majority_vote(QUERY, responses("4", "5", None, "5."), AnswerExtractor())
    assert chosen.response is not None
    assert (chosen.response.candidate, chosen.confidence) == ("m1", pytest.approx(2 / 3))
    tied = majority_vote(QUERY, responses("7", "8", "8", "7"), AnswerExtractor())
    assert tied.response is not None
    assert tied.response.candidate == "m0"


def test_without_any_answer_the_first_response_stays_and_without_any_response_none() -> None:
    unread = majority_vote(QUERY, responses(None, "", ""), AnswerExtractor())
    assert unread.response is not None
    assert unread.response.candidate == "m1"
    assert majority_vote(QUERY, [None, None], AnswerExtractor()).response is None


def test_failed_calls_become_none() -> None:
    failed = Response("q", "m", 0, "", error="down")
    assert mask_failed([failed, *[r for r in responses("x") if r]]) == [None, *responses("x")]


def test_where_a_debate_fails_a_candidate_answers_the_query_itself() -> None:
    talk = ScriptedAsk(lambda name, text, round: "42" if name == "b" else None)
    selection = run_synchronously(with_fallback(Selection(None), talk))
    assert selection.response is not None
    assert selection.response.candidate == "b"
    assert talk.rounds == [[("a", QUERY.text)], [("b", QUERY.text)]]
    unchanged = Selection(selection.response)
    assert run_synchronously(with_fallback(unchanged, talk)) is unchanged


MAD = MadSelector("Q {query}", " AGAIN {others}", "{answer}", "{answer}", candidates=("a",))


def test_live_agents_of_one_model_draw_samples_of_their_own_and_a_round_is_one_round() -> None:
    responder = FakeResponder(lambda text: "7" if text.startswith("Q") else "0")
    (decided,) = asyncio.run(LiveEvaluator(Pool.from_names(["a", "b"]), responder).run(MAD, [QUERY]))
    assert responder.asked == [f"Q {QUERY.text}"] * 3 + [f"Q {QUERY.text}7 AGAIN 77"] * 3
    assert decided.ledger.calls == {"a": 6}
    assert [{r.sample for r in part} for part in decided.ledger.rounds] == [{0, 1, 2}, {0, 1, 2}]
    assert decided.selection.response is not None
    assert decided.selection.response.query_id == QUERY.id


def test_recorded_responses_cannot_debate() -> None:
    with pytest.raises(ConfigError, match="live candidates for a selector that writes messages of its own"):
        Replay(recorded([{"a": [{"text": "7"}]}])).run(MAD)
