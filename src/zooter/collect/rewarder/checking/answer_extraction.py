"""Extraction of the answer from a response: after a marker if there is one, else by position."""

import re
import string

from zooter.collect.rewarder.checking.numbers import Number, find_numbers, normalise_notation
from zooter.data.split import normalise_text

PICKS = ("last", "answer")

MAX_BOXES = 10  # tried from the end; a model caught in a loop opens thousands

_HASH_MARKER = re.compile(r"####[ \t]*(.*)")
_ANSWER_PHRASE = re.compile(
    r"(?:answer|correct\s+(?:option|choice))\b[ \t]*(?:\([a-z ]*\)[ \t]*)?(?:is|was|=|:)[ \t]*(?::[ \t]*)?(.+)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n+")
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K's annotations, which repeat the text's numbers


def extract_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{…}` whose braces balance; None without one."""
    starts = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts[-MAX_BOXES:]):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[start:end]
    return None


def extract_marked(text: str) -> str | None:
    r"""Return the answer that a response marks itself; None without a marker that is followed by text.

    Markers, the first kind present being used and its last occurrence: `\boxed{…}`, the line after `####`, and the
    phrase "the answer is".
    """
    boxed = extract_boxed(text)
    if boxed is not None and boxed.strip():
        return boxed
    for marker in (_HASH_MARKER, _ANSWER_PHRASE):
        answers = [answer.strip() for answer in marker.findall(text) if answer.strip(" .*_$")]
        if answers:
            return answers[-1].strip("*_ ")
    return None


def extract_number(text: str, query: str = "", pick: str = "answer") -> Number | None:
    """Return the number that a response gives as its answer; None without one.

    Args:
        text: the response.
        query: the query's text, whose numbers are avoided: responses tend to repeat them ("She pays $64 for the 16
            glasses.").
        pick: "last" takes the last number of the response, as most published evaluations do. "answer" takes the first
            number of a marked answer; without a marker it takes, from the last sentence with a number, the first
            number after the last "=", or else the last number that is not in the query.
    """
    text = normalise_notation(_CALCULATOR.sub("", text))
    if pick == "last":
        return next(reversed(list(find_numbers(text))), None)
    marked = extract_marked(text)
    if marked is not None:
        numbers = list(find_numbers(marked.rpartition("=")[2])) or list(find_numbers(marked))
        if numbers:
            return numbers[0]
    for sentence in reversed(_SENTENCE_END.split(text)):
        number = _number_in_sentence(sentence, query)
        if number is not None:
            return number
    return None


def _number_in_sentence(sentence: str, query: str) -> Number | None:
    head, equals, tail = sentence.rpartition("=")
    results = list(find_numbers(tail)) if equals else []
    if results:
        return results[0]
    numbers = list(find_numbers(head or tail))
    query_values = {number.value for number in find_numbers(normalise_notation(query))}
    new_numbers = [number for number in numbers if number.value not in query_values]
    return next(reversed(new_numbers or numbers), None)


def extract_letter(text: str, letters: str) -> str | None:
    """Return the option letter that a response chooses; None if it chooses none or several.

    Tried in this order: a marked answer that starts with a letter; a response that starts with a letter, with or
    without brackets and full stop; the only letter in brackets or alone on a line.

    Args:
        text: the response.
        letters: the allowed letters, as capitals.
    """
    option = rf"[(\[]?([{letters}])(?:[)\].:,]|\s*$|\s+[-–:]|\s)"
    strict = rf"[*_\s(\[]*([{letters}])\s*(?:[)\].:]|$)"
    for part, pattern in ((extract_marked(text), option), (text, strict)):
        match = re.match(pattern, part.strip().lstrip("*_ ").replace("\\text{", ""), re.MULTILINE) if part else None
        if match:
            return match[1]
    alone = re.findall(rf"\(([{letters}])\)|^[*_ \t]*([{letters}])[).]?[*_ \t]*$", text, re.MULTILINE)
    chosen = {bracketed or bare for bracketed, bare in alone}
    return chosen.pop() if len(chosen) == 1 else None


def normalise_answer(text: str) -> str:
    """Remove differences of Unicode form, case, blanks and outer punctuation from a text."""
    return normalise_text(text).strip(string.punctuation.replace("%", "") + " “”‘’…")
