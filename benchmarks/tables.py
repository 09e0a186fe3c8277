"""Compare our default with simple methods on every table of a folder: `python benchmarks/tables.py FOLDER`.

Each table is divided into the same folds for all methods; intervals are paired bootstraps over queries (95 %). `start`
is the default's closed-form start without gradient steps, which takes a tenth of the time; ask for it by `--only`.
`default, n-grams` has `encoder=ngrams` in the place of MiniLM.

`--queries N` measures N random queries of each table, `--tables TEXT …` the tables with TEXT in their names; `--cache
FOLDER` keeps embeddings between runs, `--keep FOLDER` results. Files that are no recorded tables are left out.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from quality import Method, all_methods, limit_output, load_data, measure
from rich.console import Console
from rich.table import Table
from rivals import Fold

from zooter.commands.train_settings import TrainSettings
from zooter.data.arrow_io import data_files
from zooter.data.reward_table import RewardTable, Samples
from zooter.data.split import Part
from zooter.data.types import Floats, Ints
from zooter.errors import RecordsError
from zooter.metrics import routing
from zooter.router.ngram_encoder import NgramEncoder
from zooter.training.method import TrainingData
from zooter.training.prepare import resolve_weights

METHODS = ("default", "default, n-grams", "kNN regression", "paired-evidence kNN", "best per tag (told)", "best single")


def start(data: TrainingData, part: Part, fold: Fold, settings: TrainSettings) -> Floats:
    """Predict (n, m) test rewards by the default's head as it is before gradient steps."""
    head, _, _ = resolve_weights(settings.method.fit_part(data, part), settings.label, settings.seed)
    return np.asarray(head.expected_rewards(data.features[part.test]).detach().double().numpy())


def with_ngrams(data: TrainingData, part: Part, fold: Fold, settings: TrainSettings, method: Method) -> Floats:
    """Predict (n, m) test rewards or logits by a method of the default, with n-grams in MiniLM's place."""
    settings = replace(settings, encoder=NgramEncoder())
    return method(settings.method.embed(data.records, part, None), part, fold, settings)


def take(data: TrainingData, settings: TrainSettings, rows: Ints) -> TrainingData:
    """Keep some queries of a table, by row number in increasing order."""
    table, samples = data.records, data.records.samples
    kept = np.isin(samples.query, rows)
    row_number = np.searchsorted(rows, samples.query[kept])
    records: RewardTable = replace(
        table,
        queries=[table.queries[i] for i in rows],
        query_ids=[table.query_ids[i] for i in rows],
        rewards=table.rewards.take(rows),
        truth=table.truth and table.truth.take(rows),
        tags=table.tags.take(rows),
        samples=Samples(row_number, samples.candidate[kept], samples.sample[kept], samples.reward[kept]),
    )
    features = data.features[rows]
    inputs = settings.net.make_inputs(data.encoder, records.queries, features)
    return TrainingData(records, data.encoder, data.embeddings[rows], features, inputs)


def measure_table(file: Path, methods: dict[str, Method], arguments: argparse.Namespace) -> dict[str, Floats]:
    """Measure (n,) rewards of each method's choices on one table, all folds together."""
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(file.resolve(), Path(folder), arguments.salt)
        queries = len(data.records.queries)
        if arguments.queries and arguments.queries < queries:
            rows = np.random.default_rng(arguments.seed).permutation(queries)[: arguments.queries]
            data = take(data, settings, np.sort(rows))
        keep = arguments.keep and arguments.keep / f"{file.stem} {arguments.queries or 'all'} {arguments.seed}"
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        results = measure(data, settings, methods, arguments.folds, keep)
    return {name: rewards for name, (rewards, _) in results.items()}


def add_rows(view: Table, name: str, results: dict[str, Floats]) -> None:
    """Add a row for each method, the best first: reward, difference from best single, and share of the gap closed."""
    single, oracle = results["best single"], results["oracle"]
    for method, rewards in sorted(results.items(), key=lambda item: -float(item[1].mean())):
        columns = np.stack([rewards, single, oracle])
        low, high = routing.paired_bootstrap(columns, _gain_and_gap_closed)
        gain, gap = _gain_and_gap_closed(*columns.mean(axis=1))
        view.add_row(
            f"{name}, {len(rewards):,}", method, f"{rewards.mean():.4f}",
            f"{gain:.4f}", f"{low[0]:.4f}…{high[0]:.4f}",
            f"{100 * gap:.1f}", f"{100 * low[1]:.1f}…{100 * high[1]:.1f}",
        )  # fmt: skip
    view.add_section()


def _gain_and_gap_closed(method: Floats, single: Floats, oracle: Floats) -> Floats:
    return np.stack([np.asarray(method - single), routing.gap_closed(method, single, oracle)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="*", default=[""])
    parser.add_argument("--only", nargs="*", default=METHODS)
    parser.add_argument("--queries", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of the queries that are drawn")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--salt", default="0")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.cache:
        os.environ["ZOOTER_CACHE"] = str(arguments.cache)
    limit_output()
    every = all_methods(finetune=False) | {"start": start}
    every |= {f"{name}, n-grams": partial(with_ngrams, method=every[name]) for name in ("default", "start")}
    methods = {name: every[name] for name in dict.fromkeys([*arguments.only, "best single"])}
    view = Table(title=f"{arguments.folder.name}: {arguments.folds} folds")
    for heading in ("table, queries", "method", "reward", "− best single", "95 %", "gap closed, %", "95 %"):
        view.add_column(heading, justify="left" if heading in ("table, queries", "method") else "right", no_wrap=True)
    for file in data_files(arguments.folder):
        if any(text in file.stem for text in arguments.tables):
            try:
                results = measure_table(file, methods, arguments)
            except RecordsError as error:  # not a recorded table
                Console(stderr=True).print(f"{file.name} is left out: {error}")
                continue
            add_rows(view, file.stem, results)
    Console(width=160).print(view)


if __name__ == "__main__":
    main()
