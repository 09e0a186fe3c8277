"""A chat request: what of it decides, and its bytes for the candidate, untouched but for the name of the model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

from zooter.serve.http.errors import ApiError

_SPACE = " \t\n\r"


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat request.

    Attributes:
        model: what the client asked for.
        stream: whether it wants server-sent events.
        texts: the user's texts, in order, without empty ones.
        text: the request's JSON.
        span: where in it the value of `model` stands: [start, end).
        names: of the request's members.
        messages: the messages as they came.
    """

    model: str
    stream: bool
    texts: tuple[str, ...]
    text: str
    span: tuple[int, int]
    names: frozenset[str]
    messages: list[dict[str, Any]]

    def body(self, model: str, extra: Mapping[str, str]) -> bytes:
        """The request for a candidate: its own name for the model; `extra` members (name → JSON) unless it has them."""
        start, end = self.span
        more = "".join(f", {json.dumps(name)}: {value}" for name, value in extra.items() if name not in self.names)
        return f"{self.text[:start]}{json.dumps(model)}{more}{self.text[end:]}".encode()

    def opening(self) -> bytes:
        """A hash of the messages up to the user's first one, by which the conversation is known again."""
        first = next(
            (i for i, message in enumerate(self.messages) if message.get("role") == "user"), len(self.messages)
        )
        return hashlib.blake2b(json.dumps(self.messages[: first + 1]).encode(), digest_size=16).digest()

    def continued(self) -> bool:
        """Whether somebody has answered in it already."""
        return any(message.get("role") == "assistant" for message in self.messages)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a request's body.

    Raises:
        Refusal: 400, with what was expected and found.
    """
    members, spans, text = _read(body)
    model = members.get("model")
    if not isinstance(model, str):
        raise bad_request("`model` to be a text", "model")
    return _conversation(model, members, text, spans["model"])


def parse_route_request(body: bytes) -> ChatRequest:
    """Read a request for a decision alone: a chat request, of which no model is needed, or `{"query": "…"}`.

    Raises:
        Refusal: 400, with what was expected and found.
    """
    members, _, text = _read(body)
    query = members.get("query")
    if "messages" in members:
        return _conversation("", members, text, (0, 0))
    if not isinstance(query, str):
        raise bad_request("`query` to be a text, or `messages` as in a chat request", "query")
    return _conversation("", {"messages": [{"role": "user", "content": query}]}, text, (0, 0))


def bad_request(expected: str, param: str | None = None) -> ApiError:
    """A request that cannot be used, in OpenAI's words for it."""
    return ApiError(400, f"expected {expected}", "invalid_request_error", param=param)


def texts_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The user's texts in a list of messages, in order, without empty ones."""
    said = (_text(message.get("content")) for message in messages if message.get("role") == "user")
    return tuple(found for found in said if found.strip())


def _read(body: bytes) -> tuple[dict[str, Any], dict[str, tuple[int, int]], str]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_request(f"a body in UTF-8, found a wrong byte at {error.start}") from error
    try:
        return *_members(text), text
    except RecursionError as error:
        raise bad_request("JSON of a reasonable depth, found it nested too deeply") from error
    except (ValueError, IndexError, StopIteration) as error:
        raise bad_request(f"a JSON object, found {_brief(error)}") from error


def _conversation(model: str, members: dict[str, Any], text: str, span: tuple[int, int]) -> ChatRequest:
    messages, stream = members.get("messages"), members.get("stream")
    if not isinstance(stream, bool | None):
        raise bad_request("`stream` to be true or false", "stream")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise bad_request("`messages` to be a list of objects, at least one", "messages")
    return ChatRequest(model, bool(stream), texts_of(messages), text, span, frozenset(members), messages)


def _text(content: Any) -> str:
    """The text of a message's content: itself, or its text parts; images and other parts decide nothing."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
        content = "\n".join(part for part in parts if isinstance(part, str))
    # Half of a surrogate pair can be written in JSON and is no text that a tokenizer takes.
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def _members(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The members of a JSON object and where their values stand. Of members with one name the last counts."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("something else")
    members: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError(f"no name at character {at}")
        name, at = scanstring(text, at + 1, True)
        at = _skip(text, at)
        if text[at] != ":":
            raise ValueError(f"no colon at character {at}")
        start = _skip(text, at + 1)
        if name in members:
            raise ValueError(f"the member {name[:50]!r} twice")
        members[name], at = _DECODER.scan_once(text, start)  # type: ignore[attr-defined]
        spans[name] = (start, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
            if text[at] == "}":
                raise ValueError("a comma before the closing brace")
        elif text[at] != "}":
            raise ValueError(f"no comma at character {at}")
    if _skip(text, at + 1) != len(text):
        raise ValueError(f"more after its end at character {at + 1}")
    return members, spans


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


_DECODER = JSONDecoder(parse_constant=_no_constant)


def _brief(error: Exception) -> str:
    if isinstance(error, IndexError | StopIteration):
        return "one that ends too early or holds something that is no JSON"
    return str(error)[:200]
