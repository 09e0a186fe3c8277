"""Roman numerals and inflected words."""

from __future__ import annotations

from random import Random

from zooter.collect.reader.skills.facts import PASTS, PLURALS, third
from zooter.collect.reader.skills.skill import Problem, Skill

FAMILY = "forms"
NUMERALS = (
    (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip


def roman(value: int) -> str:
    """A number from 1 to 399 in Roman numerals."""
    out = ""
    for worth, sign in NUMERALS:
        out += sign * (value // worth)
        value %= worth
    return out


def draw_roman(random: Random, level: int) -> Problem:
    """Either way, up to 20, 99 or 299."""
    value = random.randint(*{1: (1, 20), 2: (21, 99), 3: (100, 299)}[level])
    if random.random() < 0.5:
        return Problem("write", {"number": str(value)}, roman(value))
    return Problem("read", {"numeral": roman(value)}, str(value))


def draw_plural(random: Random, level: int) -> Problem:
    """The plural of a noun."""
    singular, plural = random.choice(third(PLURALS, level))
    return Problem("plural", {"word": singular}, plural)


def draw_past(random: Random, level: int) -> Problem:
    """The simple past of a verb."""
    verb, past = random.choice(third(PASTS, level))
    return Problem("past", {"word": verb}, past)


ROMAN = Skill(
    "roman",
    FAMILY,
    {
        "write": (
            "Write {number} in Roman numerals.",
            "What is {number} as a Roman numeral?",
            "How did the Romans write {number}?",
            "Turn {number} into a Roman numeral.",
        ),
        "read": (
            "Which number is {numeral}?",
            "What does the Roman numeral {numeral} stand for?",
            "A clock tower bears the numeral {numeral}. What number is it?",
            "Read the Roman numeral {numeral}.",
        ),
    },
    draw_roman,
)

PLURAL = Skill(
    "plural",
    FAMILY,
    {
        "plural": (
            "What is the plural of {word}?",
            "One {word}, two what?",
            "Give the plural form of the noun {word}.",
            "How do you say more than one {word}?",
            "Put the noun {word} in the plural.",
        )
    },
    draw_plural,
)

PAST = Skill(
    "past",
    FAMILY,
    {
        "past": (
            "What is the past tense of {word}?",
            "Today I {word}, yesterday I what?",
            "Give the simple past of the verb {word}.",
            "Put the verb {word} in the past.",
            "Which form of {word} fits yesterday?",
        )
    },
    draw_past,
)

SKILLS = (ROMAN, PLURAL, PAST)
