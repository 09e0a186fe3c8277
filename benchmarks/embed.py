"""Compare how fast texts are embedded on this CPU: `python benchmarks/embed.py RECORDS … [--queries N]`.

By torch, by the encoder's ONNX graph in float32, and by the one in int8, each with the batches that suit it best. They
take turns, so that other load affects all alike; on a busy machine the processor's seconds are more reliable than the
clock. Beside the speed: how far embeddings are from torch's, by their cosine and by the mean of differences in standard
deviations of each feature.
`--quality` embeds the queries of all tables (`--sample`: so many of each) in int8 too and compares the gap
closed by the closed-form start: 5 folds, with the paired difference from torch's embeddings and its standard error, in
points of the gap, for each of `--salts`; in the mean a query counts once. Other embeddings also make other clusters,
which is luck, so the difference is measured with the clusters of torch's embeddings too.
"""

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from out_of_distribution import chosen_rewards, route_out_of_fold, with_embeddings
from quality import limit_output, load_data
from rich.console import Console
from rich.table import Table

from zooter.data import reward_table
from zooter.data.split import Split
from zooter.metrics import baselines
from zooter.router import torch_embedder
from zooter.router.encoder import EmbedBatch, Encoder
from zooter.router.encoder_graphs import graph_files
from zooter.router.int8_embedder import BATCH_TOKENS, products_are_exact
from zooter.router.model_inputs import pad
from zooter.router.onnx_router import start_session
from zooter.router.token_batches import length_batches

ROUNDS = 3
DIFFERENCES = ("int8 − torch ± standard error", "the same with torch's clusters")  # of the gap closed, in points

Differences = dict[str, NDArray[np.float64]]


def processor() -> str:
    """Name the processor and what it has for 8-bit products."""
    file = Path("/proc/cpuinfo")
    info = dict(
        line.split(":", 1) for line in (file.read_text().splitlines() if file.is_file() else []) if ":" in line
    )  # of the last core
    facts = {key.strip(): value.strip() for key, value in info.items()}
    flags = sorted(flag for flag in facts.get("flags", "").split() if "vnni" in flag or flag.startswith("amx"))
    name = facts.get("model name", platform.processor())
    return f"{name} ({', '.join(flags) or 'no VNNI'}), 8-bit products exact: {products_are_exact()}"


def forms(encoder: Encoder, cache: Path) -> dict[str, tuple[EmbedBatch, int]]:
    """Load each form: what embeds a batch, and the padded tokens of a batch at most."""
    loaded = {"torch float32": torch_embedder.start_embedding(encoder)}
    with graph_files(encoder, cache) as files:
        for precision, file in files.items():
            session = start_session(file, torch.get_num_threads())
            loaded[f"ONNX {precision}"] = (
                lambda ids, session=session: session.run(["embeddings"], pad(ids))[0], BATCH_TOKENS,
            )  # fmt: skip
    return loaded


def embed(ids: list[list[int]], embed_batch: EmbedBatch, max_tokens: int) -> NDArray[np.float32]:
    """Embed rows of token ids in batches of similar length: (n, e)."""
    batches = list(length_batches([len(row) for row in ids], max_tokens))
    vectors = np.concatenate([embed_batch([ids[i] for i in batch]) for batch in batches])
    return vectors[np.argsort(np.concatenate(batches))]


