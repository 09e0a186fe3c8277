"""What a skill is: a way to draw a problem, and the wordings it can be asked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

LEVELS = (1, 2, 3)
"""Difficulty inside a skill: more digits, longer words, rarer facts."""


@dataclass(frozen=True)
class Problem:
    """One drawn problem, not yet worded: which wordings fit it, what fills their slots, and the answer."""

    kind: str
    slots: Mapping[str, str]
    reference: str


@dataclass(frozen=True)
class Skill:
    """A named ability. ``draw(random, level)`` gives a problem; ``templates[problem.kind]`` are its wordings."""

    name: str
    family: str
    templates: Mapping[str, tuple[str, ...]]
    draw: Callable[[Random, int], Problem] = field(repr=False)
