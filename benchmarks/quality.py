"""Who closes how much of the gap from the best single model to the oracle: `python benchmarks/quality.py RECORDS`.

All methods on the same folds; 95 % intervals are paired bootstraps over queries. `--only TEXT …` runs the methods of
that name, or with TEXT in their names; `--folds`, `--salt` choose the folds, `--finetune` adds the fine-tuned net
(minutes per fold). `--keep FOLDER` keeps what each method got on each fold, so that a run that was stopped goes on, and
one that adds methods computes only these; delete the folder when a method's code has changed.
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

from zooter.commands import train
from zooter.commands.train import TrainingData
from zooter.commands.train_settings import TrainSettings
from zooter.data import reward_table
from zooter.data.split import Part, Split
from zooter.data.types import Floats
from zooter.metrics import baselines, routing
from zooter.router.encoder import Encoder
from zooter.router.net import encoder_and_text_features
from zooter.router.text_features import TEXT_FEATURES
from zooter.training import head_init
from zooter.training.datamodule import RouterDataModule
from zooter.training.distill import distill, predict_logits
from zooter.training.labels import TagSmoothing
from zooter.training.losses import CrossEntropy, ExpectedReward, ForwardKL, ReverseKL
from zooter.training.recipe import FinetuneRecipe, FrozenRecipe
from zooter.training.tagger.cluster import ClusterTagger
from zooter.training.tagger.column import ColumnTagger

BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
PLAIN = TagSmoothing(beta=0.3, temperature=0.25, order="soften_then_average")
Method = Callable[[TrainingData, Part, Fold, TrainSettings], Floats]


def settings(table: Path, folder: Path, cache: Path, salt: str) -> TrainSettings:
    """The defaults of conf/train.yaml, on the CPU."""
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, gradient_clip_val=1.0, deterministic=True)
    return TrainSettings(
        folder, cache, Split(salt=salt), Encoder(), ColumnTagger(otherwise=ClusterTagger()), TagSmoothing(),
        FrozenRecipe(),        ForwardKL(), trainer, table,
    )  # fmt: skip


def ours(data: TrainingData, part: Part, fold: Fold, given: TrainSettings, **changed: Any) -> Floats:
    """(n, m) logits of the library's own training with some settings changed."""
    if isinstance(changed.get("net"), FinetuneRecipe):
        data = replace(data, inputs=changed["net"].inputs(given.encoder, data.records.queries, data.features))
    trained = train.train(data, part, replace(given, **changed))
    return predict_logits(trained.net, data.inputs, part.test)


