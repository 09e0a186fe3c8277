"""Parse chat requests, and rewrite one for a candidate without changing any byte but the name of the model."""

import codecs
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

from zooter.serve.http.endpoints import CHAT, messages_of
from zooter.serve.http.errors import ApiError
from zooter.serve.http.requirements import Requirements, requirements

MAX_VALUES = 50_000  # JSON values of a body; a conversation of a thousand messages with tool calls has some 10,000
_WHITESPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat request.

    Attributes:
        model: what the client asks for.
        stream: whether the client wants server-sent events.
        texts: the user's texts, in order, without empty ones.
        body: the request's JSON in UTF-8.
        model_span: position [start, end) of the value of `model` in it.
        member_names: names of the request's members.
        returns_tool_results: whether the request goes on with the results of tools that an answer called.
        is_continued: whether the conversation has an assistant's message.
        opening_hash: hash of the messages up to the user's first one, which identifies the conversation.
        needs: what the request needs of a candidate.
        endpoint: path under a candidate's base URL that the request is sent to.
    """

    model: str
    stream: bool
    texts: tuple[str, ...]
    body: bytes
    model_span: tuple[int, int]
    member_names: frozenset[str]
    returns_tool_results: bool
    is_continued: bool
    opening_hash: bytes
    needs: Requirements
    endpoint: str = CHAT

    def body_parts(self, model: str, extra: Mapping[str, str]) -> tuple[memoryview, bytes, memoryview]:
        """Encode the request for a candidate, without copying it.

        Args:
            model: the candidate's own name for the model.
            extra: name → JSON of members to add unless the request has them.
        """
        start, end = self.model_span
        added = "".join(
            f", {json.dumps(name)}: {value}" for name, value in extra.items() if name not in self.member_names
        )
        view = memoryview(self.body)
        return view[:start], f"{json.dumps(model)}{added}".encode(), view[end:]


def parse_chat_request(body: bytes, endpoint: str = CHAT) -> ChatRequest:
    """Parse the body of a chat request, or of a request to another text endpoint.

    Args:
        body: the body.
        endpoint: path under a candidate's base URL that the request is sent to.

    Raises:
        ApiError: 400, it cannot be used.
    """
    members, spans, body = _parse_body(body)
    model = members.get("model")
    if not isinstance(model, str):
        raise bad_request("`model` to be a text", "model")
    return _chat_request(model, members, body, spans["model"], endpoint)


def parse_route_request(body: bytes) -> ChatRequest:
    """Parse the body of a request for a decision: `{"query": "…"}`, or a chat request, which needs no model.

    Args:
        body: bytes of the HTTP body.

    Raises:
        ApiError: 400, it cannot be used.
    """
    members, _, body = _parse_body(body)
    query = members.get("query")
    if "messages" in members:
        return _chat_request("", members, body, (0, 0))
    if not isinstance(query, str):
        raise bad_request("`query` to be a text, or `messages` as in a chat request", "query")
    return _chat_request("", {"messages": [{"role": "user", "content": query}]}, body, (0, 0))


def bad_request(expected: str, param: str | None = None) -> ApiError:
    """Build the error for a request that cannot be used.

    Args:
        expected: what was expected instead.
        param: the member that is wrong.
    """
    return ApiError(400, f"expected {expected}", "invalid_request_error", param=param)


def user_texts(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the user's texts in a list of messages, in order, without empty ones.

    Args:
        messages: in OpenAI's form; content is a text or a list of parts.
    """
    texts = (_content_text(message.get("content")) for message in messages if message.get("role") == "user")
    return tuple(text for text in texts if text and not text.isspace())


