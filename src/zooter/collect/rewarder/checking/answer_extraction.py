"""The answer inside a response: after a marker where there is one, else where answers usually stand."""

import re
import string

from zooter.collect.rewarder.checking.numbers import Number, numbers, tidy
from zooter.data.split import normalise

PICKS = ("last", "answer")

MOST_BOXES = 10  # looked at from the end; a model caught in a loop opens thousands

_HASHES = re.compile(r"####[ \t]*(.*)")
_SAID = re.compile(
    r"(?:answer|correct\s+(?:option|choice))\b[ \t]*(?:\([a-z ]*\)[ \t]*)?(?:is|was|=|:)[ \t]*(?::[ \t]*)?(.+)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n+")
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K's annotations: they repeat what the text says


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}` holds, braces balanced; None where there is none."""
    starts = [found.end() for found in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts[-MOST_BOXES:]):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[start:end]
    return None


def marked(text: str) -> str | None:
    """What a response itself marks as its answer: a box, the line after `####`, or the words "the answer is".

    The last marker of the first kind that is there wins; None where there is no marker with anything behind it.
    """
    inside = boxed(text)
    if inside is not None and inside.strip():
        return inside
    for marker in (_HASHES, _SAID):
        behind = [found.strip() for found in marker.findall(text) if found.strip(" .*_$")]
        if behind:
            return behind[-1].strip("*_ ")
    return None


def number(text: str, query: str = "", pick: str = "answer") -> Number | None:
    """The number that a response gives as its answer; None where it has none.

    Args:
        pick: "last" takes the last number of the response whatever stands around it, the convention of published
            figures. "answer" takes the first number that the response marks as its answer; without a mark it looks
            into the last sentence with a number, behind its last "=", or else for the last number that the query
            does not contain: answers like to repeat the question ("She pays $64 for the 16 glasses.").
    """
    text = tidy(_CALCULATOR.sub("", text))
    if pick == "last":
        return next(reversed(list(numbers(text))), None)
    behind = marked(text)
    if behind is not None:
        found = list(numbers(behind.rpartition("=")[2])) or list(numbers(behind))
        if found:
            return found[0]
    for sentence in reversed(_SENTENCE_END.split(text)):
        in_sentence = _of_sentence(sentence, query)
        if in_sentence is not None:
            return in_sentence
    return None


def _of_sentence(sentence: str, query: str) -> Number | None:
    head, equals, tail = sentence.rpartition("=")
    results = list(numbers(tail)) if equals else []
    if results:
        return results[0]
    found = list(numbers(head or tail))
    asked = {value.value for value in numbers(tidy(query))}
    fresh = [value for value in found if value.value not in asked]
    return next(reversed(fresh or found), None)


def letter(text: str, letters: str) -> str | None:
    """The option letter that a response chooses, among `letters` (capitals); None where it chooses none or two.

    In this order: a marked answer that starts with a letter; a response that is a letter, with or without
    brackets, full stop and the option's words; the only letter in brackets or alone on a line.
    """
    option = rf"[(\[]?([{letters}])(?:[)\].:,]|\s*$|\s+[-–:]|\s)"
    strict = rf"[*_\s(\[]*([{letters}])\s*(?:[)\].:]|$)"
    for part, pattern in ((marked(text), option), (text, strict)):
        found = re.match(pattern, part.strip().lstrip("*_ ").replace("\\text{", ""), re.MULTILINE) if part else None
        if found:
            return found[1]
    alone = re.findall(rf"\(([{letters}])\)|^[*_ \t]*([{letters}])[).]?[*_ \t]*$", text, re.MULTILINE)
    chosen = {first or second for first, second in alone}
    return chosen.pop() if len(chosen) == 1 else None


def plain(text: str) -> str:
    """The text without differences in Unicode form, case, blanks, and punctuation around it."""
    return normalise(text).strip(string.punctuation.replace("%", "") + " “”‘’…")
