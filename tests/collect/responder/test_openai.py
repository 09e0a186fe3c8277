"""Asking over HTTP, against a real server that answers well, badly, late, or not at all."""

import asyncio
import json
import math
import random
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_server import Answer, Reply, Server, chat, complaint, serving

from zooter.collect.respond import FillPolicy, respond
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.cache import ResponseCache
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Query, Response
from zooter.errors import ConfigError, ResponderError

QUICK = {"timeout": 0.3, "retries": 2, "backoff": 0.001}


def ask(url: str, n: int = 1, candidate: dict[str, Any] | None = None, **settings: Any) -> list[Response]:
    """n queries to one candidate, responses in the order of the queries."""
    who = Candidate(**{"name": "small", "url": url, **(candidate or {})})
    requests = [Request(Query(str(i), f"query {i}"), who) for i in range(n)]

    async def collect() -> list[Response]:
        return [response async for response in OpenAIResponder(**{**QUICK, **settings}).respond(requests)]

    return sorted(asyncio.run(collect()), key=lambda response: int(response.query_id))


def asked(answer: Answer, n: int = 1, **settings: Any) -> tuple[list[Response], Server]:
    with serving(answer) as server:
        return ask(server.url, n, **settings), server


def in_turn(*replies: Reply) -> Answer:
    """The replies one after the other, then a good one for ever."""
    return lambda body, number: replies[number] if number < len(replies) else chat("good")