def plain(data: TrainingData, part: Part, fold: Fold, given: TrainSettings, **changed: Any) -> Floats:
    """(n, m) logits of ZOOTER's plain net: the last layer's embedding → one hidden layer; tags are in labels alone."""
    given = replace(given, net=FrozenRecipe(lr=1e-3, patience=5), **changed)
    table, rows = data.records, part.train
    last = data.embeddings[:, -data.embeddings.shape[1] // len(given.encoder.layers) :]
    inputs = torch.cat([torch.from_numpy(last.copy()), torch.zeros(len(last), TEXT_FEATURES)], dim=1)
    prior = given.label.fit(table.rewards.take(rows), table.tags.take(rows))
    torch.manual_seed(given.seed)
    head = head_init.init_head(inputs[rows], table.rewards.take(rows), [], 1.0, given.net.width, given.net.dropout)
    head.mean, head.scale = torch.zeros_like(head.mean), torch.ones_like(head.scale)
    head.overall = torch.zeros_like(head.overall)
    head.correction[-1].reset_parameters()  # type: ignore[operator, union-attr]
    net = given.net.net(given.encoder, head)
    read = given.net.inputs(given.encoder, table.queries, inputs)
    batches = RouterDataModule(part, read, prior.label(table.rewards, table.tags), table.rewards, given.net.batch_size)
    distill(net, batches, given.objective, given.net, given.trainer, folder=given.run_dir / "plain", seed=given.seed)
    return predict_logits(net, read, part.test)


def methods(finetune: bool) -> dict[str, Method]:
    """Name → how it gets its preferences, weakest families first."""
    of_rivals: dict[str, Callable[[Fold], Floats]] = {
        "best single": rivals.best_single,
        "SVM on the best model": rivals.svm,
        "MLP on the best model": rivals.mlp,
        "kNN classification": rivals.knn_classification,
        "kNN regression": rivals.knn_regression,
        "ridge regression": rivals.ridge,
        "matrix factorisation (RouteLLM)": rivals.matrix_factorisation,
        "contrastive (RouterDC)": rivals.router_dc,
        "best per tag (told)": rivals.best_per_tag,
    }
    found: dict[str, Method] = {name: partial(_rival, make=make) for name, make in of_rivals.items()}
    found["kNN regression, last layer"] = partial(_rival, make=rivals.knn_regression, last_layer=True)
    hard = replace(PLAIN, beta=1.0, hard=True)
    found["plain net, hard labels"] = partial(plain, label=hard, objective=CrossEntropy())
    found |= {f"plain net, KL β={beta:g}": partial(plain, label=replace(PLAIN, beta=beta)) for beta in BETAS}
    found["plain net, average then soften"] = partial(plain, label=replace(PLAIN, order="average_then_soften"))
    found["plain net, reverse KL"] = partial(plain, label=PLAIN, objective=ReverseKL())
    found["plain net, expected reward"] = partial(plain, label=PLAIN, objective=ExpectedReward())
    found |= {f"default, KL β={beta:g}": partial(ours, label=TagSmoothing(beta=beta)) for beta in BETAS}
    found["default, hard labels"] = partial(ours, label=hard, objective=CrossEntropy())
    found["default, soften then average"] = partial(ours, label=TagSmoothing(order=PLAIN.order))
    found["default, reverse KL"] = partial(ours, objective=ReverseKL())
    found["default, expected reward"] = partial(ours, objective=ExpectedReward())
    found["default, β per tag"] = partial(ours, label=TagSmoothing(beta="per_tag"))
    found["default, temperature auto"] = partial(ours, label=TagSmoothing(temperature="auto"))
    found["default, clusters only"] = partial(ours, tagger=ClusterTagger())
    found["default"] = ours
    if finetune:
        found["fine-tuned"] = partial(ours, net=FinetuneRecipe())
    return found


def _rival(
    data: TrainingData,
    part: Part,
    fold: Fold,
    given: TrainSettings,
    make: Callable[[Fold], Floats],
    last_layer: bool = False,
) -> Floats:
    if last_layer:
        width = fold.embeddings[0].shape[1] // len(given.encoder.layers)
        fold = replace(fold, embeddings=(fold.embeddings[0][:, -width:], fold.embeddings[1][:, -width:]))
    return make(fold)


def fold_of(data: TrainingData, part: Part, seed: int) -> Fold:
    """What rivals see: they have no use for a validation part and train on it too."""
    rows, table = np.sort(np.concatenate([part.train, part.val])), data.records
    return Fold(
        (data.embeddings[rows], data.embeddings[part.test]),
        (table.rewards.take(rows), table.rewards.take(part.test)),
        (table.tags.take(rows), table.tags.take(part.test)),
        seed,
    )


def measure(
    data: TrainingData, given: TrainSettings, chosen: dict[str, Method], folds: int, keep: Path | None = None
) -> dict[str, tuple[Floats, float]]:
    """Method → (n,) rewards of its choices over all folds, and CPU seconds per fold; `oracle`, `random` too."""
    parts = given.split.parts(data.records.queries, folds)
    split = [fold_of(data, part, k) for k, part in enumerate(parts)]
    tested = [fold.rewards[1].values for fold in split]
    found = {
        "random": (np.concatenate([np.nanmean(values, axis=1) for values in tested]), 0.0),
        "oracle": (np.concatenate([np.nanmax(values, axis=1) for values in tested]), 0.0),
    }
    for name, method in chosen.items():
        of_folds = []
        for k, (part, fold) in enumerate(zip(parts, split, strict=True)):
            file = keep and keep / f"{given.split.salt} {k} of {folds} {name}.npz"
            known = file is not None and file.is_file()
            of_folds.append(_kept(file) if known else _measured(method, data, part, fold, given, file))
            Console(stderr=True).print(f"{name}, fold {k + 1} of {folds}, {of_folds[-1][1]:.1f} s")
        found[name] = np.concatenate([rewards for rewards, _ in of_folds]), sum(s for _, s in of_folds) / folds
    return found


def _measured(
    method: Method, data: TrainingData, part: Part, fold: Fold, given: TrainSettings, file: Path | None
) -> tuple[Floats, float]:
    """(n,) rewards of a method's choices on one fold, and its seconds; written into a file when there is one."""
    started = time.process_time()  # one thread: what it takes however busy the machine is
    preference = method(data, part, fold, given)
    seconds, test = time.process_time() - started, fold.rewards[1]
    picked = routing.choose(preference, test.observed, baselines.rank_by_mean_reward(fold.rewards[0]))
    rewards = test.values[np.arange(len(picked)), picked]
    if file:
        np.savez(file, rewards=rewards, seconds=seconds)
    return rewards, seconds


def _kept(file: Path) -> tuple[Floats, float]:
    with np.load(file) as found:
        return found["rewards"], float(found["seconds"])


def _statistics(method: Floats, single: Floats, knn: Floats, oracle: Floats) -> Floats:
    """Share of the gap closed, lead over the best single model (reward), lead over kNN (share of the gap)."""
    gap = routing.gap_closed(method, single, oracle)
    return np.stack([gap, np.asarray(method - single), gap - routing.gap_closed(knn, single, oracle)])


def shown(found: dict[str, tuple[Floats, float]], title: str) -> Table:
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
    ends = [found[name][0] for name in ("best single", "kNN regression", "oracle")]
    for name, (rewards, seconds) in sorted(found.items(), key=lambda item: float(item[1][0].mean())):
        columns = np.stack([rewards, *ends])
        low, high = routing.paired_bootstrap(columns, _statistics)
        point = _statistics(*columns.mean(axis=1))
        cells = [f"{rewards.mean():.4f}"]
        for i, (scale, digits) in enumerate(((100, 1), (1, 4), (100, 1))):
            cells.append(f"{scale * point[i]:.{digits}f}")
            cells.append(f"{scale * low[i]:.{digits}f}…{scale * high[i]:.{digits}f}")
        table.add_row(name, *cells, f"{seconds:.1f}")
    return table


def load(table: Path, folder: Path, salt: str = "0") -> tuple[TrainingData, TrainSettings]:
    """The records with their features, and the settings that every method starts from."""
    cache = Path(os.environ.get("ZOOTER_CACHE", "cache"))
    given = settings(table, folder, cache, salt)
    read = reward_table.read(table, {})
    embeddings = given.encoder.embed(read.queries, cache)
    columns = encoder_and_text_features(embeddings, read.queries)
    return TrainingData(read, embeddings, columns, given.net.inputs(given.encoder, read.queries, columns)), given


def quiet() -> None:
    """One thread, for the steps are small; and Lightning's chatter off."""
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
    told = parser.parse_args()
    if told.keep:
        told.keep.mkdir(parents=True, exist_ok=True)
    quiet()
    needed = ("best single", "kNN regression")
    every = methods(told.finetune)
    parts = [text for text in told.only if text not in every]
    chosen = {
        name: method
        for name, method in every.items()
        if not told.only or name in (*needed, *told.only) or any(text in name for text in parts)
    }
    with tempfile.TemporaryDirectory() as folder:
        data, given = load(told.records.resolve(), Path(folder), told.salt)
        found = measure(data, given, chosen, told.folds, told.keep)
    queries = len(found["oracle"][0])
    Console(width=160).print(shown(found, f"{told.records.name}: {queries:,} queries, {told.folds} folds"))


if __name__ == "__main__":
    main()
