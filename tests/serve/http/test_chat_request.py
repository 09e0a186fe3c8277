"""Requests are read with care and passed on untouched."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.upstreams import in_front

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


def refusal(read: Callable[[bytes], object], body: bytes) -> ApiError | None:
    """Why a body is refused; None where it is not. Any other error is a test's failure."""
    try:
        read(body)
    except ApiError as found:
        return found
    return None


@given(
    st.dictionaries(st.text(), VALUES, max_size=6), st.dictionaries(st.text(), VALUES, max_size=3),
    st.text(), st.sampled_from([None, 2]), st.booleans(),
)  # fmt: skip
def test_every_field_but_the_model_goes_on_as_it_came(
    before: dict[str, Any], after: dict[str, Any], model: str, indent: int | None, ascii_only: bool
) -> None:
    read = {"model", "messages", "stream"}
    asked = {key: value for key, value in before.items() if key not in read}
    asked |= {"model": model, "messages": MESSAGES}
    asked |= {key: value for key, value in after.items() if key not in read and key not in asked}
    text = json.dumps(asked, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return  # half of a surrogate pair, which is no UTF-8
    passed = chat_request.parse_chat_request(text).body("its name", {"reasoning": '"low"'})
    expected = asked | {"model": "its name"} | ({} if "reasoning" in asked else {"reasoning": "low"})
    assert json.loads(passed) == expected
    more = b"" if "reasoning" in asked else b', "reasoning": "low"'
    ours = json.dumps(model, ensure_ascii=ascii_only).encode()
    assert passed.replace(b'"its name"' + more, ours) == text.replace(b'"its name"' + more, ours)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_read_or_refused_with_words(body: bytes) -> None:
    for read in (chat_request.parse_chat_request, chat_request.parse_route_request):
        told = refusal(read, body)
        assert told is None or (told.status == 400 and told.message.startswith("expected "))


@given(VALUES, VALUES, VALUES, VALUES)
def test_any_members_are_read_or_refused_with_words(role: Any, content: Any, text: Any, stream: Any) -> None:
    parts = [{"type": "text", "text": text}, content]
    for messages in (content, [content], [{"role": role, "content": content}], [{"role": "user", "content": parts}]):
        body = json.dumps({"model": "m", "stream": stream, "messages": messages}).encode()
        told = refusal(chat_request.parse_chat_request, body)
        if told is None:
            assert all(text.strip() and text.encode() for text in chat_request.parse_chat_request(body).texts)
        else:
            assert told.status == 400


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
    with in_front(tmp_path) as front:
        for name, body in WRONG.items():
            answer = front.client.post("/v1/chat/completions", content=body)
            assert answer.status_code == 400, name
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert answer.json()["error"]["message"].startswith("expected "), name
        assert front.chat().status_code == 200


def test_a_body_over_the_limit_is_refused_without_being_kept(tmp_path: Path) -> None:
    def pieces() -> Any:
        for _ in range(100):
            yield b" " * 2**20

    with in_front(tmp_path) as front:
        told = front.client.post("/v1/chat/completions", content=pieces(), headers={"content-length": str(100 * 2**20)})
        untold = front.client.post("/v1/chat/completions", content=pieces())
        assert front.chat().status_code == 200
    assert (told.status_code, untold.status_code) == (413, 413)
    assert told.json()["error"]["message"] == "expected a body of at most 16777216 bytes"


def test_ten_thousand_messages_pass_through(tmp_path: Path) -> None:
    messages = [{"role": "assistant" if i % 2 else "user", "content": f"message {i}"} for i in range(9_999)]
    messages.append({"role": "user", "content": "one for tiny"})
    with in_front(tmp_path) as front:
        answer = front.client.post("/v1/chat/completions", json={"model": "zooter", "messages": messages})
    assert answer.headers["x-zooter-candidate"] == "tiny"
    assert front.up["tiny"].bodies[0]["messages"] == messages


def test_tools_images_and_unknown_fields_reach_the_candidate_untouched(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    asked = {
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
    with in_front(tmp_path) as front:
        answer = front.client.post("/v1/chat/completions", json=asked)
    assert answer.headers["x-zooter-candidate"] == "large"
    sent = json.dumps(asked, separators=(",", ":"), ensure_ascii=False).encode()
    assert front.up["large"].raw == [sent.replace(b'"zooter"', b'"large-v1"')]


@pytest.mark.parametrize(("reads", "chosen"), [("last", "tiny"), ("first", "large"), ("all", "tiny")])
def test_which_text_decides_is_a_setting(tmp_path: Path, reads: str, chosen: str) -> None:
    messages = [
        {"role": "user", "content": "one for large"},
        {"role": "user", "content": [{"type": "text", "text": "and one"}, {"type": "text", "text": "for tiny"}]},
        {"role": "user", "content": "   "},
    ]
    with in_front(tmp_path, reads=reads) as front:
        answer = front.client.post("/v1/chat/completions", json={"model": "zooter", "messages": messages})
    assert answer.headers["x-zooter-candidate"] == chosen


def test_a_conversation_without_any_text_goes_to_the_default_candidate(tmp_path: Path) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with in_front(tmp_path) as front:
        answer = front.client.post(
            "/v1/chat/completions", json={"model": "zooter", "messages": [{"role": "user", "content": image}]}
        )
        assert front.metric("decision_defaults_total", reason="no text") == 1
    assert answer.headers["x-zooter-candidate"] == "small"  # most often chosen in training
    assert answer.headers["x-zooter-why"] == "default"
