"""Measurement of every model of the zoo on held-out queries, for the cards and the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import AutoModelForSequenceClassification

from zoo.answer import respond
from zoo.folder import load
from zoo.measure import accuracy_by_skill, agreement, auc, cascade, point_biserial, verify_responses
from zoo.plan import MEMBERS, REPORT_SEED, REWARDER, TIERS, Member
from zoo.rewarder import compute_rewards, format_dialogue, pairwise_accuracy, preference_pairs
from zooter.collect.reader.skills.generate import ZooQuery, generate

TEMPERATURES = (0.4, 0.8, 1.2)
SAMPLES = 5
SAMPLING_TEMPERATURE = 0.8


def measure_candidate(member: Member, folder: Path, queries: Sequence[ZooQuery]) -> tuple[dict, list[str], np.ndarray]:
    """Measure one candidate.

    Returns:
        Its figures, its greedy responses to the n queries, and their (n,) first-token margins.
    """
    model, tokenizer = load(folder / member.name)
    greedy = respond(model, tokenizer, queries)
    texts = [item.text for item in greedy]
    truth = verify_responses(queries, texts)
    margins = np.array([item.margin for item in greedy])
    samples = [
        [item.text for item in respond(model, tokenizer, queries, SAMPLING_TEMPERATURE, seed=seed)]
        for seed in range(SAMPLES)
    ]
    agreements = agreement(samples)
    sampled_accuracy = {SAMPLING_TEMPERATURE: verify_responses(queries, samples[0]).mean()}
    for temperature in TEMPERATURES:
        if temperature not in sampled_accuracy:
            sampled_texts = [item.text for item in respond(model, tokenizer, queries, temperature)]
            sampled_accuracy[temperature] = verify_responses(queries, sampled_texts).mean()
    return (
        {
            "parameters": model.num_parameters(),
            "accuracy": float(truth.mean()),
            "skills": accuracy_by_skill(queries, truth),
            "levels": [float(truth[[query.level == level for query in queries]].mean()) for level in (1, 2, 3)],
            "temperature": {
                "0": float(truth.mean()),
                **{f"{key:g}": float(sampled_accuracy[key]) for key in TEMPERATURES},
            },
            "margin": {"auc": auc(margins, truth), "correlation": point_biserial(margins, truth)},
            "agreement": {"auc": auc(agreements, truth), "correlation": point_biserial(agreements, truth)},
            "output_tokens": float(np.mean([item.tokens for item in greedy])),
        },
        texts,
        margins,
    )


def measure(folder: Path, count: int = 1000) -> dict:
    """Measure every model on `count` test queries of `REPORT_SEED`."""
    queries = generate(count, REPORT_SEED, "test")
    figures, columns, margins = {}, [], {}
    for member in MEMBERS:
        figures[member.name], texts, margins[member.name] = measure_candidate(member, folder, queries)
        columns.append(texts)
    truth = np.array([verify_responses(queries, texts) for texts in columns]).T
    rewarder, tokenizer = load(folder / REWARDER, AutoModelForSequenceClassification)
    rows = [list(texts) for texts in zip(*columns, strict=True)]
    pairs = preference_pairs(queries, rows, per_query=8, seed=REPORT_SEED)
    dialogues = [
        format_dialogue(tokenizer, query.text, text)
        for query, texts in zip(queries, rows, strict=True)
        for text in texts
    ]
    rewards = np.array(compute_rewards(rewarder, tokenizer, dialogues)).reshape(truth.shape)
    small, large = (truth[:, [member.name for member in MEMBERS].index(name)] for name in TIERS)
    top_ranked = truth[np.arange(len(queries)), rewards.argmax(1)]
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
            "ranking_accuracy": float(top_ranked.mean()),
        },
    }