def _parse_body(body: bytes) -> tuple[dict[str, Any], dict[str, tuple[int, int]], bytes]:
    """Return the members of a body's JSON object, the positions of their values in the JSON, and the JSON in UTF-8."""
    body = body.removeprefix(codecs.BOM_UTF8)
    _check_size(body)
    text = _decode(body)
    try:
        members, spans = _parse_members(text)
    except RecursionError as error:
        raise bad_request("JSON of a reasonable depth, found it nested too deeply") from error
    except (ValueError, IndexError, StopIteration) as error:
        raise bad_request(f"a JSON object, found {_describe(error)}") from error
    start, end = spans.get("model", (0, 0))
    if len(text) < len(body):  # positions are those of characters, of which some have several bytes
        start, end = len(text[:start].encode()), len(text[:end].encode())
    return members, spans | {"model": (start, end)}, body


def _check_size(body: bytes) -> None:
    """Refuse a body of more than `MAX_VALUES` values, whose objects would take seconds and gigabytes."""
    marks = b",", b"[", b"{"
    if sum(map(body.count, marks)) > MAX_VALUES:
        outside = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
        if sum(map(outside.count, marks)) > MAX_VALUES:
            raise bad_request(f"a body of at most {MAX_VALUES} JSON values")


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"a body in UTF-8, found a wrong byte at {error.start}") from error


def _chat_request(
    model: str, members: dict[str, Any], body: bytes, span: tuple[int, int], endpoint: str = CHAT
) -> ChatRequest:
    messages, stream = messages_of(endpoint, members), members.get("stream")
    if not isinstance(stream, bool | None):
        raise bad_request("`stream` to be true or false", "stream")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise bad_request("`messages` to be a list of objects, at least one", "messages")
    return ChatRequest(
        model,
        bool(stream),
        user_texts(messages),
        body,
        span,
        frozenset(members),
        messages[-1].get("role") in ("tool", "function"),
        any(message.get("role") == "assistant" for message in messages),
        _opening_hash(messages),
        requirements(members, messages),
        endpoint,
    )


def _opening_hash(messages: list[dict[str, Any]]) -> bytes:
    first = next((i for i, message in enumerate(messages) if message.get("role") == "user"), len(messages))
    opening = hashlib.blake2b(digest_size=16)
    for message in messages[: first + 1]:
        content = message.get("content")
        if isinstance(content, str):
            # Not as JSON, which takes ten times as long for a long text.
            message = {**message, "content": len(content)}
            opening.update(content.encode("utf-8", "surrogatepass"))
        opening.update(json.dumps(message).encode())
    return opening.digest()


def _content_text(content: Any) -> str:
    """Return the text of a message's content: itself, or its text parts; images and other parts are ignored."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str) or content.isascii():
        return content if isinstance(content, str) else ""
    # JSON can hold half of a surrogate pair, which no tokenizer accepts.
    return content.encode("utf-8", "replace").decode()


def _parse_members(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Return the members of a JSON object and the positions of their values; no name may occur twice."""
    at = _skip_whitespace(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("something else")
    members: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    at = _skip_whitespace(text, at + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError(f"no name at character {at}")
        name, at = scanstring(text, at + 1, True)
        at = _skip_whitespace(text, at)
        if text[at] != ":":
            raise ValueError(f"no colon at character {at}")
        start = _skip_whitespace(text, at + 1)
        if name in members:
            raise ValueError(f"the member {name[:50]!r} twice")
        members[name], at = _DECODER.scan_once(text, start)  # type: ignore[attr-defined]
        spans[name] = (start, at)
        at = _skip_whitespace(text, at)
        if text[at] == ",":
            at = _skip_whitespace(text, at + 1)
            if text[at] == "}":
                raise ValueError("a comma before the closing brace")
        elif text[at] != "}":
            raise ValueError(f"no comma at character {at}")
    if _skip_whitespace(text, at + 1) != len(text):
        raise ValueError(f"more after its end at character {at + 1}")
    return members, spans


def _skip_whitespace(text: str, at: int) -> int:
    return _WHITESPACE.match(text, at).end()  # type: ignore[union-attr]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


_DECODER = JSONDecoder(parse_constant=_refuse_constant)


def _describe(error: Exception) -> str:
    if isinstance(error, IndexError | StopIteration):
        return "one that ends too early or holds something that is no JSON"
    return str(error)[:200]
