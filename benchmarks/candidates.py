"""Print the zoo's accuracies (each candidate per skill) and its speeds on this machine.

With data/ on PYTHONPATH:

python benchmarks/candidates.py                          the table as measured when the zoo was built, then speeds
python benchmarks/candidates.py --measure                measures the table again (minutes)
python benchmarks/candidates.py --beta RECORDS           what smoothing gains on a run's table, by its truth
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import quality
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForSequenceClassification
from zoo.answer import respond
from zoo.folder import load
from zoo.plan import MEMBERS, REWARDER, TIERS
from zoo.report import measure
from zoo.rewarder import compute_rewards, format_dialogue

from zooter.collect.reader.skills.generate import generate
from zooter.metrics import baselines, routing
from zooter.training.labels import TagSmoothing

NAMES = [member.name for member in MEMBERS]


def skill_table(measured: dict) -> Table:
    """Format the accuracy of each candidate per skill in percent, the best of a row in bold."""
    table = Table(
        "skill", *(name.removeprefix("zoo-") for name in NAMES), title="Greedy accuracy on held-out queries, %"
    )
    candidates = measured["candidates"]
    for skill in next(iter(candidates.values()))["skills"]:
        add_row(table, skill, [candidates[name]["skills"][skill] for name in NAMES])
    table.add_section()
    add_row(table, "all", [candidates[name]["accuracy"] for name in NAMES])
    for signal in ("margin", "agreement"):
        add_row(table, f"{signal} AUC", [candidates[name][signal]["auc"] for name in NAMES])
        add_row(table, f"{signal} correlation", [candidates[name][signal]["correlation"] for name in NAMES])
    for temperature in candidates[NAMES[0]]["temperature"]:
        add_row(table, f"temperature {temperature}", [candidates[name]["temperature"][temperature] for name in NAMES])
    return table


def add_row(table: Table, name: str, shares: list[float]) -> None:
    """Add a row of shares as percentages, the best in bold."""
    top = max(shares)
    table.add_row(
        name, *(f"[bold]{100 * share:.0f}[/bold]" if share == top else f"{100 * share:.0f}" for share in shares)
    )


def speeds(folder: Path, count: int, batch: int) -> Table:
    """Measure the seconds of one greedy response of every candidate to `count` queries, and of rewarding them all."""
    queries = generate(count, 0, "train")
    table = Table(
        "model",
        "seconds",
        "per second",
        title=f"{count} queries, batches of {batch}, {torch.get_num_threads()} threads",
    )
    dialogues, total = [], 0.0
    for name in NAMES:
        model, tokenizer = load(folder / name)
        start = time.perf_counter()
        responses = respond(model, tokenizer, queries, batch=batch)
        seconds = time.perf_counter() - start
        total += seconds
        dialogues += [
            format_dialogue(tokenizer, query.text, item.text) for query, item in zip(queries, responses, strict=True)
        ]
        table.add_row(name, f"{seconds:.1f}", f"{count / seconds:.0f}")
    table.add_row("all candidates", f"{total:.1f}", f"{len(dialogues) / total:.0f}")
    model, tokenizer = load(folder / REWARDER, AutoModelForSequenceClassification)
    start = time.perf_counter()
    compute_rewards(model, tokenizer, dialogues, batch)
    seconds = time.perf_counter() - start
    table.add_row(f"{REWARDER} ({len(dialogues)} pairs)", f"{seconds:.1f}", f"{len(dialogues) / seconds:.0f}")
    return table


def cascade_table(measured: dict) -> Table:
    """Format the percentage of right answers when the larger tier answers a share of the queries."""
    rows = measured["cascade"]
    table = Table("asked of the larger tier", *(f"{row['share']:.0%}" for row in rows), title=" → ".join(TIERS))
    for key in ("margin", "random"):
        table.add_row(key, *(f"{100 * row[key]:.1f}" for row in rows))
    return table


def smoothing(records: Path, folds: int) -> Table:
    """Compare routers trained with several β by their share of right answers, with paired 95 % intervals against β = 1.

    `default` is the library's own net; `plain net` is ZOOTER's, where tags are in the labels alone.
    """
    methods = {
        f"default, β {beta}": partial(quality.train_default, label=TagSmoothing(beta=beta))
        for beta in (1.0, 0.3, "auto")
    }
    methods["default, β 0.3, soften then average"] = partial(
        quality.train_default, label=TagSmoothing(beta=0.3, order=quality.PLAIN.order)
    )
    for beta in (1.0, 0.3):
        methods[f"plain net, β {beta}"] = partial(quality.train_plain, label=quality.replace(quality.PLAIN, beta=beta))
    rewards: dict[str, list[np.ndarray]] = {name: [] for name in methods}
    quality.limit_output()
    with tempfile.TemporaryDirectory() as folder:
        data, settings = quality.load_data(records.resolve(), Path(folder))
        table = data.records
        for part in settings.split.parts(table.queries, folds):
            order = baselines.rank_by_mean_reward(table.rewards.take(part.train))
            truth = table.truth.take(part.test)
            for name, method in methods.items():
                chosen = routing.best_candidates(method(data, part, None, settings), truth.observed, order)
                rewards[name].append(truth.values[np.arange(len(chosen)), chosen])
    correct = {name: np.concatenate(parts) for name, parts in rewards.items()}
    count = len(next(iter(correct.values())))
    view = Table("router", "right, %", "− β = 1, points", "95 %", title=f"{count:,} queries, each tested out of fold")
    for name, values in correct.items():
        columns = np.stack([values, correct[name.split(",")[0] + ", β 1.0"]])
        low, high = routing.paired_bootstrap(columns, lambda mean, base_mean: np.asarray(mean - base_mean))
        gain = f"{100 * (columns[0] - columns[1]).mean():+.1f}"
        view.add_row(name, f"{100 * values.mean():.1f}", gain, f"{100 * low:+.1f}…{100 * high:+.1f}")
    return view


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/zoo"))
    parser.add_argument("--measure", action="store_true", help="measure the table again instead of reading it")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--beta", type=Path, help="compare β on this recorded table instead")
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.beta:
        Console(width=150).print(smoothing(arguments.beta, arguments.folds))
        return
    measured = (
        measure(arguments.folder) if arguments.measure else json.loads((arguments.folder / "measured.json").read_text())
    )
    console = Console(width=150)
    console.print(skill_table(measured))
    console.print(cascade_table(measured))
    console.print(f"oracle {measured['oracle']:.1%}   reward model {json.dumps(measured['rewarder'])}")
    console.print(speeds(arguments.folder, arguments.count, arguments.batch))


if __name__ == "__main__":
    main()
