"""ChatEval: roles in turn, one history, and the last turn's vote."""

import pytest
from support.talk import QUERY, ScriptedAsk, run_debate

from zooter.errors import ConfigError
from zooter.selector.debate.chateval import ChatEvalSelector

PROMPTS = {
    "turn": "{query}|{said}|{role}",
    "last": "{query}|{said}|{role}|LAST",
    "line": "[{name}]{answer};",
    "names": ("Public", "Critic", "Author"),
    "roles": ("you are many", "you doubt", "you write"),
}


def test_each_role_sees_all_that_was_said_before_it() -> None:
    talk = ScriptedAsk(lambda name, text, round: f"say{round}")
    run_debate(ChatEvalSelector(**PROMPTS), talk)
    history = ["[Public]say0;", "[Critic]say1;", "[Author]say2;", "[Public]say3;", "[Critic]say4;"]
    roles = ["you are many", "you doubt", "you write"] * 2
    expected = [f"{QUERY.text}|{''.join(history[:i])}|{roles[i]}{'|LAST' if i >= 3 else ''}" for i in range(6)]
    assert [asked for [asked] in talk.rounds] == list(zip("abcabc", expected, strict=True))


def test_the_last_turns_vote() -> None:
    says = ["1", "1", "1", "2", "3", "3"]
    chosen = run_debate(ChatEvalSelector(**PROMPTS), ScriptedAsk(lambda name, text, round: says[round]))
    assert chosen.response is not None
    assert (chosen.response.candidate, chosen.response.text, chosen.confidence) == ("b", "3", pytest.approx(2 / 3))


def test_a_failed_call_says_nothing_and_the_roles_last_word_votes() -> None:
    talk = ScriptedAsk(lambda name, text, round: None if round in (1, 5) else f"say{round}")
    chosen = run_debate(ChatEvalSelector(**PROMPTS), talk)
    assert talk.rounds[2][0][1].split("|")[1] == "[Public]say0;"
    assert chosen.response is not None
    assert chosen.response.text == "say3"  # say3, say4 and say2: the first role's of equally many


def test_fifteen_calls_are_three_roles_and_five_turns() -> None:
    talk = ScriptedAsk(lambda name, text, round: "x", names=("a",))
    run_debate(ChatEvalSelector(**PROMPTS, turns=5), talk)
    assert talk.candidates_per_round == ["a"] * 15


def test_roles_need_names() -> None:
    with pytest.raises(ConfigError, match=r"as many selector.roles as selector.names"):
        ChatEvalSelector(**{**PROMPTS, "names": ("Public",)})
    with pytest.raises(ConfigError, match=r"\{query\}, \{said\} in selector.last"):
        ChatEvalSelector(**{**PROMPTS, "last": "{query}"})