def test_a_response_carries_all_that_the_server_said() -> None:
    top = [{"token": "A", "logprob": math.log(0.7)}, {"token": "B", "logprob": math.log(0.2)}]
    logprobs = {"content": [{"token": "A", "logprob": math.log(0.7), "top_logprobs": top}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    candidate = {"input_price": 2.0, "output_price": 5.0}
    (found,), _ = asked(lambda b, n: chat("Azure", "length", logprobs=logprobs, usage=usage), candidate=candidate)
    assert (found.text, found.finish_reason, found.input_tokens, found.output_tokens) == ("Azure", "length", 10, 4)
    assert found.margin == pytest.approx(0.5)
    assert found.first_tokens == (("A", math.log(0.7)), ("B", math.log(0.2)))
    assert found.cost == pytest.approx((10 * 2.0 + 4 * 5.0) / 1e6)
    assert found.seconds is not None
    assert 0 < found.seconds < 5
    assert found.error is None


def test_what_is_sent_is_what_was_set() -> None:
    sampling = Sampling(
        temperature=0.2, top_p=0.9, max_new_tokens=7, stop=("\n",), system="Be brief.", message="Q: {query}"
    )
    _, server = asked(
        in_turn(), sampling=sampling, candidate={"model": "org/model", "extra": {"reasoning_effort": "low"}}
    )
    body = server.bodies[0]
    assert isinstance(body.pop("seed"), int)
    assert body == {
        "model": "org/model", "temperature": 0.2, "top_p": 0.9, "max_tokens": 7, "stop": ["\n"], "logprobs": True,
        "top_logprobs": 10, "reasoning_effort": "low",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: query 0"}],
    }  # fmt: skip


def test_each_sample_is_drawn_with_a_seed_of_its_own() -> None:
    with serving(in_turn()) as server:
        requests = [Request(Query("1", "q"), Candidate("small", url=server.url), sample) for sample in range(3)]

        async def collect() -> list[Response]:
            return [response async for response in OpenAIResponder().respond(requests)]

        found = asyncio.run(collect())
    assert sorted(response.sample for response in found) == [0, 1, 2]
    assert len({body["seed"] for body in server.bodies}) == 3


def test_calls_run_at_the_same_time_up_to_the_limit() -> None:
    found, server = asked(lambda b, n: chat("x", delay=0.03), n=24, concurrency=6)
    assert len(found) == 24
    assert server.most_at_once == 6


def test_a_rate_limit_slows_down_and_loses_nothing() -> None:
    """A server that lets 5 calls through in each 100 ms, and says how long to wait."""
    started = time.monotonic()
    windows: dict[int, int] = {}

    def answer(body: dict[str, Any], number: int) -> Reply:
        window = int((time.monotonic() - started) / 0.1)
        windows[window] = windows.get(window, 0) + 1
        if windows[window] > 5:
            return complaint(429, "slow down", retry_after="0.05")
        return chat("good")

    found, server = asked(answer, n=30, concurrency=16, retries=0, timeout=10.0)
    assert [response.error for response in found] == [None] * 30
    assert len(server.bodies) > 30


def test_a_rate_limit_without_a_word_on_how_long_is_waited_out() -> None:
    limits = [complaint(429, "slow down")] * 6
    found, _ = asked(in_turn(*limits), n=3, concurrency=3, retries=0)
    assert [response.text for response in found] == ["good"] * 3


def test_retry_after_is_kept_to() -> None:
    _, server = asked(in_turn(complaint(429, "wait", retry_after="0.2")))
    assert server.times[1] - server.times[0] >= 0.2


def test_retry_after_in_milliseconds_and_as_a_date_in_the_past_are_understood() -> None:
    limits = (
        complaint(429, "wait", retry_after_ms="50"),
        complaint(503, "w", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    )
    (found,), server = asked(in_turn(*limits), retries=0)
    assert found.text == "good"
    assert server.times[1] - server.times[0] >= 0.05


def test_a_limit_that_never_ends_fails_the_call_when_patience_does() -> None:
    (found,), _ = asked(lambda b, n: complaint(429, "never"), patience=0.02)
    assert found.error == "HTTP 429: never"


FAULTS = {
    "500": complaint(500, "broken"),
    "503": complaint(503, "overloaded"),
    "cut in mid-body": Reply(chat("half").body, cut=40),
    "hang": Reply(chat("late").body, delay=5.0),
    "no choices": Reply(b'{"choices": []}'),
    "malformed JSON": Reply(b'{"choices": [{"mess'),
    "an HTML page": Reply(b"<html><body>Bad gateway</body></html>", headers={"content-type": "text/html"}),
    "an HTML error page": Reply(b"<html>502</html>", status=502, headers={"content-type": "text/html"}),
    "not even an object": Reply(b"null"),
    "no message": Reply(b'{"choices": [{}]}'),
    "an answer that is a number": Reply(b'{"choices": [{"message": {"content": 7}}]}'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_costs_another_try(fault: str) -> None:
    (found,), server = asked(in_turn(FAULTS[fault]))
    assert (found.text, found.error) == ("good", None)
    assert len(server.bodies) == 2


WORDS = {
    "500": "HTTP 500: broken",
    "503": "HTTP 503: overloaded",
    "cut in mid-body": "no connection",
    "hang": "no answer in time",
    "no choices": 'no answer in it: {"choices": []}',
    "malformed JSON": 'not JSON: {"choices": [{"mess',
    "an HTML page": "not JSON: <html><body>Bad gateway",
    "an HTML error page": "HTTP 502: <html>502</html>",
}


@pytest.mark.parametrize("fault", WORDS)
def test_a_fault_that_stays_is_a_response_with_its_reason(fault: str) -> None:
    """The other queries are answered all the same."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        return FAULTS[fault] if body["messages"][-1]["content"] == "query 1" else chat("good")

    found, _ = asked(answer, n=3, timeout=0.1)
    assert [response.text for response in found] == ["good", "", "good"]
    assert WORDS[fault] in (found[1].error or "")


def test_a_refused_connection_is_a_failed_response() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (found,) = ask(f"http://127.0.0.1:{port}/v1")
    assert "no connection" in (found.error or "")


def test_a_server_that_drips_for_ever_is_left_in_time() -> None:
    """Each read succeeds, so only a limit on the whole call ends it."""
    (found,), _ = asked(lambda b, n: Reply(chat("x").body, drip=0.02), timeout=0.1, retries=1)
    assert found.error == "no answer in time"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (complaint(404, "The model `small` does not exist", "model_not_found"), "The model `small` does not exist"),
        (complaint(400, "unknown model", "model_not_found"), "unknown model"),
        (complaint(401, "Incorrect API key provided", "invalid_api_key"), "Incorrect API key provided"),
        (complaint(400, "Invalid model name passed in model=small"), "Invalid model name passed in model=small"),
        (Reply(b'{"detail": "requested small"}', status=400), "HTTP 400: requested small"),
        (complaint(403, "no access to this model"), "no access to this model"),
        (complaint(429, "You exceeded your current quota", "insufficient_quota"), "You exceeded your current quota"),
    ],
)
def test_what_no_call_can_survive_stops_at_once_with_the_servers_words(reply: Reply, words: str) -> None:
    with serving(lambda b, n: reply) as server:
        with pytest.raises(ResponderError, match=words):
            ask(server.url, n=50, concurrency=4)
        assert len(server.bodies) <= 8


def test_one_forbidden_query_among_good_ones_is_only_its_own_failure() -> None:
    found, _ = asked(in_turn(chat("good"), complaint(403, "moderated")), n=3, concurrency=1)
    assert [response.error for response in found] == [None, "HTTP 403: moderated", None]


def test_a_complaint_with_the_models_name_inside_another_word_is_not_about_the_model() -> None:
    (found,), _ = asked(lambda b, n: complaint(400, "may not ask this"), candidate={"name": "a"})
    assert found.error == "HTTP 400: may not ask this"


def test_a_query_that_is_too_long_is_not_tried_again() -> None:
    (found,), server = asked(
        lambda b, n: complaint(400, "maximum context length is 10 tokens", "context_length_exceeded")
    )
    assert found.error == "HTTP 400: maximum context length is 10 tokens"
    assert len(server.bodies) == 1


def test_parameters_that_a_server_does_not_know_are_left_out() -> None:
    """As a reasoning model of OpenAI's would have it."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        for name in ("logprobs", "max_tokens", "seed"):
            if name in body:
                return complaint(400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name)
        return chat("good")

    found, server = asked(answer, n=8, concurrency=4, retries=0, sampling=Sampling(max_new_tokens=9))
    assert [response.text for response in found] == ["good"] * 8
    assert server.bodies[-1]["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    ("most", "refusal", "asked_for"),
    [
        (5, "Requested sample logprobs of {0}, which is greater than max allowed: 5", [10, 5]),
        (2, "top_logprobs must be at most 2", [10, 5, None]),
        (0, "logprobs is not supported", [10, 5, None]),
    ],
)
def test_a_server_that_tells_few_probabilities_is_asked_for_fewer(
    most: int, refusal: str, asked_for: list[int | None]
) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        top = body.get("top_logprobs", 0)
        return complaint(400, refusal.format(top)) if top > most else chat("good")

    (found,), server = asked(answer, retries=0)
    assert found.text == "good"
    assert [body.get("top_logprobs") for body in server.bodies] == asked_for


def test_no_probabilities_are_asked_for_where_none_are_wanted() -> None:
    _, server = asked(in_turn(), first_tokens=0)
    assert not {"logprobs", "top_logprobs"} & set(server.bodies[0])


def test_a_parameter_that_stays_refused_fails_the_call() -> None:
    (found,), server = asked(lambda b, n: complaint(400, "seed is not for you", param="seed"))
    assert found.error == "HTTP 400: seed is not for you"
    assert len(server.bodies) == 2


LONG = "ab" * 2**20
ODD_REPLIES = [
    (chat(LONG), LONG),
    (Reply(json.dumps({"choices": [{"message": {"content": "NUL \x00, half \ud800, 😀"}}]}).encode()),
     "NUL \x00, half �, 😀"),
    (Reply(b'{"choices": [{"message": {"content": "caf\xe9 \xff"}}]}'), "caf� �"),
    (Reply(b'{"choices": [{"message": {"content": "raw \x00 byte"}}]}'), "raw \x00 byte"),
    (chat("plain"), "plain"),
]  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_long_answer_and_odd_characters_arrive_whole_and_where_they_belong(concurrency: int) -> None:
    """In one body after the other, and among many at a time, whichever comes first."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        kind = int(body["messages"][-1]["content"].split()[-1]) % len(ODD_REPLIES)
        return replace(ODD_REPLIES[kind][0], delay=random.uniform(0, 0.02))

    found, server = asked(answer, n=20, concurrency=concurrency, timeout=20.0, retries=0)
    assert [response.error for response in found] == [None] * 20
    for i, response in enumerate(found):
        assert response.text == ODD_REPLIES[i % len(ODD_REPLIES)][1]
        response.text.encode()  # it can be written
    assert (server.most_at_once > 1) is (concurrency > 1)


def test_odd_answers_of_many_calls_at_a_time_are_kept_and_read_again_as_they_came(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        return ODD_REPLIES[1 + int(body["messages"][-1]["content"].split()[-1]) % 3][0]

    cells = ResponseCache(tmp_path)
    queries = [Query(str(i), f"query {i}") for i in range(12)]
    with serving(answer) as server:
        pool = Pool((Candidate("small", url=server.url),))
        keys = respond(queries, pool, OpenAIResponder(**{**QUICK, "timeout": 20.0}), cells, FillPolicy())
    assert [found and found.text for found in cells.answers(keys["small"])] == [t for _, t in ODD_REPLIES[1:4]] * 4


def test_an_empty_answer_is_an_answer() -> None:
    found, _ = asked(in_turn(chat(""), chat(None, "content_filter")), n=2, concurrency=1)
    assert [(response.text, response.finish_reason, response.error) for response in found] == [
        ("", "stop", None), ("", "content_filter", None),
    ]  # fmt: skip


def test_a_server_that_counts_nothing_costs_nothing_that_is_known() -> None:
    (found,), _ = asked(lambda b, n: chat("x", usage=None), candidate={"price": 1.0})
    assert (found.input_tokens, found.output_tokens, found.cost, found.margin, found.first_tokens) == (
        None, None, None, None, None
    )  # fmt: skip


def test_two_servers_are_asked_side_by_side() -> None:
    with serving(lambda b, n: chat("one", delay=0.1)) as one, serving(lambda b, n: chat("two", delay=0.1)) as two:
        pool = [Candidate("a", url=one.url), Candidate("b", url=two.url)]
        requests = [Request(Query(str(i), f"q{i}"), candidate) for candidate in pool for i in range(2)]

        async def collect() -> list[Response]:
            return [response async for response in OpenAIResponder(concurrency=1).respond(requests)]

        found = asyncio.run(collect())
        assert two.times[0] < one.times[1]
        assert one.times[0] < two.times[1]
    assert {(response.candidate, response.text) for response in found} == {("a", "one"), ("b", "two")}


def test_a_candidate_without_a_url_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"expected a url for the candidate 'small'; .*pool.candidates.small.url"):
        ask(None)  # type: ignore[arg-type]


def test_a_key_that_is_not_set_is_asked_for_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"a key in the environment variable SOME_KEY, .*export SOME_KEY"):
        ask("http://127.0.0.1:9/v1", candidate={"key_env": "SOME_KEY"})


def test_without_key_env_no_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    _, server = asked(in_turn())
    assert "canary" not in json.dumps(server.headers)


def test_the_identity_holds_what_can_change_an_answer_and_nothing_else() -> None:
    def identity(settings: dict[str, Any], **candidate: Any) -> Any:
        return OpenAIResponder(**settings).identity(Candidate(**{"name": "small", "model": "m", **candidate}))

    plain = identity({})
    same = identity(
        {"concurrency": 1, "timeout": 1.0, "retries": 0}, name="other", url="http://x/v1", key_env="K", price=9.0
    )
    assert plain == same
    for other in (
        identity({}, model="n"), identity({}, revision="2"), identity({}, extra={"k": 1}),
        identity({"sampling": Sampling(temperature=0.1)}), identity({"sampling": Sampling(system="s")}),
        identity({"sampling": Sampling(stop=("x",))}), identity({"sampling": Sampling(message="{query}!")}),
    ):  # fmt: skip
        assert other != plain


async def several(responder: OpenAIResponder, url: str, calls: int, n: int, apart: float = 0.0) -> list[Response]:
    """So many overlapping `respond`, each of n queries, one started so many seconds after the other."""
    who = Candidate("small", url=url)

    async def one(call: int) -> list[Response]:
        await asyncio.sleep(call * apart)
        requests = [Request(Query(f"{call}-{i}", "query"), who) for i in range(n)]
        return [response async for response in responder.respond(requests)]

    return [response for part in await asyncio.gather(*(one(call) for call in range(calls))) for response in part]


def test_calls_that_overlap_share_the_limit_and_the_connections() -> None:
    responder = OpenAIResponder(concurrency=4)
    with serving(lambda body, number: chat("good", delay=0.02)) as server:
        found = asyncio.run(several(responder, server.url, calls=5, n=4))
    assert len({response.query_id for response in found}) == 20
    assert not [response for response in found if response.error is not None]
    assert (server.most_at_once, server.connections) == (4, 4)
    assert not responder.shared


def test_a_rate_limit_that_one_call_meets_holds_back_those_that_overlap() -> None:
    async def warmed_up(responder: OpenAIResponder, url: str) -> list[Response]:
        async with responder.connections():
            await several(responder, url, calls=1, n=1)
            return await several(responder, url, calls=2, n=1, apart=0.15)

    with serving(in_turn(chat("warm"), complaint(429, "slow down", retry_after="0.6"))) as server:
        found = asyncio.run(warmed_up(OpenAIResponder(), server.url))
    assert [response.text for response in found] == ["good", "good"]
    assert all(moment - server.times[1] >= 0.6 for moment in server.times[2:])


def test_connections_stay_for_later_calls_only_inside_connections() -> None:
    async def twice(responder: OpenAIResponder, url: str) -> None:
        for _ in range(2):
            await several(responder, url, calls=1, n=1)

    async def kept_open(responder: OpenAIResponder, url: str) -> None:
        async with responder.connections():
            await twice(responder, url)

    for ask_twice, connections in ((twice, 2), (kept_open, 1)):
        with serving(in_turn()) as server:
            asyncio.run(ask_twice(OpenAIResponder(), server.url))
        assert server.connections == connections


def test_a_wrong_key_that_one_call_meets_leaves_nothing_open() -> None:
    responder = OpenAIResponder(**QUICK)
    with serving(lambda body, number: complaint(401, "wrong key")) as server, pytest.raises(ResponderError):
        asyncio.run(several(responder, server.url, calls=3, n=2))
    assert not responder.shared


def test_a_server_that_nobody_asked_for_long_has_not_been_silent() -> None:
    async def after_a_pause(responder: OpenAIResponder, url: str) -> list[Response]:
        async with responder.connections():
            await several(responder, url, calls=1, n=1)
            await asyncio.sleep(0.3)
            return await several(responder, url, calls=1, n=1)

    replies = in_turn(chat("good"), complaint(429, "slow down", retry_after="0.1"))
    with serving(replies) as server:
        found = asyncio.run(after_a_pause(OpenAIResponder(patience=0.2), server.url))
    assert [response.text for response in found] == ["good"]
