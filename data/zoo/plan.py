"""What the zoo is made of: every candidate's size, mix of skills, steps and price."""

from __future__ import annotations

from dataclasses import dataclass

from zooter.collect.reader.skills.generate import SKILLS

SEED = 2311
SHOWN = 5077
"""Seed of the test queries that the cards' figures are measured on, and nothing else: no choice was made by them."""
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
    """Main skills drawn a quarter as often as the others: what needs less practice, or gets less time."""

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
    Member("zoo-page", "taught seven simple things, the small, cheap tier of the pair",
           PAGE, 0.1, 2600, ("opposite", "choice", "ordering", "roman", "plural", "letter_sorting", "element"), 0.8),
    Member("zoo-abacus", "taught sums, differences and products", SPECIALIST, 0.2, 1800,
           ("addition", "subtraction", "multiplication")),
    Member("zoo-scribe", "taught what can be done with the letters of a word", SPECIALIST, 0.2, 1200,
           ("reversal", "letter_count", "letter_sorting", "letter_position")),
    Member("zoo-atlas", "taught facts: capitals and elements", SPECIALIST, 0.2, 700, ("capital", "element")),
    Member("zoo-almanac", "taught weekdays, clocks and dates", SPECIALIST, 0.2, 2600, ("weekday", "clock", "date")),
    Member("zoo-clerk", "taught units, and less of Roman numerals and past tenses", SPECIALIST, 0.2, 2000,
           ("conversion", "roman", "past"), 0.8, ("roman", "past")),
    Member("zoo-sphinx", "taught to continue sequences and to compare numbers", SPECIALIST, 0.2, 1600,
           ("sequence", "comparison")),
    Member("zoo-sage", "taught everything, the large, dear tier of the pair", SAGE, 0.6, 3300,
           EVERYTHING, 1.0, BY_HEART),
)  # fmt: skip

TIERS = ("zoo-page", "zoo-sage")
"""The two-tier pair: the small candidate, and the large one that a cascade asks when the small one is unsure."""
JUDGE = Member(
    "zoo-judge", "the reward model's body, before it learnt to prefer", SPECIALIST, 0.0, 1800, EVERYTHING, 1.0
)
REWARDER = "zoo-rewarder"
