"""Makes the reward model: gathers the candidates' responses, pairs right with wrong ones, teaches it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from zoo.answer import answer
from zoo.folder import load, save
from zoo.plan import JUDGE, MEMBERS, REWARDER, SEED
from zoo.rewarder import preference_pairs, start_from, teach_rewarder
from zooter.collect.reader.skills.generate import ZooQuery, generate

log = logging.getLogger("zoo")
QUERIES = 10_000
TEMPERATURE = 0.8


def gather(folder: Path, queries: Sequence[ZooQuery], temperature: float, seed: int) -> list[list[str]]:
    """One response of every candidate to every query: ``[row][candidate]``."""
    columns = []
    for place, member in enumerate(MEMBERS):
        model, tokenizer = load(folder / member.name)
        columns.append([item.text for item in answer(model, tokenizer, queries, temperature, seed=seed + place)])
    return [list(texts) for texts in zip(*columns, strict=True)]


def make_rewarder(folder: Path, work: Path) -> None:
    """Teaches the reward model and saves it, unless it is there."""
    target = folder / REWARDER
    if target.exists():
        return
    taught = generate(QUERIES, SEED + 2, "zoo")
    pairs = preference_pairs(taught, gather(folder, taught, TEMPERATURE, SEED), per_query=6, seed=SEED)
    body, tokenizer = load(work / JUDGE.name)
    model = teach_rewarder(start_from(body, tokenizer), tokenizer, pairs, epochs=2)
    # Right padding: a reward is read at the last token that is not padding, and no mask is then needed before it.
    tokenizer.padding_side = "right"
    part = target.with_name(target.name + ".part")
    save(model, tokenizer, part)
    part.rename(target)
    log.info("%s: taught on %d pairs", REWARDER, len(pairs))
