"""Give an export its Hugging Face form: a student in a standard architecture, and what its choices cost."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zooter.data import reward_table
from zooter.data.split import Split
from zooter.data.types import Floats, Rewards
from zooter.errors import RecordsError
from zooter.metrics.routing import choose, gap_closed
from zooter.router import hf_student, manifest, onnx_export
from zooter.router.encoder import Encoder
from zooter.router.hf_student import Student
from zooter.router.torch_router import TorchRouter


@dataclass(frozen=True)
class ToHuggingFaceSettings:
    """What is imitated, on what.

    Attributes:
        export: a trained router's folder; it is changed, whole or not at all.
        records: a recorded table of the same candidates, best the one that the router was trained on.
        cache_dir: embeddings, shared by all runs.
        split: that of training; test queries only measure.
    """

    export: Path
    records: Path
    cache_dir: Path
    student: Student = field(default_factory=Student)
    split: Split = field(default_factory=Split)


def run(settings: ToHuggingFaceSettings) -> dict[str, Any]:
    """Train the student, write it into the export, and say how it compares with the router.

    Raises:
        ExportError: the export is incomplete, or its encoder is not a BERT.
        RecordsError: the table cannot be used, or lacks a candidate of the router.
    """
    router = TorchRouter.load(settings.export, "cpu")
    names, table = router.pool.names, reward_table.read(settings.records)
    lacking = sorted(set(names) - set(table.pool.names))
    if lacking:
        raise RecordsError(
            expected=f"the router's candidates in {settings.records}", found=f"no {lacking}", do="give their table"
        )
    part = settings.split.parts(table.queries)[0]
    probs = router.look(table.queries, router.encoder.embed(table.queries, settings.cache_dir))[0].probs
    shown = np.concatenate([part.train, part.val])
    val = np.arange(len(part.train), len(shown))
    model = settings.student.learn(router.encoder, [table.queries[i] for i in shown], probs[shown], names, val)
    said = hf_student.predict_proba(model, router.encoder, [table.queries[i] for i in part.test])
    rewards = Rewards(table.rewards.values[:, [table.pool.names.index(name) for name in names]], names)
    found = compare(probs[part.test], said, rewards.take(part.train), rewards.take(part.test))
    onnx_export.update_export(settings.export, lambda draft, facts: _add(draft, facts, model, router.encoder, found))
    return found


def compare(ours: Floats, theirs: Floats, seen: Rewards, rewards: Rewards) -> dict[str, float]:
    """How often a student (n, m) chooses as the router does (n, m), and the rewards (n, m) that both get.

    Args:
        seen: rewards of training queries, which name the best single model.
    """
    order = np.argsort(-np.nan_to_num(seen.column_means(), nan=-np.inf), kind="stable")
    kept = rewards.observed.any(axis=1)
    values, observed = rewards.values[kept], rewards.observed[kept]
    single = np.zeros_like(values)
    single[:, order[0]] = 1.0

    def got(preference: Floats) -> Floats:
        return values[np.arange(len(values)), choose(preference, observed, order)]

    means = {"router": got(ours[kept]), "student": got(theirs[kept]), "single": got(single)}
    oracle = np.nanmax(values, axis=1).mean()
    told = {name: float(rows.mean()) for name, rows in means.items()}
    closed = {name: float(gap_closed(*map(np.asarray, (told[name], told["single"], oracle)))) for name in told}
    return {
        "queries": len(ours),
        "same_choice": float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        **{f"{name}_reward": told[name] for name in ("router", "student")},
        **{f"{name}_gap_closed": closed[name] for name in ("router", "student")},
    }


def _add(draft: Path, facts: dict[str, Any], model: Any, encoder: Encoder, found: dict[str, float]) -> None:
    shutil.rmtree(draft / manifest.HUGGINGFACE, ignore_errors=True)
    hf_student.write(draft / manifest.HUGGINGFACE, model, encoder)
    (draft / manifest.HUGGINGFACE / "README.md").write_text(card(found), encoding="utf-8")
    facts["huggingface"] = found


def card(found: dict[str, float]) -> str:
    """The page of the Hugging Face form, for people."""
    return f"""# A router's choices in a standard architecture

```python
from transformers import pipeline

pipeline("text-classification", model="this folder", top_k=None)("a query", truncation=True)
```

Labels are the candidates; the likeliest is the choice. This is not the router itself, which reads what no standard
architecture has: it has learned to say what the router says. On {found["queries"]:,} queries that neither has learned
from it chooses as the router in {found["same_choice"]:.1%}; mean reward {found["student_reward"]:.3f} against the
router's {found["router_reward"]:.3f}, share of the gap between the best single model and the oracle closed
{found["student_gap_closed"]:.1%} against {found["router_gap_closed"]:.1%}.
"""
