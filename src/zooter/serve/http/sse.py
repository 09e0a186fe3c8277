"""Server-sent events and replies in OpenAI's form: where one ends, what they tell about tokens, and our own error."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

LARGEST = 2**20  # bytes of one event
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def boundary(data: bytes) -> int:
    """Where the last whole event in `data` ends; 0 when none does."""
    return max(data.rfind(end) + len(end) if end in data else 0 for end in _ENDS)


def error(message: str, code: str) -> bytes:
    """An event that says that a stream has broken off, as OpenAI's clients expect it."""
    told = {"message": message, "type": "server_error", "param": None, "code": code}
    return f"data: {json.dumps({'error': told})}\n\n".encode()


def as_object(body: bytes) -> dict[str, Any] | None:
    """A body's JSON object; None when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def objects(data: bytes) -> Iterable[dict[str, Any]]:
    """The JSON objects of the events in `data`; whatever is none is left out."""
    for line in data.splitlines():
        if line.startswith(b"data:") and (found := as_object(line[5:])) is not None:
            yield found


def tokens(told: dict[str, Any]) -> tuple[int, int] | None:
    """Input and output tokens, where a reply or an event tells them."""
    usage = told.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not all(type(count) is int and 0 <= count < 2**40 for count in counts):
        return None
    return counts[0], counts[1]  # type: ignore[return-value]


def seconds(header: str | None) -> float | None:
    """What a Retry-After header asks for, where it gives seconds."""
    try:
        found = float(header or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None


@dataclass
class ResponseObserver:
    """What went by of an answer: its tokens, and its text where that is kept.

    Attributes:
        keep: whether to keep the text.
        tokens: input and output; None until they are told.
        broken: whether it broke off.
    """

    keep: bool
    tokens: tuple[int, int] | None = None
    broken: bool = False
    _choices: list[dict[str, Any]] = field(default_factory=list)

    def whole(self, told: dict[str, Any]) -> None:
        """A whole reply."""
        self.tokens = tokens(told)
        self._add(told)

    def piece(self, data: bytes) -> None:
        """Some events of a stream; read only for what is wanted of them."""
        if not (self.keep or b'"usage"' in data):
            return
        for told in objects(data):
            self.tokens = tokens(told) or self.tokens
            self._add(told)

    def text(self) -> str | None:
        """The text of the first choice, its pieces joined; None where it has none or is not kept."""
        parts = [choice.get("message") or choice.get("delta") for choice in self._choices]
        texts = [part.get("content") for part in parts if isinstance(part, dict)]
        found = [text for text in texts if isinstance(text, str)]
        return "".join(found).encode("utf-8", "replace").decode() if found else None

    def finish_reason(self) -> str | None:
        """Why the first choice ended, where that is told."""
        told = (choice.get("finish_reason") for choice in reversed(self._choices))
        return next((reason for reason in told if isinstance(reason, str)), None)

    def _add(self, told: dict[str, Any]) -> None:
        choices = told.get("choices")
        if self.keep and isinstance(choices, list):
            self._choices += [c for c in choices if isinstance(c, dict) and c.get("index", 0) == 0]
