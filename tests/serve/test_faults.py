"""Failures of candidates' servers, before and after the first byte of a response."""

import asyncio
import datetime
import email.utils
import gzip
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import fake_router, upstreams
from support.upstreams import Behaviour, chunk, hang, http_response, respond_with, running_server, sse_event

from zooter.errors import ConfigError
from zooter.serve.settings import ServeSettings

COMPLAINT = json.dumps({"error": {"message": "no"}}).encode()
BOMB = gzip.compress(b" " * 50_000_000)


async def _slow_head(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
    writer.write(upstreams.STREAM_HEAD)
    await asyncio.sleep(60)


BEFORE_THE_FIRST_BYTE: dict[str, Behaviour | None] = {
    "refused": None,
    "reset": respond_with(b"", cut=True),
    "reset in the head": respond_with(b"HTTP/1.1 200 OK\r\ncontent-ty", cut=True),
    "hang": hang,
    "hang after the head": _slow_head,
    "429": respond_with(http_response(COMPLAINT, 429, retry_after="7")),
    "500": respond_with(http_response(COMPLAINT, 500)),
    "wrong key": respond_with(http_response(COMPLAINT, 401)),
    "redirect": respond_with(http_response(b"", 302, location="http://127.0.0.1:1/")),
    "no HTTP": respond_with(b"hello\r\n\r\n", cut=True),
    "wrong chunks": respond_with(upstreams.STREAM_HEAD + b"zz\r\nhello", cut=True),
    "empty": respond_with(upstreams.STREAM_HEAD + b"0\r\n\r\n"),
    "an empty object": respond_with(http_response(b"{}")),
    "no choices": respond_with(http_response(b'{"object": "chat.completion", "choices": []}')),
    "an error under 200": respond_with(http_response(b'{"error": {"message": "overloaded"}}')),
    "an error as an event": respond_with(
        upstreams.STREAM_HEAD + chunk(b'data: {"error": {"message": "overloaded"}}\n\n') + b"0\r\n\r\n"
    ),
    "too long for it": respond_with(
        http_response(b'{"error": {"message": "maximum context length is 8 tokens"}}', 400)
    ),
    "packed": respond_with(http_response(BOMB, 200, content_encoding="gzip")),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_BYTE)
def test_after_a_failure_before_the_first_byte_the_next_candidate_by_probability_answers(
    tmp_path: Path, fault: str, stream: bool
) -> None:
    with running_server(tmp_path, {"large": BEFORE_THE_FIRST_BYTE[fault]}) as front:
        answer = front.chat("one for large", stream=stream)
        failed = front.metric("fallbacks_total", candidate="large")
    assert answer.status_code == 200
    assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("small", "fallback")
    assert "small" in answer.text
    assert failed == 1


def test_after_a_truncated_response_the_next_candidate_answers(tmp_path: Path) -> None:
    cut = respond_with(http_response(upstreams.completion_body("I am large"))[:-20], cut=True)
    with running_server(tmp_path, {"large": cut}) as front:
        answer = front.chat("one for large")
    assert answer.json()["choices"][0]["message"]["content"] == "I am small"


@pytest.mark.parametrize("body", [b"<html>", b"", b'["a list"]', b"{" * 5_000, b"\xff"])
def test_after_a_response_that_is_no_json_object_the_next_candidate_answers(tmp_path: Path, body: bytes) -> None:
    with running_server(tmp_path, {"large": respond_with(http_response(body))}) as front:
        assert front.chat("one for large").headers["x-zooter-candidate"] == "small"


@pytest.mark.parametrize(
    "held_back", [b"", b'data: {"choices": [{"delta": {"cont'], ids=["at an event's end", "inside one"]
)
def test_a_reset_after_the_first_byte_ends_in_an_error_event(tmp_path: Path, held_back: bytes) -> None:
    cut = respond_with(upstreams.STREAM_HEAD + chunk(sse_event("I am") + held_back), cut=True)
    with running_server(tmp_path, {"large": cut}) as front:
        answer = front.chat("one for large", stream=True)
        broken = front.metric("streams_broken_total", candidate="large")
    assert answer.status_code == 200
    first, _, rest = answer.content.partition(b"\n\n")
    assert first + b"\n\n" == sse_event("I am")
    error = json.loads(rest.removeprefix(b"data: "))
    assert error["error"]["message"] == "large broke off: a connection that broke"
    assert error["error"]["code"] == "candidate_broke_off"
    assert b"[DONE]" not in answer.content
    assert broken == 1
    assert not front.upstreams["small"].bodies


def test_a_stream_that_stalls_ends_in_an_error_event(tmp_path: Path) -> None:
    async def stall(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(upstreams.STREAM_HEAD + chunk(sse_event("I am")))
        await asyncio.sleep(60)

    with running_server(tmp_path, {"large": stall}, idle=0.2) as front:
        answer = front.chat("one for large", stream=True)
        time.sleep(0.1)
        assert front.upstreams["large"].disconnects == 1
    assert b"no answer in time" in answer.content


@pytest.mark.parametrize(
    ("limits", "words"), [({"largest_reply": 100_000}, b"more than 100000 bytes"), ({"total": 0.3}, b"more than 0.3 s")]
)
def test_an_endless_stream_is_ended_by_the_limits(tmp_path: Path, limits: dict[str, Any], words: bytes) -> None:
    async def endless(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(upstreams.STREAM_HEAD)
        while True:
            writer.write(chunk(sse_event("more " * 50)))
            await writer.drain()
            await asyncio.sleep(0.001)

    with running_server(tmp_path, {"large": endless}, **limits) as front:
        answer = front.chat("one for large", stream=True)
        time.sleep(0.1)
        assert front.upstreams["large"].disconnects == 1
    assert words in answer.content[-300:]


def test_an_event_without_an_end_is_not_buffered_without_limit(tmp_path: Path) -> None:
    data = chunk(sse_event("I am")) + chunk(b"data: " + b"x" * 1_500_000)
    with running_server(tmp_path, {"large": respond_with(upstreams.STREAM_HEAD + data + b"0\r\n\r\n")}) as front:
        answer = front.chat("one for large", stream=True)
    assert b"an event of more than" in answer.content
    assert len(answer.content) < 1_000


def test_malformed_events_pass_through_untouched(tmp_path: Path) -> None:
    odd = b'data: {not json\n\n: a comment\n\nnonsense \xff\xfe\r\n\r\ndata: "usage"\n\ndata: [DONE]'
    with running_server(tmp_path, {"large": respond_with(upstreams.STREAM_HEAD + chunk(odd) + b"0\r\n\r\n")}) as front:
        assert front.chat("one for large", stream=True).content == odd


def test_a_wrong_request_gets_the_candidates_own_error_and_is_not_retried(tmp_path: Path) -> None:
    words = json.dumps({"error": {"message": "max_tokens is too large", "type": "invalid_request_error"}}).encode()
    with running_server(tmp_path, {"large": respond_with(http_response(words, 400))}) as front:
        answer = front.chat("one for large", max_tokens=10**9)
    assert (answer.status_code, answer.content) == (400, words)
    assert not front.upstreams["small"].bodies


def test_a_candidate_asked_for_by_name_returns_its_own_errors(tmp_path: Path) -> None:
    with running_server(
        tmp_path, {"large": respond_with(http_response(COMPLAINT, 429, retry_after="7")), "tiny": None}
    ) as front:
        limited, refused = front.chat(model="large"), front.chat(model="tiny")
    assert (limited.status_code, limited.content, limited.headers["retry-after"]) == (429, COMPLAINT, "7")
    assert refused.status_code == 502
    assert refused.json()["error"]["message"] == "no candidate answered (tiny: no connection)"


def test_when_all_candidates_fail_the_status_is_502_then_503_with_retry_after(tmp_path: Path) -> None:
    down: dict[str, Behaviour | None] = {"small": None, "large": respond_with(http_response(b"", 500)), "tiny": None}
    with running_server(tmp_path, down, timeout=10.0, failures=1, cooldown=30.0) as front:
        first, second = front.chat(), front.chat()
        out = [front.metric("upstream_circuit_open", candidate=name) for name in down if front.client.get("/metrics")]
    assert first.status_code == 502
    assert "large: HTTP 500" in first.json()["error"]["message"]
    assert second.status_code == 503
    assert 25 <= int(second.headers["retry-after"]) <= 30
    assert int(first.headers["retry-after"]) >= 1
    assert out == [1, 1, 1]


def test_a_candidate_that_fails_in_a_row_is_skipped_and_then_probed_by_one_request(tmp_path: Path) -> None:
    with running_server(tmp_path, {"large": respond_with(http_response(b"", 500))}, failures=2, cooldown=0.4) as front:
        for _ in range(6):
            assert front.chat("one for large").headers["x-zooter-candidate"] == "small"
        assert len(front.upstreams["large"].bodies) == 2
        front.upstreams["large"].behaviour = upstreams.respond_normally
        time.sleep(0.5)
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"
        assert len(front.upstreams["large"].bodies) == 3


def test_retries_in_an_outage_are_limited_by_the_budget(tmp_path: Path) -> None:
    with running_server(tmp_path, {"large": None}, failures=1_000, retry_share=0.1, retry_reserve=3.0) as front:
        statuses = [front.chat("one for large").status_code for _ in range(30)]
    # 3 saved up and 30 × 0.1 earned, less what could not be kept over the reserve at the first request
    assert statuses.count(200) == 5
    assert statuses.count(502) == 25


def test_a_client_that_disconnects_ends_the_call_to_its_candidate(tmp_path: Path) -> None:
    with running_server(tmp_path, {"large": hang}) as front:
        front.upstreams["large"].behaviour = hang
        with pytest.raises(httpx.ReadTimeout):
            front.client.post(
                "/v1/chat/completions",
                json={"model": "zooter", "messages": [{"role": "user", "content": "one for large"}]},
                timeout=0.2,
            )
        time.sleep(0.15)
        assert front.upstreams["large"].disconnects == 1
        assert front.metric("client_disconnects_total") == 1
        assert not front.upstreams["small"].bodies
        assert front.metric("requests_in_flight") == 0


def test_a_client_that_disconnects_in_a_stream_ends_it(tmp_path: Path) -> None:
    async def slowly(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(upstreams.STREAM_HEAD)
        while True:
            writer.write(chunk(sse_event("on and on")))
            await writer.drain()
            await asyncio.sleep(0.02)

    body = {"model": "large", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with running_server(tmp_path, {"large": slowly}) as front:
        with front.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_bytes())
        time.sleep(0.2)
        assert front.upstreams["large"].disconnects == 1


def test_a_client_that_reads_too_slowly_is_disconnected_and_delays_no_other(tmp_path: Path) -> None:
    async def flood(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(upstreams.STREAM_HEAD)
        while True:
            writer.write(chunk(sse_event("x" * 100_000)))
            await writer.drain()

    body = {"model": "large", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with (
        running_server(tmp_path, {"large": flood}, slow_client=0.4, largest_reply=2**40) as front,
        front.client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        start = time.perf_counter()
        assert front.chat().status_code == 200
        assert time.perf_counter() - start < 0.4
        time.sleep(0.8)
        assert front.upstreams["large"].disconnects == 1
        assert front.metric("client_disconnects_total") == 1
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("text", "deadline", "reason"), [("the slowest one", 0.2, "deadline"), ("a broken one for large", 5.0, "failed")]
)
def test_without_a_decision_in_time_the_default_candidate_answers(
    tmp_path: Path, text: str, deadline: float, reason: str
) -> None:
    with running_server(tmp_path, default="tiny", deadline=deadline) as front:
        answer = front.chat(text)
        assert front.metric("decision_defaults_total", reason=reason) == 1
    assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("tiny", "default")


def test_without_a_decision_in_time_the_backup_export_decides(tmp_path: Path) -> None:
    fake_router.write(tmp_path / "backup", encoder="ngrams")

    def load(settings: ServeSettings) -> fake_router.FakeRouter:
        """Load a router that answers at once from the backup's folder, and one that may be late from the other."""
        router = fake_router.load(settings)
        return replace(router, delays={} if settings.export == tmp_path / "backup" else {"late": 3.0})

    with running_server(tmp_path, load=load, default="tiny", deadline=0.2, backup=tmp_path / "backup") as front:
        answer = front.chat("late, for large")
        assert front.metric("backup_decisions_total", reason="deadline") == 1
        in_time = front.chat("one for large")
    assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("large", "backup")
    assert (in_time.headers["x-zooter-candidate"], in_time.headers["x-zooter-why"]) == ("large", "best")


def test_where_the_backup_fails_too_the_default_candidate_answers(tmp_path: Path) -> None:
    fake_router.write(tmp_path / "backup", encoder="ngrams")
    with running_server(tmp_path, default="tiny", backup=tmp_path / "backup") as front:
        answer = front.chat("a broken one for large")
        assert front.metric("decision_defaults_total", reason="failed") == 1
    assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("tiny", "default")


def test_a_backup_with_a_transformer_is_refused(tmp_path: Path) -> None:
    fake_router.write(tmp_path / "backup")
    with (
        pytest.raises(ConfigError, match="without a transformer"),
        running_server(tmp_path, backup=tmp_path / "backup"),
    ):
        pass


def test_a_failing_text_does_not_fail_concurrent_requests(tmp_path: Path) -> None:
    candidates: dict[str, str] = {}
    with running_server(tmp_path, default="tiny", deadline=2.0) as front:

        def ask(text: str) -> None:
            candidates[text] = httpx.post(
                f"{front.url}/v1/chat/completions",
                json={"model": "zooter", "messages": [{"role": "user", "content": text}]},
            ).headers["x-zooter-candidate"]

        texts = ["a slow one", "a broken one", "one for large"]
        threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join()
    assert candidates == {"a slow one": "small", "a broken one": "tiny", "one for large": "large"}


def test_a_header_that_is_no_utf8_passes_back_and_the_probe_of_its_candidate_is_released(tmp_path: Path) -> None:
    answer = http_response(upstreams.completion_body("I am large")).replace(
        b"\r\n\r\n", b"\r\nopenai-version: caf\xe9\r\n\r\n", 1
    )
    with running_server(tmp_path, {"large": respond_with(http_response(b"", 500))}, failures=1, cooldown=0.1) as front:
        assert front.chat("one for large").headers["x-zooter-candidate"] == "small"
        front.upstreams["large"].behaviour = respond_with(answer)
        time.sleep(0.15)
        for _ in range(2):
            passed = front.chat("one for large")
            assert passed.headers["x-zooter-candidate"] == "large"
            assert (b"openai-version", b"caf\xe9") in passed.headers.raw


def test_an_unexpected_exception_is_a_failed_call_that_is_logged_once_and_releases_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = [True]

    def parse(data: bytes) -> dict[str, Any] | None:
        if faulty[0] and b"I am large" in data:
            raise LookupError("odd")
        return json.loads(data)

    with running_server(tmp_path, failures=1, cooldown=0.1) as front:
        monkeypatch.setattr("zooter.serve.http.sse.parse_object", parse)
        answer = front.chat("one for large")
        assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("small", "fallback")
        assert front.metric("upstream_errors_total", candidate="large", kind="unexpected") == 1
        records = [record for record in caplog.records if "LookupError" in record.getMessage()]
        assert len(records) == 1
        assert records[0].exc_info
        assert "(fault " in records[0].getMessage()
        faulty[0] = False
        time.sleep(0.15)
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"


def test_a_probe_whose_client_disconnects_is_released(tmp_path: Path) -> None:
    with running_server(
        tmp_path, {"large": respond_with(http_response(b"", 500))}, failures=1, cooldown=0.1, timeout=5.0
    ) as front:
        front.chat("one for large")
        front.upstreams["large"].behaviour = hang
        time.sleep(0.15)
        with pytest.raises(httpx.ReadTimeout):
            front.client.post(
                "/v1/chat/completions",
                json={"model": "zooter", "messages": [{"role": "user", "content": "one for large"}]},
                timeout=0.2,
            )
        upstreams.wait_until(lambda: front.upstreams["large"].disconnects == 1)
        front.upstreams["large"].behaviour = upstreams.respond_normally
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_failures_of_a_client_that_asks_by_name_do_not_close_the_candidate_for_others(
    tmp_path: Path, status: int
) -> None:
    with running_server(tmp_path, {"large": respond_with(http_response(COMPLAINT, status))}, failures=2) as front:
        for _ in range(5):
            assert front.chat(model="large").status_code == status
        front.upstreams["large"].behaviour = upstreams.respond_normally
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"


def test_a_request_too_long_for_every_candidate_gets_their_own_refusal_and_closes_none(tmp_path: Path) -> None:
    refusal = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    behaviours = dict.fromkeys(("small", "large", "tiny"), respond_with(http_response(refusal, 400)))
    with running_server(tmp_path, behaviours, failures=1) as front:  # type: ignore[arg-type]
        for _ in range(2):
            answer = front.chat("one for large")
            assert (answer.status_code, answer.content) == (400, refusal)
        front.client.get("/metrics")
        assert front.metric("upstream_circuit_open", candidate="large") == 0
        assert front.metric("upstream_errors_total", candidate="large", kind="context") == 2


def test_retry_after_as_a_date_is_honoured(tmp_path: Path) -> None:
    date = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=40), True)
    limited = respond_with(http_response(COMPLAINT, 429, retry_after=date))
    with running_server(tmp_path, dict.fromkeys(("small", "large", "tiny"), limited)) as front:  # type: ignore[arg-type]
        front.chat()
        answer = front.chat()
    assert answer.status_code == 503
    assert 35 <= int(answer.headers["retry-after"]) <= 40


def test_headers_pass_both_ways(tmp_path: Path) -> None:
    answer = http_response(
        upstreams.completion_body("hello"), x_ratelimit_remaining_tokens="7", x_region="eu", server="x"
    )
    sent = {
        "traceparent": "00-ab-cd-01",
        "Idempotency-Key": "k1",
        "X-Tenant": "t",
        "X-Other": "o",
        "authorization": "b",
    }
    with running_server(tmp_path, {"small": respond_with(answer)}, pass_headers=["x-tenant", "x-region"]) as front:
        back = front.client.post(
            "/v1/chat/completions",
            json={"model": "zooter", "messages": [{"role": "user", "content": "a"}]},
            headers=sent,
        )
        head = front.upstreams["small"].heads[0].lower()
    assert (back.headers["x-ratelimit-remaining-tokens"], back.headers["x-region"]) == ("7", "eu")
    assert "server" not in back.headers
    for line in ("traceparent: 00-ab-cd-01", "idempotency-key: k1", "x-tenant: t"):
        assert line in head
    assert "x-other" not in head
    assert "authorization" not in head


def test_every_server_of_a_candidate_is_used_and_the_others_answer_for_one_that_is_down(tmp_path: Path) -> None:
    with (
        upstreams.serve_upstream("first", upstreams.respond_normally) as first,
        upstreams.serve_upstream("second", upstreams.respond_normally) as second,
    ):
        pool = {"large": {"url": first.url, "replicas": [second.url], "timeout": 2.0}}
        (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": pool}))
        with running_server(tmp_path, pool_file=tmp_path / "pool.yaml", failures=2) as front:
            for _ in range(4):
                assert front.chat("one for large").status_code == 200
            assert (len(first.bodies), len(second.bodies)) == (2, 2)
            first.behaviour = respond_with(http_response(b"", 500))
            answers = [front.chat("one for large") for _ in range(6)]
            front.client.get("/metrics")
            assert front.metric("upstream_circuit_open", candidate="large") == 0
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {"I am second"}
    assert len(first.bodies) == 4


async def respond_after_a_second(
    body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter
) -> None:
    await asyncio.sleep(1.0)
    await upstreams.respond_normally(body, upstream, writer)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_hedging_asks_the_next_candidate_too_and_takes_the_first_to_begin(tmp_path: Path, stream: bool) -> None:
    with running_server(tmp_path, {"large": hang}, hedge_after=0.1, timeout=5.0, retry_reserve=1.0) as front:
        start = time.perf_counter()
        answer = front.chat("one for large", stream=stream)
        assert time.perf_counter() - start < 2.0
        assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("small", "fallback")
        upstreams.wait_until(lambda: front.upstreams["large"].disconnects == 1)
        assert not front.upstreams["tiny"].bodies
        front.client.get("/metrics")
        assert front.metric("upstream_circuit_open", candidate="large") == 0


def test_hedging_takes_a_slow_answer_when_the_others_fail_or_no_retry_is_left(tmp_path: Path) -> None:
    failing = respond_with(http_response(b"", 500))
    behaviours: dict[str, Behaviour | None] = {"large": respond_after_a_second, "small": failing, "tiny": failing}
    with running_server(
        tmp_path, behaviours, hedge_after=0.05, timeout=5.0, retry_share=0.0, retry_reserve=2.0
    ) as front:
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"
        assert len(front.upstreams["small"].bodies) == 1
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"
        assert len(front.upstreams["small"].bodies) + len(front.upstreams["tiny"].bodies) == 2


def test_without_hedging_one_candidate_is_asked(tmp_path: Path) -> None:
    with running_server(tmp_path, {"large": respond_after_a_second}, timeout=5.0) as front:
        assert front.chat("one for large").headers["x-zooter-candidate"] == "large"
    assert not front.upstreams["small"].bodies


def test_hedged_calls_end_when_their_client_disconnects(tmp_path: Path) -> None:
    behaviours = dict.fromkeys(("small", "large", "tiny"), hang)
    with running_server(tmp_path, behaviours, hedge_after=0.05, timeout=5.0) as front:  # type: ignore[arg-type]
        with pytest.raises(httpx.ReadTimeout):
            front.client.post(
                "/v1/chat/completions",
                json={"model": "zooter", "messages": [{"role": "user", "content": "one for large"}]},
                timeout=0.4,
            )
        upstreams.wait_until(lambda: sum(up.disconnects for up in front.upstreams.values()) == 3)
