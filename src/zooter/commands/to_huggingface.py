"""Give an export its Hugging Face form: a student in a standard architecture, and what its choices cost."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zooter.commands import config
from zooter.data import reward_table
from zooter.data.component import PathField, component
from zooter.data.split import Split
from zooter.data.types import Floats, Rewards
from zooter.errors import ExportError, RecordsError
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.routing import best_candidates, gap_closed
from zooter.router import hf_student, manifest, onnx_export
from zooter.router.encoder import Encoder
from zooter.router.hf_student import Student
from zooter.router.torch_router import TorchRouter


@component
class ToHuggingFaceSettings:
    """Which export gets a student, and what the student learns from.

    Attributes:
        export: a trained router's folder; it is changed, whole or not at all.
        records: a recorded table of the same candidates, best the one that the router was trained on.
        cache_dir: embeddings, shared by all runs.
        student: how the student learns.
        split: that of training; test queries only measure.
    """

    export: PathField
    records: PathField
    cache_dir: PathField
    student: Student = field(default_factory=Student)
    split: Split = field(default_factory=Split)


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Train a student with settings from conf/to_huggingface.yaml, and print how it compares.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.
    """
    sys.stdout.write(json.dumps(run(config.build(values)), indent=2) + "\n")


def run(settings: ToHuggingFaceSettings) -> dict[str, Any]:
    """Train the student and write it into the export.

    Args:
        settings: the export, the recorded table of its training, and the student.

    Returns:
        How it compares with the router on test queries; see `compare`.

    Raises:
        ExportError: the export is incomplete, or its encoder is not a BERT.
        RecordsError: the table cannot be used, or lacks a candidate of the router.
    """
    router = TorchRouter.from_export(settings.export, "cpu")
    encoder = router.encoder
    if not isinstance(encoder, Encoder):
        raise ExportError(
            expected=f"a BERT encoder in {settings.export}", found="n-grams", do="serve the ONNX form instead"
        )
    names, table = router.pool.names, reward_table.read(settings.records)
    missing = sorted(set(names) - set(table.pool.names))
    if missing:
        raise RecordsError(
            expected=f"the router's candidates in {settings.records}", found=f"no {missing}", do="give their table"
        )
    part = settings.split.parts(table.queries)[0]
    probs = router.route_embedded(table.queries, encoder.embed(table.queries, settings.cache_dir))[0].probs
    rows = np.concatenate([part.train, part.val])
    val = np.arange(len(part.train), len(rows))
    encoder = replace(encoder, prefix="")  # the pipelines that load a student put nothing before a text
    model = settings.student.fit(encoder, [table.queries[i] for i in rows], probs[rows], names, val)
    student_probs = hf_student.predict_proba(model, encoder, [table.queries[i] for i in part.test])
    rewards = Rewards(table.rewards.values[:, [table.pool.names.index(name) for name in names]], names)
    comparison = compare(probs[part.test], student_probs, rewards.take(part.train), rewards.take(part.test))
    onnx_export.update_export(settings.export, lambda draft, facts: _add(draft, facts, model, encoder, comparison))
    return comparison


def compare(router: Floats, student: Floats, training_rewards: Rewards, rewards: Rewards) -> dict[str, float]:
    """Compare a student's choices with the router's.

    Args:
        router: (n, m) probabilities.
        student: (n, m) probabilities.
        training_rewards: rewards of training queries, which name the best single model.
        rewards: (n, m) of the same queries as the probabilities.

    Returns:
        Share of equal choices, and mean reward and share of the gap closed of both.
    """
    order = rank_by_mean_reward(training_rewards)
    rows = rewards.observed.any(axis=1)
    values, observed = rewards.values[rows], rewards.observed[rows]
    single = np.zeros_like(values)
    single[:, order[0]] = 1.0

    def chosen_rewards(preference: Floats) -> Floats:
        """Return the reward of each query's most preferred candidate among the observed ones.

        Args:
            preference: (n, m), larger is better.
        """
        return values[np.arange(len(values)), best_candidates(preference, observed, order)]

    means = {
        "router": chosen_rewards(router[rows]),
        "student": chosen_rewards(student[rows]),
        "single": chosen_rewards(single),
    }
    oracle = np.nanmax(values, axis=1).mean()
    mean_rewards = {name: float(values_.mean()) for name, values_ in means.items()}
    closed = {
        name: float(gap_closed(*map(np.asarray, (mean_rewards[name], mean_rewards["single"], oracle))))
        for name in mean_rewards
    }
    return {
        "queries": len(router),
        "same_choice": float((router.argmax(axis=1) == student.argmax(axis=1)).mean()),
        **{f"{name}_reward": mean_rewards[name] for name in ("router", "student")},
        **{f"{name}_gap_closed": closed[name] for name in ("router", "student")},
    }


def _add(draft: Path, facts: dict[str, Any], model: Any, encoder: Encoder, comparison: dict[str, float]) -> None:
    shutil.rmtree(draft / manifest.HUGGINGFACE, ignore_errors=True)
    hf_student.write(draft / manifest.HUGGINGFACE, model, encoder)
    (draft / manifest.HUGGINGFACE / "README.md").write_text(card(comparison), encoding="utf-8")
    facts["huggingface"] = comparison


def card(comparison: dict[str, float]) -> str:
    """Write the README of the Hugging Face form, as Markdown."""
    return f"""# A router's choices in a standard architecture

```python
from transformers import pipeline

pipeline("text-classification", model="this folder", top_k=None)("a query", truncation=True)
```

Labels are the candidates; the likeliest is the choice. This is not the router itself, whose features no standard
architecture has, but a student distilled from its probabilities. On {comparison["queries"]:,} queries that neither was
trained on it chooses as the router in {comparison["same_choice"]:.1%}; mean reward
{comparison["student_reward"]:.3f} against the router's {comparison["router_reward"]:.3f}, share of the gap
between the best single model and the oracle closed
{comparison["student_gap_closed"]:.1%} against {comparison["router_gap_closed"]:.1%}.
"""
