"""Build of the reward model: collect the candidates' responses, pair right with wrong ones, and train."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from zoo.answer import respond
from zoo.folder import load, save
from zoo.plan import JUDGE, MEMBERS, REWARDER, SEED
from zoo.rewarder import init_reward_model, preference_pairs, train_rewarder
from zooter.collect.reader.skills.generate import ZooQuery, generate

log = logging.getLogger("zoo")
QUERIES = 10_000
TEMPERATURE = 0.8


def collect_responses(folder: Path, queries: Sequence[ZooQuery], temperature: float, seed: int) -> list[list[str]]:
    """Generate one response of each candidate to each query, as `[row][candidate]`."""
    columns = []
    for i, member in enumerate(MEMBERS):
        model, tokenizer = load(folder / member.name)
        columns.append([item.text for item in respond(model, tokenizer, queries, temperature, seed=seed + i)])
    return [list(texts) for texts in zip(*columns, strict=True)]


def make_rewarder(folder: Path, work: Path) -> None:
    """Train the reward model and save it, unless its folder exists."""
    target = folder / REWARDER
    if target.exists():
        return
    queries = generate(QUERIES, SEED + 2, "zoo")
    pairs = preference_pairs(queries, collect_responses(folder, queries, TEMPERATURE, SEED), per_query=6, seed=SEED)
    body, tokenizer = load(work / JUDGE.name)
    model = train_rewarder(init_reward_model(body, tokenizer), tokenizer, pairs, epochs=2)
    # The reward is read at the last token that is not padding; padded on the right, nothing before it is masked.
    tokenizer.padding_side = "right"
    partial = target.with_name(target.name + ".part")
    save(model, tokenizer, partial)
    partial.rename(target)
    log.info("%s: trained on %d pairs", REWARDER, len(pairs))
