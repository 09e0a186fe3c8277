"""Parse chat requests, and rewrite one for a candidate without changing any byte but the name of the model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

from zooter.serve.http.errors import ApiError

_WHITESPACE = " \t\n\r"


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat request.

    Attributes:
        model: what the client asks for.
        stream: whether the client wants server-sent events.
        texts: the user's texts, in order, without empty ones.
        json_text: the request's JSON.
        model_span: position [start, end) of the value of `model` in it.
        member_names: names of the request's members.
        messages: the request's messages.
    """

    model: str
    stream: bool
    texts: tuple[str, ...]
    json_text: str
    model_span: tuple[int, int]
    member_names: frozenset[str]
    messages: list[dict[str, Any]]

    def body_for(self, model: str, extra: Mapping[str, str]) -> bytes:
        """Encode the request for a candidate.

        Args:
            model: the candidate's own name for the model.
            extra: name → JSON of members to add unless the request has them.
        """
        start, end = self.model_span
        added = "".join(
            f", {json.dumps(name)}: {value}" for name, value in extra.items() if name not in self.member_names
        )
        return f"{self.json_text[:start]}{json.dumps(model)}{added}{self.json_text[end:]}".encode()

    def opening_hash(self) -> bytes:
        """Hash the messages up to the user's first one, which identifies the conversation."""
        first = next(
            (i for i, message in enumerate(self.messages) if message.get("role") == "user"), len(self.messages)
        )
        return hashlib.blake2b(json.dumps(self.messages[: first + 1]).encode(), digest_size=16).digest()

    def is_continued(self) -> bool:
        """Return whether the conversation has an assistant's message."""
        return any(message.get("role") == "assistant" for message in self.messages)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Parse the body of a chat request.

    Raises:
        ApiError: 400, it cannot be used.
    """
    members, spans, text = _parse_body(body)
    model = members.get("model")
    if not isinstance(model, str):
        raise bad_request("`model` to be a text", "model")
    return _chat_request(model, members, text, spans["model"])


def parse_route_request(body: bytes) -> ChatRequest:
    """Parse the body of a request for a decision: `{"query": "…"}`, or a chat request, which needs no model.

    Raises:
        ApiError: 400, it cannot be used.
    """
    members, _, text = _parse_body(body)
    query = members.get("query")
    if "messages" in members:
        return _chat_request("", members, text, (0, 0))
    if not isinstance(query, str):
        raise bad_request("`query` to be a text, or `messages` as in a chat request", "query")
    return _chat_request("", {"messages": [{"role": "user", "content": query}]}, text, (0, 0))


def bad_request(expected: str, param: str | None = None) -> ApiError:
    """Build the error for a request that cannot be used.

    Args:
        expected: what was expected instead.
        param: the member that is wrong.
    """
    return ApiError(400, f"expected {expected}", "invalid_request_error", param=param)


def user_texts(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the user's texts in a list of messages, in order, without empty ones."""
    texts = (_content_text(message.get("content")) for message in messages if message.get("role") == "user")
    return tuple(text for text in texts if text.strip())


def _parse_body(body: bytes) -> tuple[dict[str, Any], dict[str, tuple[int, int]], str]:
    """Return the members of a body's JSON object, the positions of their values, and the JSON."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_request(f"a body in UTF-8, found a wrong byte at {error.start}") from error
    try:
        return *_parse_members(text), text
    except RecursionError as error:
        raise bad_request("JSON of a reasonable depth, found it nested too deeply") from error
    except (ValueError, IndexError, StopIteration) as error:
        raise bad_request(f"a JSON object, found {_describe(error)}") from error


def _chat_request(model: str, members: dict[str, Any], text: str, span: tuple[int, int]) -> ChatRequest:
    messages, stream = members.get("messages"), members.get("stream")
    if not isinstance(stream, bool | None):
        raise bad_request("`stream` to be true or false", "stream")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise bad_request("`messages` to be a list of objects, at least one", "messages")
    return ChatRequest(model, bool(stream), user_texts(messages), text, span, frozenset(members), messages)


def _content_text(content: Any) -> str:
    """Return the text of a message's content: itself, or its text parts; images and other parts are ignored."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
        content = "\n".join(part for part in parts if isinstance(part, str))
    # JSON can hold half of a surrogate pair, which no tokenizer accepts.
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


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
    while at < len(text) and text[at] in _WHITESPACE:
        at += 1
    return at


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


_DECODER = JSONDecoder(parse_constant=_refuse_constant)


def _describe(error: Exception) -> str:
    if isinstance(error, IndexError | StopIteration):
        return "one that ends too early or holds something that is no JSON"
    return str(error)[:200]
