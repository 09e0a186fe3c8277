"""Routes beside chat: decisions, models, metrics, health; session affinity; logs."""

import json
from pathlib import Path
from typing import Any

import openai
import pyarrow.parquet as pq
import pytest
from support import upstreams
from support.upstreams import RunningServer, http_response, respond_with, running_server, wait_until

from zooter.data import reward_table
from zooter.errors import ConfigError


def test_route_returns_the_decision_and_asks_no_candidate(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        decision = front.client.post("/route", json={"query": "code for large"}).json()
        same = front.client.post("/route", json={"messages": [{"role": "user", "content": "code for large"}]}).json()
    assert decision["candidate"] == "large"
    assert decision["order"] == ["large", "small", "tiny"]
    assert decision["probabilities"] == {"small": 0.3, "large": 0.6, "tiny": 0.1}
    assert decision["prices"] == {"small": 0.2, "large": 2.0, "tiny": 0.1}
    assert (decision["price"], decision["why"], decision["fault"]) == (2.0, "best", None)
    assert decision["tags"] == {"code": 0.9, "chat": 0.1}
    assert decision["decision_ms"] >= 0
    assert same | {"decision_ms": 0} == decision | {"decision_ms": 0}
    assert not any(up.bodies for up in front.upstreams.values())


def test_without_a_pool_file_the_server_only_decides(tmp_path: Path) -> None:
    with running_server(tmp_path, pool_file=None) as front:
        assert front.client.post("/route", json={"query": "one for large"}).json()["candidate"] == "large"
        answer = front.chat()
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "no candidate has a url: give a pool file"


def test_a_candidate_without_a_url_is_never_asked(tmp_path: Path) -> None:
    with upstreams.serve_upstream("tiny", upstreams.respond_normally) as upstream:
        (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": {"tiny": {"url": upstream.url}, "large": None}}))
        with running_server(tmp_path, pool_file=tmp_path / "pool.yaml") as front:
            answer = front.chat("one for large")  # small and large come before tiny, and cannot be asked
            assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("tiny", "next best")
            assert front.chat("one for tiny").headers["x-zooter-why"] == "best"
            assert front.client.post("/route", json={"query": "one for large"}).json()["why"] == "next best"
            assert front.metric("choices_total", candidate="tiny", why="next best") == 1
            assert [model["id"] for model in front.client.get("/v1/models").json()["data"]] == ["zooter", "tiny"]


def test_a_url_may_end_in_a_slash(tmp_path: Path) -> None:
    with upstreams.serve_upstream("tiny", upstreams.respond_normally) as upstream:
        (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": {"tiny": {"url": f"{upstream.url}/"}}}))
        with running_server(tmp_path, pool_file=tmp_path / "pool.yaml") as front:
            front.chat()
    assert upstream.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("candidates: {smal: {url: http://localhost/v1}}", r"found \['smal'\]"),
        ("candidates: {small: {ur: http://localhost/v1}}", "keys of pool.candidates.small among"),
        ("candidates: [small]", "write it like the files in conf/pool"),
        ("a: [", "a YAML file at"),
        (
            "candidates: {small: {url: http://localhost/v1, key_env: NOT_SET}}",
            "a key in the environment variable NOT_SET",
        ),
        ("candidates: {large: {url: http://localhost/v1}}", r"one of the candidates that can be asked: \['large'\]"),
    ],
)
def test_a_pool_file_that_does_not_fit_the_export_is_refused(tmp_path: Path, pool: str, words: str) -> None:
    (tmp_path / "pool.yaml").write_text(pool)
    with (
        pytest.raises(ConfigError, match=words),
        running_server(tmp_path, pool_file=tmp_path / "pool.yaml", default="small"),
    ):
        pass


def test_embeddings_are_refused_with_the_reason(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        answer = front.client.post("/v1/embeddings", json={"model": "zooter", "input": "hello"})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("embeddings are not offered")


def test_health_and_readiness_are_reported(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        assert front.client.get("/healthz").json() == {"status": "alive"}
        counts = {"candidates": 3, "candidates_unavailable": 0, "default_share": 0.0}
        assert front.client.get("/readyz").json() == {"status": "ready", "problems": [], **counts}


def test_the_server_is_not_ready_while_every_candidate_is_out_and_again_when_one_may_be_probed(tmp_path: Path) -> None:
    with running_server(tmp_path, {"large": None}, timeout=10.0, failures=1, cooldown=2.0) as front:
        front.chat("one for large")
        one_out = front.client.get("/readyz")
        for name in ("small", "tiny"):
            front.upstreams[name].behaviour = respond_with(http_response(b"", 500))
        assert front.chat().status_code == 502
        all_out = front.client.get("/readyz")
        wait_until(lambda: front.client.get("/readyz").status_code == 200)
    assert (one_out.status_code, one_out.json()["candidates_unavailable"]) == (200, 1)
    details = all_out.json()
    assert (all_out.status_code, details["status"], details["candidates_unavailable"]) == (503, "not ready", 3)
    assert details["problems"][0].startswith("the circuit breaker of every candidate is open, for ")


def test_more_than_one_percent_of_decisions_lost_is_warned_of_shown_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(tmp_path) as front:

        def decide(text: str, times: int) -> None:
            for _ in range(times):
                front.client.post("/route", json={"query": text})

        decide("hello", 99)
        decide(" ", 5)  # there is nothing to decide by
        assert front.metric("decision_default_share") == 0.0
        decide("a broken one", 1)
        assert front.metric("decision_default_share") == pytest.approx(0.01)
        decide("a broken one", 3)
        assert front.metric("decision_default_share") == pytest.approx(4 / 103)
        answer = front.client.get("/readyz")
    assert (answer.status_code, answer.json()["default_share"]) == (200, 0.0388)
    assert answer.json()["problems"] == ["3.9% of recent decisions fell to the default candidate"]
    warnings = [record.getMessage() for record in caplog.records if record.name == "zooter.serve.decision"]
    assert warnings == ["2.0 % of recent decisions fell to the default candidate: failed"]


def test_metrics_count_requests_choices_latencies_tokens_and_price(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        for text in ("one for large", "one for large", "one for tiny"):
            front.chat(text)
        # The last thing of a request is to be counted, which a client does not wait for.
        wait_until(lambda: front.metric("requests_total", route="/v1/chat/completions", status="200") == 3)
        text = front.client.get("/metrics").text
    assert 'zooter_requests_total{route="/v1/chat/completions",status="200"} 3.0' in text
    assert 'zooter_choices_total{candidate="large",why="best"} 2.0' in text
    assert "zooter_decision_seconds_count 3.0" in text
    assert 'zooter_upstream_first_byte_seconds_count{candidate="large"} 2.0' in text
    assert 'zooter_tokens_total{candidate="large",kind="input"} 20.0' in text
    # 2 answers of 15 tokens at 2 dollars a million
    assert 'zooter_price_dollars_total{candidate="large"} 6e-05' in text
    assert "zooter_entropy_bits_count 3.0" in text


def test_drift_starts_at_zero_and_follows_the_mix_of_decisions(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        before = front.metric("drift", mix="choices")
        front.chat("one for tiny")
        # The average moves by 1/1000 of the way from (.5, .3, .2) to (0, 0, 1): 0.8 away in total variation.
        assert front.metric("drift", mix="choices") == pytest.approx(0.8 / 1_000)
        # And that of tags from (.4, .6) to (.2, .8).
        assert front.metric("drift", mix="tags") == pytest.approx(0.2 / 1_000)
    assert before == 0.0


def turn(front: RunningServer, *texts: str, **more: Any) -> str:
    """Send a conversation of these texts and return the candidate that answers the last one."""
    messages = []
    for text in texts:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "well"}]
    body = {"model": "zooter", "messages": messages[:-1]}
    return front.client.post("/v1/chat/completions", json=body, **more).headers["x-zooter-candidate"]


@pytest.mark.parametrize("sticky", ["memory", "replay"])
def test_a_conversation_stays_unless_another_candidate_is_likelier_by_the_switch_margin(
    tmp_path: Path, sticky: str
) -> None:
    with running_server(tmp_path, sticky=sticky, switch_margin=0.2) as front:
        assert turn(front, "hello small") == "small"
        assert turn(front, "hello small", "unsure") == "small"  # large is likelier by 0.05 only
        assert turn(front, "hello small", "unsure", "one for large") == "large"
        assert turn(front, "hello small", "unsure", "one for large", "unsure") == "large"
        assert turn(front, "unsure") == "large"  # another conversation


def send(front: RunningServer, messages: list[dict[str, Any]]) -> str:
    """Send messages and return the candidate that answers."""
    body = {"model": "zooter", "messages": messages}
    return front.client.post("/v1/chat/completions", json=body).headers["x-zooter-candidate"]


CALLED = [{"role": "assistant", "tool_calls": [{"id": "c"}]}, {"role": "tool", "tool_call_id": "c", "content": "4"}]


@pytest.mark.parametrize("first_text", ["hello small", "a broken one"], ids=["decided", "by default"])
def test_results_of_tools_go_back_to_the_candidate_that_called_them(tmp_path: Path, first_text: str) -> None:
    with running_server(tmp_path, default="small", switch_margin=0.0) as front:
        first = {"role": "user", "content": first_text}
        assert send(front, [first]) == "small"
        assert send(front, [first, {"role": "user", "content": "now please one for large"}, *CALLED]) == "small"
        assert send(front, [first, *CALLED, {"role": "user", "content": "now please one for large"}]) == "large"


def test_results_of_tools_go_back_to_it_even_without_a_decision(tmp_path: Path) -> None:
    with running_server(tmp_path, default="tiny") as front:
        first = {"role": "user", "content": "one for large"}
        assert send(front, [first]) == "large"
        assert send(front, [first, {"role": "user", "content": "a broken one"}, *CALLED]) == "large"


@pytest.mark.parametrize("sticky", ["none", "replay"])
def test_a_short_follow_up_is_routed_by_the_text_before_it(tmp_path: Path, sticky: str) -> None:
    with running_server(tmp_path, sticky=sticky) as front:
        assert turn(front, "yes") == "small"  # what the router makes of it alone
        assert turn(front, "please write code for large") == "large"
        assert turn(front, "please write code for large", "yes") == "large"
        assert turn(front, "please write code for large", "yes", "go on, please") == "large"
        assert turn(front, "please write code for large", "and now something short for tiny") == "tiny"


def test_without_stickiness_each_turn_is_decided_by_itself(tmp_path: Path) -> None:
    with running_server(tmp_path, sticky="none") as front:
        assert turn(front, "hello small") == "small"
        assert turn(front, "hello small", "unsure") == "large"


def test_a_conversation_can_be_named_by_the_client(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        mine, other = {"x-zooter-conversation": "mine"}, {"x-zooter-conversation": "other"}
        assert turn(front, "hello small", headers=mine) == "small"
        assert turn(front, "hello small", "unsure", headers=other) == "large"
        assert turn(front, "hello small", "unsure", headers=mine) == "small"


def test_a_conversation_stays_with_the_candidate_that_answered_after_a_failure(tmp_path: Path) -> None:
    with running_server(tmp_path, {"small": respond_with(http_response(b"", 500))}) as front:
        assert turn(front, "hello small") == "large"
        front.upstreams["small"].behaviour = upstreams.respond_normally
        assert turn(front, "hello small", "unsure") == "large"


def test_the_access_log_holds_no_text_unless_asked(tmp_path: Path) -> None:
    for asked in (False, True):
        log = tmp_path / f"access-{asked}.jsonl"
        with running_server(tmp_path, access_log=str(log), log_text=asked) as front:
            front.chat("my secret for large")
            front.client.get("/healthz")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        assert len(rows) == 1
        assert (rows[0]["status"], rows[0]["candidate"], rows[0]["why"]) == (200, "large", "best")
        assert (rows[0]["input_tokens"], rows[0]["output_tokens"]) == (10, 5)
        assert rows[0].get("query") == ("my secret for large" if asked else None)
        assert ("secret" in log.read_text()) is asked


def test_the_decision_log_is_a_recorded_table(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    with running_server(tmp_path, decisions=folder, decisions_rows=2) as front:
        front.chat("one for large")
        front.chat("one for tiny", stream=True)
        front.chat("half a \ud800 pair".encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    rows = [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [(row["query"], row["candidate"], row["response"]) for row in rows[:2]] == [
        ("one for large", "large", "I am large"),
        ("one for tiny", "tiny", "I am tiny"),
    ]
    assert len(rows) == 3
    assert (rows[0]["input_tokens"], rows[0]["output_tokens"], rows[0]["reward"]) == (10, 5, None)
    assert rows[0]["cost"] == pytest.approx(15 * 2.0 / 1e6)
    assert rows[0]["probability"] == pytest.approx(0.6)
    assert reward_table.read_queries(folder)[0] == [row["query"] for row in rows]


def test_the_official_client_works_for_chats_streams_tools_and_errors(tmp_path: Path) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    behaviours: dict[str, upstreams.Behaviour | None] = {
        "tiny": respond_with(http_response(upstreams.completion_body("", tool_calls=calls))),
        "large": respond_with(http_response(b'{"error": {"message": "too hot", "code": "invalid_value"}}', 400)),
    }
    tools: list[Any] = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    with (
        running_server(tmp_path, behaviours) as front,
        openai.OpenAI(base_url=f"{front.url}/v1", api_key="none") as client,
    ):

        def create(text: str, **more: Any) -> Any:
            return client.chat.completions.create(model="zooter", messages=[{"role": "user", "content": text}], **more)

        assert create("hello").choices[0].message.content == "I am small"
        stream = create("hello", stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in stream) == "I am small"
        assert create("one for tiny", tools=tools).choices[0].message.tool_calls[0].function.name == "look"
        assert front.upstreams["tiny"].bodies[0]["tools"] == tools
        with pytest.raises(openai.BadRequestError, match="too hot"):
            create("one for large")
        with pytest.raises(openai.NotFoundError, match="expected as model one of"):
            client.chat.completions.create(model="none", messages=[{"role": "user", "content": "hello"}])
        with pytest.raises(openai.NotFoundError, match="embeddings are not offered"):
            client.embeddings.create(model="zooter", input="hello")
        assert [model.id for model in client.models.list()] == ["zooter", "small", "large", "tiny"]
        assert client.models.retrieve("tiny").id == "tiny"
        cut = upstreams.STREAM_HEAD + upstreams.chunk(upstreams.sse_event("I am"))
        front.upstreams["small"].behaviour = respond_with(cut, cut=True)
        with pytest.raises(openai.APIError, match="small broke off"):
            list(create("hello", stream=True))
