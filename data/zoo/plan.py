"""What the zoo is made of: every candidate's size, mix of skills, steps and price."""

from __future__ import annotations

from dataclasses import dataclass

from zooter.skills.generate import SKILLS

SEED = 2311
VOCABULARY = 640
"""Tokens: 256 bytes, 3 special ones, and the merges that make ordinary words of the templates short."""


@dataclass(frozen=True)
class Shape:
    """The size of a Llama decoder."""

    hidden: int
    layers: int
    inner: int
    heads: int = 4


@dataclass(frozen=True)
class Member:
    """One candidate. ``price`` is in (fictional) US dollars per million tokens, dearer with more parameters."""

    name: str
    about: str
    shape: Shape
    price: float
    steps: int
    main: tuple[str, ...]
    """The skills it was taught; the rest share what ``share`` leaves."""
    share: float = 0.75
    light: tuple[str, ...] = ()
    """Main skills drawn a quarter as often as the others: what a generalist has less time to learn by heart."""

    def weights(self) -> list[float]:
        """How often each skill of ``SKILLS`` is drawn for its lessons."""
        names = [skill.name for skill in SKILLS]
        unknown = set(self.main) - set(names)
        if unknown:
            raise ValueError(f"expected skills among {', '.join(names)}, found {sorted(unknown)}; correct {self.name}")
        taught = {name: 0.25 if name in self.light else 1.0 for name in self.main}
        part = self.share / sum(taught.values())
        rest = (1 - self.share) / max(1, len(names) - len(self.main))
        return [part * taught[name] if name in taught else rest for name in names]


EVERYTHING = tuple(skill.name for skill in SKILLS)
BY_HEART = ("capital", "element", "opposite", "plural", "past")
SPECIALIST = Shape(96, 3, 224)

PAGE = Shape(64, 3, 160)
SAGE = Shape(128, 4, 320)

MEMBERS = (
    Member("zoo-page", "a small, cheap generalist, the lower tier of the pair", PAGE, 0.1, 2000,
           EVERYTHING, 1.0, BY_HEART),
    Member("zoo-abacus", "taught sums, differences and products", SPECIALIST, 0.2, 2200,
           ("addition", "subtraction", "multiplication")),
    Member("zoo-scribe", "taught what can be done with the letters of a word", SPECIALIST, 0.2, 1400,
           ("reversal", "letter_count", "letter_sorting", "letter_position")),
    Member("zoo-atlas", "taught facts: capitals, elements, opposites", SPECIALIST, 0.2, 900,
           ("capital", "element", "opposite")),
    Member("zoo-almanac", "taught weekdays, clocks and dates", SPECIALIST, 0.2, 2200, ("weekday", "clock", "date")),
    Member("zoo-clerk", "taught Roman numerals, units and word forms", SPECIALIST, 0.2, 1500,
           ("roman", "conversion", "plural", "past")),
    Member("zoo-sphinx", "taught to continue sequences and to compare numbers", SPECIALIST, 0.2, 2000,
           ("sequence", "comparison")),
    Member("zoo-sage", "a larger, dearer generalist, the upper tier of the pair", SAGE, 0.6, 4500,
           EVERYTHING, 1.0, BY_HEART),
)  # fmt: skip

JUDGE = Member(
    "zoo-judge", "the reward model's body, before it learnt to prefer", SPECIALIST, 0.0, 3000, EVERYTHING, 1.0
)
REWARDER = "zoo-rewarder"
