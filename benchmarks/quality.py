"""Compare methods by the gap closed from best single model to oracle: `python benchmarks/quality.py RECORDS`.

All methods on the same folds; 95 % intervals are paired bootstraps over queries. `--only TEXT …` runs the methods of
that name, or with TEXT in their names; `--folds`, `--salt` choose the folds, `--finetune` adds the fine-tuned net
(minutes per fold). `--keep FOLDER` stores the results of each method and fold, so that a stopped run can be
continued, and one that adds methods computes only these; delete the folder when a method's code has changed.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import rivals
import torch
from rich.console import Console
from rich.table import Table
from rivals import Fold

from zooter.commands.train_settings import TrainSettings
from zooter.data import reward_table
from zooter.data.split import Part, Split
from zooter.data.types import Floats
from zooter.metrics import baselines, routing
from zooter.router.encoder import Encoder
from zooter.router.text_features import TEXT_FEATURES
from zooter.training import head_init
from zooter.training.datamodule import RouterDataModule
from zooter.training.distill import distill
from zooter.training.labels import TagSmoothing
from zooter.training.losses import CrossEntropy, ExpectedReward, ForwardKL, ReverseKL
from zooter.training.method import TrainingData
from zooter.training.predict import predict_logits
from zooter.training.recipe import FinetuneRecipe, FrozenRecipe
from zooter.training.tagger.cluster import ClusterTagger
from zooter.training.tagger.column import ColumnTagger

BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
PLAIN = TagSmoothing(beta=0.3, temperature=0.25, order="soften_then_average")
Method = Callable[[TrainingData, Part, Fold, TrainSettings], Floats]


def default_settings(table: Path, folder: Path, cache: Path, salt: str) -> TrainSettings:
    """Make the default settings of conf/train.yaml, on the CPU."""
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, gradient_clip_val=1.0, deterministic=True)
    return TrainSettings(
        folder, cache, Split(salt=salt), Encoder(), ColumnTagger(otherwise=ClusterTagger()),
        TagSmoothing(), FrozenRecipe(), ForwardKL(), trainer, table,
    )  # fmt: skip


def train_default(data: TrainingData, part: Part, fold: Fold, settings: TrainSettings, **changed: Any) -> Floats:
    """Train by the library's defaults with some settings changed, and return (n, m) test logits."""
    if isinstance(changed.get("net"), FinetuneRecipe):
        data = replace(data, inputs=changed["net"].make_inputs(settings.encoder, data.records.queries, data.features))
    trained = replace(settings.method, **changed).train_part(data, part, settings.run_dir / "checkpoints")
    return predict_logits(trained.net, data.inputs, part.test)


