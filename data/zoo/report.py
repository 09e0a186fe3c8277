"""Runs every model of the zoo on held-out queries and gathers what the cards and the README state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import AutoModelForSequenceClassification

from zoo.answer import answer
from zoo.folder import load
from zoo.measure import agreement, auc, by_skill, cascade, point_biserial, right
from zoo.plan import MEMBERS, REWARDER, SHOWN, TIERS, Member
from zoo.rewarder import dialogue, pairwise_accuracy, preference_pairs, rewards_of
from zooter.collect.reader.skills.generate import ZooQuery, generate

TEMPERATURES = (0.4, 0.8, 1.2)
SAMPLES = 5
SAMPLED_AT = 0.8


def measure_candidate(member: Member, folder: Path, queries: Sequence[ZooQuery]) -> tuple[dict, list[str], np.ndarray]:
    """One candidate's figures, its greedy responses, and their first-token margins."""
    model, tokenizer = load(folder / member.name)
    greedy = answer(model, tokenizer, queries)
    texts = [item.text for item in greedy]
    truth = right(queries, texts)
    margins = np.array([item.margin for item in greedy])
    samples = [
        [item.text for item in answer(model, tokenizer, queries, SAMPLED_AT, seed=seed)] for seed in range(SAMPLES)
    ]
    agreed = agreement(samples)
    sampled = {SAMPLED_AT: right(queries, samples[0]).mean()}
    for temperature in TEMPERATURES:
        if temperature not in sampled:
            texts_there = [item.text for item in answer(model, tokenizer, queries, temperature)]
            sampled[temperature] = right(queries, texts_there).mean()
    return (
        {
            "parameters": model.num_parameters(),
            "accuracy": float(truth.mean()),
            "skills": by_skill(queries, truth),
            "levels": [float(truth[[query.level == level for query in queries]].mean()) for level in (1, 2, 3)],
            "temperature": {"0": float(truth.mean()), **{f"{key:g}": float(sampled[key]) for key in TEMPERATURES}},
            "margin": {"auc": auc(margins, truth), "correlation": point_biserial(margins, truth)},
            "agreement": {"auc": auc(agreed, truth), "correlation": point_biserial(agreed, truth)},
            "output_tokens": float(np.mean([item.tokens for item in greedy])),
        },
        texts,
        margins,
    )


def measure(folder: Path, count: int = 1000) -> dict:
    """All figures, on ``count`` test queries of a seed kept for that."""
    queries = generate(count, SHOWN, "test")
    figures, columns, margins = {}, [], {}
    for member in MEMBERS:
        figures[member.name], texts, margins[member.name] = measure_candidate(member, folder, queries)
        columns.append(texts)
    truth = np.array([right(queries, texts) for texts in columns]).T
    rewarder, tokenizer = load(folder / REWARDER, AutoModelForSequenceClassification)
    rows = [list(texts) for texts in zip(*columns, strict=True)]
    pairs = preference_pairs(queries, rows, per_query=8, seed=SHOWN)
    read = [dialogue(tokenizer, query.text, text) for query, texts in zip(queries, rows, strict=True) for text in texts]
    rewards = np.array(rewards_of(rewarder, tokenizer, read)).reshape(truth.shape)
    small, large = (truth[:, [member.name for member in MEMBERS].index(name)] for name in TIERS)
    ranked = truth[np.arange(len(queries)), rewards.argmax(1)]
    return {
        "queries": count,
        "candidates": figures,
        "oracle": float(truth.max(1).mean()),
        "cascade": cascade(small, large, margins[TIERS[0]]),
        "rewarder": {
            "parameters": rewarder.num_parameters(),
            "pairs": len(pairs),
            "pairwise_accuracy": pairwise_accuracy(rewarder, tokenizer, pairs),
            "auc": auc(rewards.ravel(), truth.ravel()),
            "ranking_accuracy": float(ranked.mean()),
        },
    }