def speeds(texts: list[str], encoder: Encoder, cache: Path) -> Table:
    """Measure each form's texts per second, and how far its embeddings are from torch's."""
    ids = encoder.tokenize(texts)
    calls = {name: partial(embed, ids, *form) for name, form in forms(encoder, cache).items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    vectors = {}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            clock, cpu = time.perf_counter(), time.process_time()
            vectors[name] = call()
            seconds[name].append((time.perf_counter() - clock, time.process_time() - cpu))
    first = next(iter(calls))
    medians = {name: np.median(values, axis=0) for name, values in seconds.items()}
    lengths = np.array([len(row) for row in ids])
    view = Table(
        title=f"{len(texts)} texts of {lengths.mean():.0f} tokens on average, {torch.get_num_threads()} thread"
    )
    headings = (
        "form",
        "texts/s",
        "× torch",
        "texts/CPU s",
        "× torch",
        "1 − cosine, mean",
        "largest",
        "mean difference, σ",
    )
    for heading in headings:
        view.add_column(heading, justify="left" if heading == "form" else "right")
    spread = np.maximum(vectors[first].std(axis=0), 1e-6)
    for name, (clock, cpu) in medians.items():
        a, b = vectors[name], vectors[first]
        distance = 1.0 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        view.add_row(
            name, f"{len(texts) / clock:.1f}", f"{medians[first][0] / clock:.2f}", f"{len(texts) / cpu:.1f}",
            f"{medians[first][1] / cpu:.2f}", f"{distance.mean():.1e}", f"{distance.max():.1e}",
            f"{np.abs((a - b) / spread).mean():.3f}",
        )  # fmt: skip
    return view


def quality(records: Path, salts: list[str], cache: Path, sample: int) -> tuple[Table, Differences]:
    """Compare the gap closed with embeddings in int8 and in float32, on the same folds.

    Returns:
        The table, and for each kind of difference the (n,) means over salts, in points of the gap.
    """
    view = Table(title=f"{records.name}: gap closed, % (closed-form start, 5 folds)")
    for heading in ("salt", "torch float32", "ONNX int8", *DIFFERENCES):
        view.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        table = _sampled(records.resolve(), sample, Path(folder) / records.name) if sample else records.resolve()
        data, settings = load_data(table, Path(folder), salts[0])
    float32, int8 = (
        with_embeddings(data, replace(settings.encoder, precision=precision).embed(data.records.queries, cache))
        for precision in ("float32", "int8")
    )
    forms = (float32, int8, replace(float32, features=int8.features))  # clusters are those of `embeddings`
    rewards = data.records.rewards
    single = chosen_rewards(np.zeros(rewards.values.shape), rewards, baselines.rank_by_mean_reward(rewards))
    gap = float((np.nanmax(rewards.values, axis=1) - single).mean()) / 100.0
    by_salt = []
    for salt in salts:
        salted = replace(settings, split=Split(salt=salt))
        obtained = [route_out_of_fold(form, salted) for form in forms]
        by_salt.append([rewards_of_int8 - obtained[0] for rewards_of_int8 in obtained[1:]])
        cells = [f"{(rewards_of_form - single).mean() / gap:.1f}" for rewards_of_form in obtained[:2]]
        view.add_row(salt, *cells, *(with_error(*mean_and_error(values / gap)) for values in by_salt[-1]))
        Console(stderr=True).print(records.name, salt, cells)
    means = dict(zip(DIFFERENCES, np.mean(by_salt, axis=0) / gap, strict=True))
    view.add_row("mean", "", "", *(with_error(*mean_and_error(values)) for values in means.values()))
    return view, means


def pooled(tables: list[Differences]) -> Table:
    """Average the differences of several tables, each weighted by the inverse of its squared standard error."""
    view = Table(title=f"{len(tables)} tables, by the inverse of their variances")
    for heading in DIFFERENCES:
        view.add_column(heading, justify="right")
    cells = []
    for name in DIFFERENCES:
        means, errors = np.transpose([mean_and_error(table[name]) for table in tables])
        weights = errors**-2.0
        cells.append(with_error(float(np.average(means, weights=weights)), float(weights.sum() ** -0.5)))
    view.add_row(*cells)
    return view


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the mean of (n,) values and its standard error."""
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def with_error(mean: float, error: float) -> str:
    return f"{mean:+.2f} ± {error:.2f}"


def _sampled(records: Path, queries: int, path: Path) -> Path:
    """Write the rows of some queries of a Parquet table, drawn at random."""
    rows = pq.read_table(records)
    texts = rows["query"].unique()
    drawn = texts.take(np.sort(np.random.default_rng(0).permutation(len(texts))[:queries]))
    pq.write_table(rows.filter(pc.is_in(rows["query"], value_set=drawn)), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, default=300, help="drawn of the first table, for the speed")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--salts", nargs="*", default=["0", "1"])
    parser.add_argument("--sample", type=int, default=0, help="queries drawn of each Parquet table; 0 is all")
    arguments = parser.parse_args()
    limit_output()
    console, cache = Console(width=150), Path(os.environ.get("ZOOTER_CACHE", "cache"))
    queries = reward_table.read(arguments.records[0], {}).queries
    rows = np.random.default_rng(0).permutation(len(queries))[: arguments.queries]
    console.print(processor())
    if len(rows):
        console.print(speeds([queries[i] for i in rows], Encoder(), cache))
    if arguments.quality:
        tables = [quality(records, arguments.salts, cache, arguments.sample) for records in arguments.records]
        console.print(*(view for view, _ in tables), pooled([means for _, means in tables]), sep="\n")


if __name__ == "__main__":
    main()