def train_plain(data: TrainingData, part: Part, fold: Fold, settings: TrainSettings, **changed: Any) -> Floats:
    """Train ZOOTER's plain net (last layer's embedding, one hidden layer, tags only in labels); return logits."""
    settings = replace(settings, net=FrozenRecipe(lr=1e-3, patience=5), **changed)
    table, rows = data.records, part.train
    last = data.embeddings[:, -data.embeddings.shape[1] // len(settings.encoder.layers) :]
    features = torch.cat([torch.from_numpy(last.copy()), torch.zeros(len(last), TEXT_FEATURES)], dim=1)
    prior = settings.label.fit(table.rewards.take(rows), table.tags.take(rows))
    torch.manual_seed(settings.seed)
    head = head_init.init_head(
        features[rows], table.rewards.take(rows), [], 1.0, settings.net.width, settings.net.dropout
    )
    head.mean, head.scale = torch.zeros_like(head.mean), torch.ones_like(head.scale)
    head.overall = torch.zeros_like(head.overall)
    head.correction[-1].reset_parameters()  # type: ignore[operator, union-attr]
    net = settings.net.make_net(settings.encoder, head)
    inputs = settings.net.make_inputs(settings.encoder, table.queries, features)
    batches = RouterDataModule(
        part, inputs, prior.label(table.rewards, table.tags), table.rewards, settings.net.batch_size
    )
    distill(
        net,
        batches,
        settings.objective,
        settings.net,
        settings.trainer,
        folder=settings.run_dir / "plain",
        seed=settings.seed,
    )
    return predict_logits(net, inputs, part.test)


def all_methods(finetune: bool) -> dict[str, Method]:
    """List the methods by name, weakest families first."""
    rival_methods: dict[str, Callable[[Fold], Floats]] = {
        "best single": rivals.best_single,
        "SVM on the best model": rivals.svm,
        "MLP on the best model": rivals.mlp,
        "kNN classification": rivals.knn_classification,
        "kNN regression": rivals.knn_regression,
        "paired-evidence kNN": rivals.paired_knn,
        "ridge regression": rivals.ridge,
        "matrix factorisation (RouteLLM)": rivals.matrix_factorisation,
        "contrastive (RouterDC)": rivals.router_dc,
        "best per tag (told)": rivals.best_per_tag,
    }
    results: dict[str, Method] = {name: partial(_run_rival, make=make) for name, make in rival_methods.items()}
    results["kNN regression, last layer"] = partial(_run_rival, make=rivals.knn_regression, last_layer=True)
    hard = replace(PLAIN, beta=1.0, hard=True)
    results["plain net, hard labels"] = partial(train_plain, label=hard, objective=CrossEntropy())
    results |= {f"plain net, KL β={beta:g}": partial(train_plain, label=replace(PLAIN, beta=beta)) for beta in BETAS}
    results["plain net, average then soften"] = partial(train_plain, label=replace(PLAIN, order="average_then_soften"))
    results["plain net, reverse KL"] = partial(train_plain, label=PLAIN, objective=ReverseKL())
    results["plain net, expected reward"] = partial(train_plain, label=PLAIN, objective=ExpectedReward())
    results |= {f"default, KL β={beta:g}": partial(train_default, label=TagSmoothing(beta=beta)) for beta in BETAS}
    results["default, hard labels"] = partial(train_default, label=hard, objective=CrossEntropy())
    results["default, soften then average"] = partial(train_default, label=TagSmoothing(order=PLAIN.order))
    results["default, reverse KL"] = partial(train_default, objective=ReverseKL())
    results["default, expected reward"] = partial(train_default, objective=ExpectedReward())
    results["default, β per tag"] = partial(train_default, label=TagSmoothing(beta="per_tag"))
    results["default, temperature auto"] = partial(train_default, label=TagSmoothing(temperature="auto"))
    results["default, clusters only"] = partial(train_default, tagger=ClusterTagger())
    results["default"] = train_default
    if finetune:
        results["fine-tuned"] = partial(train_default, net=FinetuneRecipe())
    return results


def _run_rival(
    data: TrainingData,
    part: Part,
    fold: Fold,
    settings: TrainSettings,
    make: Callable[[Fold], Floats],
    last_layer: bool = False,
) -> Floats:
    if last_layer:
        width = fold.embeddings[0].shape[1] // len(settings.encoder.layers)
        fold = replace(fold, embeddings=(fold.embeddings[0][:, -width:], fold.embeddings[1][:, -width:]))
    return make(fold)


def fold_of(data: TrainingData, part: Part, seed: int) -> Fold:
    """Make a rival's fold: rivals need no validation part and train on it too."""
    rows, table = np.sort(np.concatenate([part.train, part.val])), data.records
    return Fold(
        (data.embeddings[rows], data.embeddings[part.test]),
        (table.rewards.take(rows), table.rewards.take(part.test)),
        (table.tags.take(rows), table.tags.take(part.test)),
        seed,
    )


def measure(
    data: TrainingData, settings: TrainSettings, methods: dict[str, Method], folds: int, keep: Path | None = None
) -> dict[str, tuple[Floats, float]]:
    """Measure each method, `oracle` and `random`: (n,) rewards of choices over all folds, and CPU seconds per fold."""
    parts = settings.split.parts(data.records.queries, folds)
    split = [fold_of(data, part, k) for k, part in enumerate(parts)]
    tested = [fold.rewards[1].values for fold in split]
    results = {
        "random": (np.concatenate([np.nanmean(values, axis=1) for values in tested]), 0.0),
        "oracle": (np.concatenate([np.nanmax(values, axis=1) for values in tested]), 0.0),
    }
    for name, method in methods.items():
        by_fold = []
        for k, (part, fold) in enumerate(zip(parts, split, strict=True)):
            file = keep and keep / f"{settings.split.salt} {k} of {folds} {name}.npz"
            stored = file is not None and file.is_file()
            by_fold.append(_load_fold(file) if stored else _measure_fold(method, data, part, fold, settings, file))
            Console(stderr=True).print(f"{name}, fold {k + 1} of {folds}, {by_fold[-1][1]:.1f} s")
        results[name] = np.concatenate([rewards for rewards, _ in by_fold]), sum(s for _, s in by_fold) / folds
    return results


def _measure_fold(
    method: Method, data: TrainingData, part: Part, fold: Fold, settings: TrainSettings, file: Path | None
) -> tuple[Floats, float]:
    """Measure (n,) rewards of a method's choices on one fold and its CPU seconds; store them if a file is given."""
    started = time.process_time()  # one thread, so independent of other load
    preference = method(data, part, fold, settings)
    seconds, test = time.process_time() - started, fold.rewards[1]
    columns = routing.best_candidates(preference, test.observed, baselines.rank_by_mean_reward(fold.rewards[0]))
    rewards = test.values[np.arange(len(columns)), columns]
    if file:
        np.savez(file, rewards=rewards, seconds=seconds)
    return rewards, seconds


def _load_fold(file: Path) -> tuple[Floats, float]:
    with np.load(file) as results:
        return results["rewards"], float(results["seconds"])


def _statistics(method: Floats, single: Floats, knn: Floats, oracle: Floats) -> Floats:
    """Stack the share of the gap closed, the lead over the best single model, and that over kNN (share of the gap)."""
    gap = routing.gap_closed(method, single, oracle)
    return np.stack([gap, np.asarray(method - single), gap - routing.gap_closed(knn, single, oracle)])


def results_table(results: dict[str, tuple[Floats, float]], title: str) -> Table:
    table = Table(title=title)
    headings = (
        "method",
        "reward",
        "gap closed",
        "95 %",
        "− best single",
        "95 %",
        "− kNN, points",
        "95 %",
        "CPU s/fold",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    references = [results[name][0] for name in ("best single", "kNN regression", "oracle")]
    for name, (rewards, seconds) in sorted(results.items(), key=lambda item: float(item[1][0].mean())):
        columns = np.stack([rewards, *references])
        low, high = routing.paired_bootstrap(columns, _statistics)
        point = _statistics(*columns.mean(axis=1))
        cells = [f"{rewards.mean():.4f}"]
        for i, (scale, digits) in enumerate(((100, 1), (1, 4), (100, 1))):
            cells.append(f"{scale * point[i]:.{digits}f}")
            cells.append(f"{scale * low[i]:.{digits}f}…{scale * high[i]:.{digits}f}")
        table.add_row(name, *cells, f"{seconds:.1f}")
    return table


def load_data(table: Path, folder: Path, salt: str = "0") -> tuple[TrainingData, TrainSettings]:
    """Load the records with their features, and the settings that every method starts from."""
    cache = Path(os.environ.get("ZOOTER_CACHE", "cache"))
    settings = default_settings(table, folder, cache, salt)
    inputs = reward_table.read(table, {})
    return settings.method.embed(inputs, settings.split.parts(inputs.queries)[0], cache), settings


def limit_output() -> None:
    """Use one thread, as the steps are small, and silence Lightning."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--salt", default="0")
    parser.add_argument("--finetune", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    limit_output()
    needed = ("best single", "kNN regression")
    every = all_methods(arguments.finetune)
    parts = [text for text in arguments.only if text not in every]
    methods = {
        name: method
        for name, method in every.items()
        if not arguments.only or name in (*needed, *arguments.only) or any(text in name for text in parts)
    }
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(arguments.records.resolve(), Path(folder), arguments.salt)
        results = measure(data, settings, methods, arguments.folds, arguments.keep)
    queries = len(results["oracle"][0])
    Console(width=160).print(
        results_table(results, f"{arguments.records.name}: {queries:,} queries, {arguments.folds} folds")
    )


if __name__ == "__main__":
    main()
