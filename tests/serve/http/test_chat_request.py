"""Parsing of chat requests, which are passed on unchanged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.upstreams import running_server

from zooter.serve.http import chat_request
from zooter.serve.http.errors import ApiError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = [{"role": "user", "content": "hello"}]


def refusal(parse: Callable[[bytes], object], body: bytes) -> ApiError | None:
    """Return the error for a body; None if it is accepted. Other exceptions fail the test."""
    try:
        parse(body)
    except ApiError as error:
        return error
    return None


@given(
    st.dictionaries(st.text(), VALUES, max_size=6), st.dictionaries(st.text(), VALUES, max_size=3),
    st.text(), st.sampled_from([None, 2]), st.booleans(),
)  # fmt: skip
def test_every_field_but_the_model_is_passed_on_unchanged(
    before: dict[str, Any], after: dict[str, Any], model: str, indent: int | None, ascii_only: bool
) -> None:
    parsed_members = {"model", "messages", "stream"}
    request = {key: value for key, value in before.items() if key not in parsed_members}
    request |= {"model": model, "messages": MESSAGES}
    request |= {key: value for key, value in after.items() if key not in parsed_members and key not in request}
    text = json.dumps(request, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return  # half of a surrogate pair, which is no UTF-8
    passed = b"".join(chat_request.parse_chat_request(text).body_parts("its name", {"reasoning": '"low"'}))
    expected = request | {"model": "its name"} | ({} if "reasoning" in request else {"reasoning": "low"})
    assert json.loads(passed) == expected
    more = b"" if "reasoning" in request else b', "reasoning": "low"'
    ours = json.dumps(model, ensure_ascii=ascii_only).encode()
    assert passed.replace(b'"its name"' + more, ours) == text.replace(b'"its name"' + more, ours)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_parsed_or_refused_with_a_message(body: bytes) -> None:
    for parse in (chat_request.parse_chat_request, chat_request.parse_route_request):
        error = refusal(parse, body)
        assert error is None or (error.status == 400 and error.message.startswith("expected "))


@given(VALUES, VALUES, VALUES, VALUES)
def test_any_members_are_parsed_or_refused_with_a_message(role: Any, content: Any, text: Any, stream: Any) -> None:
    parts = [{"type": "text", "text": text}, content]
    for messages in (content, [content], [{"role": role, "content": content}], [{"role": "user", "content": parts}]):
        body = json.dumps({"model": "m", "stream": stream, "messages": messages}).encode()
        error = refusal(chat_request.parse_chat_request, body)
        if error is None:
            assert all(text.strip() and text.encode() for text in chat_request.parse_chat_request(body).texts)
        else:
            assert error.status == 400


WRONG = {
    "empty": b"",
    "no JSON": b"hello",
    "a list": b"[]",
    "half": b'{"model": "zooter", "messages": [',
    "a comma too many": b'{"model": "zooter", }',
    "more after its end": b'{"model": "zooter"} {}',
    "twice": b'{"model": "zooter", "model": "large", "messages": [{"role": "user", "content": "a"}]}',
    "NaN": b'{"model": "zooter", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
    "invalid UTF-8": b'{"model": "zooter", "messages": [{"role": "user", "content": "\xff"}]}',
    "deep": b'{"model": "zooter", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of a million digits": b'{"model": "zooter", "seed": ' + b"1" * 10**6 + b"}",
    "no model": json.dumps({"messages": MESSAGES}).encode(),
    "a number as model": json.dumps({"model": 5, "messages": MESSAGES}).encode(),
    "no messages": b'{"model": "zooter"}',
    "no message": b'{"model": "zooter", "messages": []}',
    "messages of a wrong type": b'{"model": "zooter", "messages": "hello"}',
    "a message of a wrong type": b'{"model": "zooter", "messages": ["hello"]}',
    "stream of a wrong type": json.dumps({"model": "zooter", "messages": MESSAGES, "stream": "yes"}).encode(),
}


def test_a_wrong_body_is_a_400_that_says_what_was_expected(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        for name, body in WRONG.items():
            answer = front.client.post("/v1/chat/completions", content=body)
            assert answer.status_code == 400, name
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert answer.json()["error"]["message"].startswith("expected "), name
        assert front.chat().status_code == 200


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    def pieces() -> Any:
        for _ in range(100):
            yield b" " * 2**20

    with running_server(tmp_path) as front:
        declared = front.client.post(
            "/v1/chat/completions", content=pieces(), headers={"content-length": str(100 * 2**20)}
        )
        undeclared = front.client.post("/v1/chat/completions", content=pieces())
        assert front.chat().status_code == 200
    assert (declared.status_code, undeclared.status_code) == (413, 413)
    assert declared.json()["error"]["message"] == "expected a body of at most 16777216 bytes"


def test_ten_thousand_messages_pass_through(tmp_path: Path) -> None:
    messages = [{"role": "assistant" if i % 2 else "user", "content": f"message {i}"} for i in range(9_999)]
    messages.append({"role": "user", "content": "one for tiny"})
    with running_server(tmp_path) as front:
        answer = front.client.post("/v1/chat/completions", json={"model": "zooter", "messages": messages})
    assert answer.headers["x-zooter-candidate"] == "tiny"
    assert front.upstreams["tiny"].bodies[0]["messages"] == messages


def test_tools_images_and_unknown_fields_reach_the_candidate_untouched(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    request = {
        "model": "zooter",
        "messages": [
            {"role": "system", "content": "about tiny things"},
            {"role": "user", "content": [{"type": "text", "text": "one for large"}, image], "name": "someone"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "temperature": 1e-7,
        "of the future": {"a": [1.0, 10**30, None]},
    }
    with running_server(tmp_path) as front:
        answer = front.client.post("/v1/chat/completions", json=request)
    assert answer.headers["x-zooter-candidate"] == "large"
    sent = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
    assert front.upstreams["large"].raw == [sent.replace(b'"zooter"', b'"large-v1"')]


@pytest.mark.parametrize(("query_from", "chosen"), [("last", "tiny"), ("first", "large"), ("all", "tiny")])
def test_query_from_selects_the_text_that_is_routed(tmp_path: Path, query_from: str, chosen: str) -> None:
    messages = [
        {"role": "user", "content": "one for large"},
        {"role": "user", "content": [{"type": "text", "text": "and one"}, {"type": "text", "text": "for tiny"}]},
        {"role": "user", "content": "   "},
    ]
    with running_server(tmp_path, query_from=query_from) as front:
        answer = front.client.post("/v1/chat/completions", json={"model": "zooter", "messages": messages})
    assert answer.headers["x-zooter-candidate"] == chosen


def test_a_conversation_without_any_text_goes_to_the_default_candidate(tmp_path: Path) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with running_server(tmp_path) as front:
        answer = front.client.post(
            "/v1/chat/completions", json={"model": "zooter", "messages": [{"role": "user", "content": image}]}
        )
        assert front.metric("decision_defaults_total", reason="no text") == 1
    assert answer.headers["x-zooter-candidate"] == "small"  # most often chosen in training
    assert answer.headers["x-zooter-why"] == "default"
