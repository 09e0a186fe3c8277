"""What a chat server's answer says: the body of one HTTP reply → the parts of a response."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zooter.data.token_margin import probability_margin
from zooter.errors import ConfigError

WORDS = 300  # characters of a server's own words that a message quotes
FIRST_TOKENS = 10  # that a response keeps, at most


class BadCompletionError(Exception):
    """A reply with status 200 that is not an answer; worth another try."""


@dataclass(frozen=True)
class Completion:
    """The parts of an answer that a server gave; None where it did not say."""

    text: str
    finish_reason: str | None
    margin: float | None
    first_tokens: tuple[tuple[str, float], ...] | None
    input_tokens: int | None
    output_tokens: int | None


def parse(body: bytes, labels: Sequence[str] = ()) -> Completion:
    """The first choice of a chat completion.

    Raises:
        BadReplyError: it is not JSON, or has no choice with a message.
        ConfigError: two labels share their first token, so that the margin between them is not defined.
    """
    try:
        # Not strict: some servers let control characters through as they are.
        found = json.loads(body.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError) as error:
        raise BadCompletionError(f"not JSON: {quote(body.decode('utf-8', 'replace'))}") from error
    try:
        choice = found["choices"][0]
        message = choice["message"]
        text = message["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise BadCompletionError(f"no answer in it: {quote(json.dumps(found))}") from error
    if text is not None and not isinstance(text, str):
        raise BadCompletionError(f"an answer that is no text: {quote(json.dumps(text))}")
    usage = found.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    reason = choice.get("finish_reason")
    first = likeliest_tokens(_first_position(choice), labels)
    return Completion(
        text=clean(text or ""),
        finish_reason=reason if isinstance(reason, str) else None,
        margin=margin_of(first, labels),
        first_tokens=first or None,
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def clean(text: str) -> str:
    """Text that can be written as UTF-8: half characters, which JSON can hold, become �."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def quote(words: str) -> str:
    """The beginning of a server's words, on one line."""
    line = " ".join(words.split())
    return line if len(line) <= WORDS else line[:WORDS] + "…"


def likeliest_tokens(
    told: Iterable[tuple[str, float]], labels: Sequence[str] = (), most: int = FIRST_TOKENS
) -> tuple[tuple[str, float], ...]:
    """The likeliest `most` of the first tokens that a server told, likeliest first; or the labels that they begin.

    Args:
        told: first tokens and their natural-log probabilities, in any order.
        labels: a label's probability is the sum over all tokens told that it begins with; one that begins with none
            of them is left out.

    Raises:
        ConfigError: two labels share their first token.
    """
    found = [(token, min(logprob, 0.0)) for token, logprob in told if math.isfinite(logprob)]
    if labels:
        sums: dict[str, float] = {}
        for token, logprob in found:
            meant = [label for label in labels if token.strip() and label.strip().startswith(token.strip())]
            if len(meant) > 1:
                raise shared_first_token(meant[0], meant[1], token)
            for label in meant:
                sums[label] = sums.get(label, 0.0) + math.exp(logprob)
        found = [(label, math.log(prob)) for label, prob in sums.items() if prob > 0]
    return tuple(sorted(found, key=lambda one: -one[1])[: None if labels else most])


def margin_of(first_tokens: Sequence[tuple[str, float]], labels: Sequence[str] = ()) -> float | None:
    """The likeliest token's probability minus the second's; None when that is not told.

    A label that is not among them has probability 0, for the server tells the likeliest; of tokens two are needed.
    """
    return probability_margin(first_tokens) if labels or len(first_tokens) > 1 else None


def shared_first_token(one: str, other: str, token: str) -> ConfigError:
    """The margin between two such labels would always be 0."""
    return ConfigError(
        expected="labels that differ in their first token",
        found=f"{one!r} and {other!r}, which share {token!r}",
        do="choose other labels, such as letters",
    )


def _first_position(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    try:
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        return [(clean(str(item["token"])), float(item["logprob"])) for item in listed]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
