"""Plan of the zoo: each candidate's size, mix of skills, steps and price."""

from __future__ import annotations

from dataclasses import dataclass

from zooter.collect.reader.skills.generate import SKILLS

SEED = 2311
REPORT_SEED = 5077
"""Seed of the test queries for the cards' figures; no choice was made by them."""
VOCABULARY = 640
"""Number of tokens: 256 bytes, 3 special tokens, and merges."""


@dataclass(frozen=True)
class Shape:
    """Size of a Llama decoder.

    Attributes:
        hidden: hidden size.
        layers: number of layers.
        inner: inner size of the feed-forward layers.
        heads: attention heads.
    """

    hidden: int
    layers: int
    inner: int
    heads: int = 4


@dataclass(frozen=True)
class Member:
    """A candidate of the zoo.

    Attributes:
        name: of the candidate and its folder.
        about: description in its card.
        shape: its size.
        price: fictional, in US dollars per million tokens; higher with more parameters.
        steps: of training.
        main: the skills that it is trained on; the others share what `share` leaves.
        share: of the training queries that are of the main skills, 0 to 1.
        light: main skills drawn a quarter as often as the others.
    """

    name: str
    about: str
    shape: Shape
    price: float
    steps: int
    main: tuple[str, ...]
    share: float = 0.75
    light: tuple[str, ...] = ()

    def weights(self) -> list[float]:
        """Return the frequency of each skill of `SKILLS` in the training queries.

        Raises:
            ValueError: a main skill does not exist.
        """
        names = [skill.name for skill in SKILLS]
        unknown = set(self.main) - set(names)
        if unknown:
            raise ValueError(f"expected skills among {', '.join(names)}, found {sorted(unknown)}; correct {self.name}")
        relative = {name: 0.25 if name in self.light else 1.0 for name in self.main}
        unit = self.share / sum(relative.values())
        rest = (1 - self.share) / max(1, len(names) - len(self.main))
        return [unit * relative[name] if name in relative else rest for name in names]


ALL_SKILLS = tuple(skill.name for skill in SKILLS)
MEMORISED_SKILLS = ("capital", "element", "opposite", "plural", "past")
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
           ALL_SKILLS, 1.0, MEMORISED_SKILLS),
)  # fmt: skip

TIERS = ("zoo-page", "zoo-sage")
"""The two-tier pair: the small candidate, and the large one to which a cascade escalates."""
JUDGE = Member(
    "zoo-judge", "the reward model's body, before it learnt to prefer", SPECIALIST, 0.0, 1800, ALL_SKILLS, 1.0
)
REWARDER = "zoo-rewarder"
