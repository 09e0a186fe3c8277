"""Read runs of HELM: a folder per run with `run_spec.json`, `scenario_state.json`, `per_instance_stats.json`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import damaged, list_files
from zooter.errors import RecordsError

SPEC, STATE, STATS = "run_spec.json", "scenario_state.json", "per_instance_stats.json"
# The rewards that are looked for, the most usual first.
METRICS = (
    "exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match", "final_number_exact_match",
    "math_equiv_chain_of_thought", "math_equiv", "chain_of_thought_correctness", "ifeval_strict_accuracy", "f1_score",
    "rouge_l", "bleu_4",
)  # fmt: skip


def is_read(file: Path) -> bool:
    """Tell whether a file of a run is read; HELM writes others beside them."""
    return file.name in (SPEC, STATE, STATS)


@dataclass(frozen=True)
class Helm:
    """Read HELM's runs; perturbed instances are left out, and train trials are samples.

    Attributes:
        metric: the statistic that is the reward; None takes the first of `METRICS` that a run has.
    """

    name: ClassVar[str] = "helm"
    metric: str | None = None

    def recognises(self, preview: Preview) -> bool:
        """Tell whether a folder holds a run, or a file is the main one of a run."""
        return any(file.name == STATE for file in list_files(preview.path))

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every run in the folder; see `Format`."""
        folders = [file.parent for file in list_files(path) if file.name == STATE]
        if not folders:
            raise RecordsError(
                expected=f"a folder with {STATE} at {path}", found="none", do="give a folder of benchmark_output/runs"
            )
        chosen: dict[str, int] = {}  # metric → number of runs
        perturbed: list[str] = []
        for folder in folders:
            yield from to_batches(self._rows(folder, chosen, perturbed))
        note("rewards: " + ", ".join(f"{name!r} of {count:,} runs" for name, count in chosen.items()) + " (metric=…)")
        if perturbed:
            note(f"{len(perturbed):,} perturbed instances are left out")

    def _rows(self, folder: Path, chosen: dict[str, int], perturbed: list[str]) -> Iterator[dict[str, Any]]:
        spec = _document(folder / SPEC)
        model, run = spec.text("adapter_spec.model"), spec.text("name")
        task = run.partition(",model=")[0] if ",model=" in run else run.partition(":")[0]
        rewards = self._rewards(folder, chosen)
        for state in _document(folder / STATE).items("request_states"):
            if state.get("instance.perturbation") is not None:
                perturbed.append(state.place)
                continue
            instance, trial = state.text("instance.id"), state.count_or_none("train_trial_index") or 0
            completions = state.get("result.completions")
            first = completions[0] if isinstance(completions, list) and completions else {}
            yield state.row({
                "query": state.text("instance.input.text"), "query_id": f"{task}/{instance}", "candidate": model,
                "reward": rewards.get((instance, trial)), "sample": trial, "tags": [task],
                "response": first.get("text") if isinstance(first, Mapping) else None,
                "reference": _reference(state), "seconds": state.number_or_none("result.request_time"),
            })  # fmt: skip

    def _rewards(self, folder: Path, chosen: dict[str, int]) -> dict[tuple[str, int], float | None]:
        """(instance, train trial) → its reward."""
        stats: dict[tuple[str, int], dict[str, float | None]] = {}
        for item in read_items(folder / STATS):
            if item.get("perturbation") is not None:
                continue
            key = item.text("instance_id"), item.count_or_none("train_trial_index") or 0
            for stat in item.items("stats"):
                if stat.get("name.perturbation") is None:
                    stats.setdefault(key, {})[stat.text("name.name")] = stat.number_or_none("mean")
        present = list(dict.fromkeys(name for values in stats.values() for name in values))
        metrics = (self.metric,) if self.metric is not None else METRICS
        metric = next((name for name in metrics if name in present), None)
        if metric is None:
            raise RecordsError(
                expected=f"one of the statistics {list(metrics)} in {folder / STATS}", found=f"{present[:40]}",
                do="choose one of these: metric=…",
            )  # fmt: skip
        chosen[metric] = chosen.get(metric, 0) + 1
        return {key: values.get(metric) for key, values in stats.items()}


def _document(path: Path) -> Item:
    if not path.is_file():
        raise RecordsError(expected=f"{path.name} in {path.parent}", found="none", do="copy the whole run folder")
    item = next(read_items(path), None)
    if item is None:
        raise damaged(path, "an empty file")
    return item


def _reference(state: Item) -> str | None:
    """Take the first reference that is tagged as correct."""
    for reference in state.items_or_none("instance.references"):
        tags = reference.get("tags")
        if isinstance(tags, list) and "correct" in tags:
            return reference.text_or_none("output.text")
    return None
