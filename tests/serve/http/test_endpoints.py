"""Completions and responses are routed by their texts and passed on unchanged."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import upstreams
from support.upstreams import chunk, http_response, running_server

from zooter.serve.http.chat_request import parse_chat_request
from zooter.serve.http.endpoints import COMPLETIONS, ENDPOINTS, RESPONSES
from zooter.serve.http.errors import ApiError


def response_object(text: str) -> dict[str, Any]:
    """Build an answer of /v1/responses."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}
    usage = {
        "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    return {
        "id": "r1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None,
        "output": [message], "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


async def respond_by_path(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
    """Answer completions and responses, whole or as events, in the form of their endpoint."""
    text, head = f"I am {upstream.name}", upstream.heads[-1]
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    if head.startswith("POST /v1/completions "):
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        answer = {
            "id": "c",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        events = [answer]
    else:
        assert head.startswith("POST /v1/responses ")
        answer = response_object(text)
        delta = {"type": "response.output_text.delta", "delta": text, "item_id": "m", "output_index": 0}
        events = [delta | {"content_index": 0, "sequence_number": 0, "logprobs": []}]
        events += [{"type": "response.completed", "response": answer, "sequence_number": 1}]
    if not body.get("stream"):
        writer.write(http_response(json.dumps(answer).encode()))
        return
    writer.write(upstreams.STREAM_HEAD)
    for event in events:
        name = f"event: {event['type']}\n" if "type" in event else ""
        writer.write(chunk(f"{name}data: {json.dumps(event)}\n\n".encode()))
    writer.write(b"0\r\n\r\n")


WORDS = st.sampled_from(["role", "content", "type", "text", "user", "function_call_output", "input_text", "output"])
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=10,
)
MEMBERS = ("messages", "prompt", "input", "instructions", "tools", "text", "response_format", "max_tokens", "stream")
BEHAVIOURS: Any = dict.fromkeys(("small", "large", "tiny"), respond_by_path)


def test_the_official_client_gets_completions_and_responses_from_the_candidate_that_the_router_chooses(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, BEHAVIOURS, decisions=tmp_path / "decisions") as front,
        openai.OpenAI(base_url=f"{front.url}/v1", api_key="none") as client,
    ):
        assert client.completions.create(model="zooter", prompt="one for large").choices[0].text == "I am large"
        parts = client.completions.create(model="zooter", prompt="one for tiny", stream=True)
        assert "".join(part.choices[0].text for part in parts) == "I am tiny"
        assert client.responses.create(model="zooter", input="one for large").output_text == "I am large"
        events = list(client.responses.create(model="zooter", input="one for tiny", stream=True))
        assert [event.type for event in events] == ["response.output_text.delta", "response.completed"]
        assert client.responses.create(model="small", input="one for tiny").output_text == "I am small"
        assert front.upstreams["large"].bodies == [
            {"model": "large-v1", "prompt": "one for large"},
            {"model": "large-v1", "input": "one for large"},
        ]
        assert front.metric("tokens_total", candidate="tiny", kind="output") == 10
    rows = [row for path in sorted((tmp_path / "decisions").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row["response"] for row in rows] == [f"I am {name}" for name in ("large", "tiny", "large", "tiny", "small")]


def test_an_answer_without_output_fails_over(tmp_path: Path) -> None:
    with running_server(tmp_path, {**BEHAVIOURS, "large": upstreams.respond_normally}) as front:
        answer = front.client.post("/v1/responses", json={"model": "zooter", "input": "one for large"})
    assert (answer.headers["x-zooter-candidate"], answer.headers["x-zooter-why"]) == ("small", "fallback")


@pytest.mark.parametrize("state", [{"previous_response_id": "r1"}, {"conversation": "c1"}])
def test_a_state_that_one_provider_holds_needs_the_candidates_name(tmp_path: Path, state: dict[str, str]) -> None:
    with running_server(tmp_path, BEHAVIOURS) as front:
        body = {"input": "one for large", **state}
        routed = front.client.post("/v1/responses", json={"model": "zooter", **body})
        named = front.client.post("/v1/responses", json={"model": "tiny", **body})
    assert routed.status_code == 400
    assert "only the candidate that answered knows" in routed.json()["error"]["message"]
    assert named.headers["x-zooter-candidate"] == "tiny"


def test_extra_members_of_chat_requests_are_not_added_to_other_requests(tmp_path: Path) -> None:
    with upstreams.serve_upstream("small", respond_by_path) as upstream:
        pool = {"small": {"url": upstream.url, "extra": {"reasoning_effort": "low"}}}
        (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": pool}))
        with running_server(tmp_path, pool_file=tmp_path / "pool.yaml") as front:
            front.client.post("/v1/responses", json={"model": "zooter", "input": "hello"})
    assert upstream.bodies == [{"model": "small", "input": "hello"}]


def parse(endpoint: str, **members: Any) -> Any:
    return parse_chat_request(json.dumps({"model": "zooter", **members}).encode(), endpoint)


def test_the_texts_needs_and_tool_results_of_responses_are_read() -> None:
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "look at"}, {"type": "input_image"}]},
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "a cat"},
        7,
    ]
    chat = parse(RESPONSES, input=items, instructions="be short", max_output_tokens=9)
    assert chat.texts == ("look at",)
    assert chat.returns_tool_results
    assert (chat.needs.tools, chat.needs.vision) == (True, True)
    assert chat.needs.output_tokens == 9
    assert chat.needs.tokens == len("be short" + "look at" + "a cat") // 4
    assert parse(RESPONSES, input="hello").texts == ("hello",)
    assert parse(RESPONSES).texts == ()


@given(st.sampled_from(sorted(ENDPOINTS.values())), st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, ANY)))
def test_any_members_are_read_or_refused(endpoint: str, members: dict[str, Any]) -> None:
    with suppress(ApiError):
        assert all(isinstance(text, str) for text in parse(endpoint, **members).texts)


def test_the_texts_of_completions_are_read() -> None:
    assert parse(COMPLETIONS, prompt="one").texts == ("one",)
    assert parse(COMPLETIONS, prompt=["one", "two"]).texts == ("one\ntwo",)
    assert parse(COMPLETIONS, prompt=[15, 16]).texts == ()
