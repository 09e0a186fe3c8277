"""Rate limits, faults and refused parameters, with a real server that answers badly, late, or not at all."""

import socket
import time
from typing import Any

import pytest
from support.fake_server import Reply, chat, error_reply, serving
from support.http_candidates import ask, ask_server, in_turn

from zooter.collect.responder.protocol import Sampling
from zooter.errors import ResponderError


def test_a_rate_limit_slows_down_and_loses_nothing() -> None:
    """A server that lets 5 calls through in each 100 ms, and says how long to wait."""
    started = time.monotonic()
    windows: dict[int, int] = {}

    def answer(body: dict[str, Any], number: int) -> Reply:
        window = int((time.monotonic() - started) / 0.1)
        windows[window] = windows.get(window, 0) + 1
        if windows[window] > 5:
            return error_reply(429, "slow down", retry_after="0.05")
        return chat("good")

    responses, server = ask_server(answer, n=30, concurrency=16, retries=0, timeout=10.0)
    assert [response.error for response in responses] == [None] * 30
    assert len(server.bodies) > 30


def test_a_rate_limit_without_retry_after_is_waited_out() -> None:
    limits = [error_reply(429, "slow down")] * 6
    responses, _ = ask_server(in_turn(*limits), n=3, concurrency=3, retries=0)
    assert [response.text for response in responses] == ["good"] * 3


def test_retry_after_is_respected() -> None:
    _, server = ask_server(in_turn(error_reply(429, "wait", retry_after="0.2")))
    assert server.times[1] - server.times[0] >= 0.2


def test_retry_after_in_milliseconds_and_as_a_date_in_the_past_are_understood() -> None:
    limits = (
        error_reply(429, "wait", retry_after_ms="50"),
        error_reply(503, "w", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    )
    (response,), server = ask_server(in_turn(*limits), retries=0)
    assert response.text == "good"
    assert server.times[1] - server.times[0] >= 0.05


def test_a_rate_limit_that_never_ends_fails_the_call_when_patience_runs_out() -> None:
    (response,), _ = ask_server(lambda b, n: error_reply(429, "never"), patience=0.02)
    assert response.error == "HTTP 429: never"


FAULTS = {
    "500": error_reply(500, "broken"),
    "503": error_reply(503, "overloaded"),
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
def test_a_transient_fault_is_retried(fault: str) -> None:
    (response,), server = ask_server(in_turn(FAULTS[fault]))
    assert (response.text, response.error) == ("good", None)
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
def test_a_lasting_fault_is_a_failed_response_with_its_reason(fault: str) -> None:
    """The other queries are answered all the same."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        return FAULTS[fault] if body["messages"][-1]["content"] == "query 1" else chat("good")

    responses, _ = ask_server(answer, n=3, timeout=0.1)
    assert [response.text for response in responses] == ["good", "", "good"]
    assert WORDS[fault] in (responses[1].error or "")


def test_a_refused_connection_is_a_failed_response() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (response,) = ask(f"http://127.0.0.1:{port}/v1")
    assert "no connection" in (response.error or "")


def test_a_server_that_sends_bytes_for_ever_times_out() -> None:
    """Each read succeeds, so only a limit on the whole call ends it."""
    (response,), _ = ask_server(lambda b, n: Reply(chat("x").body, drip=0.02), timeout=0.1, retries=1)
    assert response.error == "no answer in time"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error_reply(404, "The model `small` does not exist", "model_not_found"), "The model `small` does not exist"),
        (error_reply(400, "unknown model", "model_not_found"), "unknown model"),
        (error_reply(401, "Incorrect API key provided", "invalid_api_key"), "Incorrect API key provided"),
        (error_reply(400, "Invalid model name passed in model=small"), "Invalid model name passed in model=small"),
        (Reply(b'{"detail": "requested small"}', status=400), "HTTP 400: requested small"),
        (error_reply(403, "no access to this model"), "no access to this model"),
        (error_reply(429, "You exceeded your current quota", "insufficient_quota"), "You exceeded your current quota"),
    ],
)
def test_a_fatal_error_stops_at_once_and_quotes_the_server(reply: Reply, words: str) -> None:
    with serving(lambda b, n: reply) as server:
        with pytest.raises(ResponderError, match=words):
            ask(server.url, n=50, concurrency=4)
        assert len(server.bodies) <= 8


def test_one_forbidden_query_among_good_ones_fails_alone() -> None:
    responses, _ = ask_server(in_turn(chat("good"), error_reply(403, "moderated")), n=3, concurrency=1)
    assert [response.error for response in responses] == [None, "HTTP 403: moderated", None]


def test_a_complaint_with_the_models_name_inside_another_word_is_not_about_the_model() -> None:
    (response,), _ = ask_server(lambda b, n: error_reply(400, "may not ask this"), candidate={"name": "a"})
    assert response.error == "HTTP 400: may not ask this"


def test_a_query_that_is_too_long_is_not_tried_again() -> None:
    (response,), server = ask_server(
        lambda b, n: error_reply(400, "maximum context length is 10 tokens", "context_length_exceeded")
    )
    assert response.error == "HTTP 400: maximum context length is 10 tokens"
    assert len(server.bodies) == 1


def test_parameters_that_a_server_refuses_are_left_out() -> None:
    """As reasoning models of OpenAI do."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        for name in ("logprobs", "max_tokens", "seed"):
            if name in body:
                return error_reply(
                    400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name
                )
        return chat("good")

    responses, server = ask_server(answer, n=8, concurrency=4, retries=0, sampling=Sampling(max_new_tokens=9))
    assert [response.text for response in responses] == ["good"] * 8
    assert server.bodies[-1]["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    ("most", "refusal", "asked_for"),
    [
        (5, "Requested sample logprobs of {0}, which is greater than max allowed: 5", [10, 5]),
        (2, "top_logprobs must be at most 2", [10, 5, None]),
        (0, "logprobs is not supported", [10, 5, None]),
    ],
)
def test_a_server_that_limits_logprobs_is_asked_for_fewer(most: int, refusal: str, asked_for: list[int | None]) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        top = body.get("top_logprobs", 0)
        return error_reply(400, refusal.format(top)) if top > most else chat("good")

    (response,), server = ask_server(answer, retries=0)
    assert response.text == "good"
    assert [body.get("top_logprobs") for body in server.bodies] == asked_for


def test_a_parameter_that_stays_refused_fails_the_call() -> None:
    (response,), server = ask_server(lambda b, n: error_reply(400, "seed is not for you", param="seed"))
    assert response.error == "HTTP 400: seed is not for you"
    assert len(server.bodies) == 2
