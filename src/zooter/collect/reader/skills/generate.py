"""Draws queries: seeded, without duplicates, and never the same text in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from zooter.collect.reader.skills import arithmetic, dates, knowledge, letters, reasoning, word_forms
from zooter.collect.reader.skills.skill import LEVELS, Skill
from zooter.collect.reader.skills.verify import normalise, verify

SKILLS: tuple[Skill, ...] = (
    *arithmetic.SKILLS, *letters.SKILLS, *knowledge.SKILLS, *dates.SKILLS, *word_forms.SKILLS, *reasoning.SKILLS
)  # fmt: skip
OPENINGS = ("Please help me. ", "Quick question: ", "Tell me: ", "I would like to know this. ", "Hello! ", "One more: ",
            "For my homework: ", "Can you answer this? ")  # fmt: skip
CLOSINGS = (" Thanks!", " Answer briefly.", " Just the answer, please.", " I am in a hurry.", " Thank you.")
WRAPPED = 0.2
"""Share of queries with an opening, and, independently, with a closing."""

SPLITS = {"zoo": (0, 50), "train": (50, 80), "test": (80, 100)}
"""Split to its range of buckets: ``zoo`` taught the candidates and the reward model, a router sees only the others."""


@dataclass(frozen=True)
class ZooQuery:
    """One query of the embedded zoo, with what is needed to verify a response to it."""

    text: str
    reference: str
    skill: str
    family: str
    level: int

    @property
    def tags(self) -> tuple[str, ...]:
        """What the query asks for, the narrow word first."""
        return (self.skill, self.family)

    def verify(self, response: str) -> bool:
        """Whether a response is right."""
        return verify(response, self.reference)


def bucket(text: str) -> int:
    """The text's bucket, 0 to 99, by hash: where a text belongs depends on nothing but itself."""
    digest = hashlib.sha256(normalise(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def phrase(skill: Skill, random: Random, level: int) -> ZooQuery:
    """One problem of a skill in one of its wordings."""
    problem = skill.draw(random, level)
    text = random.choice(skill.templates[problem.kind]).format_map(problem.slots)
    if random.random() < WRAPPED:
        text = random.choice(OPENINGS) + text
    if random.random() < WRAPPED:
        text += random.choice(CLOSINGS)
    return ZooQuery(text, problem.reference, skill.name, skill.family, level)


def stream(
    seed: int, split: str, skills: Sequence[Skill] = SKILLS, weights: Sequence[float] | None = None
) -> Iterator[ZooQuery]:
    """Endless queries of one split, repeats included. ``weights``: how often each skill is drawn, in any unit."""
    if split not in SPLITS:
        raise ValueError(f"expected a split among {', '.join(SPLITS)}, found {split!r}; name one of them")
    first, end = SPLITS[split]
    random = Random(f"zooter {split} {seed}")
    while True:
        skill = random.choices(skills, weights)[0]
        query = phrase(skill, random, random.choice(LEVELS))
        if first <= bucket(query.text) < end:
            yield query


def generate(count: int, seed: int = 0, split: str = "train") -> list[ZooQuery]:
    """``count`` different queries of one split, every skill equally often up to chance.

    The same ``(count, seed, split)`` gives the same queries everywhere, and a larger count only appends.
    """
    seen: dict[str, ZooQuery] = {}
    for drawn, query in enumerate(stream(seed, split)):
        if len(seen) >= count:
            break
        seen.setdefault(normalise(query.text), query)
        if drawn > 100 * count + 10_000:
            raise ValueError(f"expected {count} different queries, found only {len(seen)}; ask for fewer")
    return list(seen.values())
