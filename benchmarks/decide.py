"""Measure how long one decision takes: `python benchmarks/decide.py EXPORT … [--long]`.

The export's int8 and float32 ONNX forms (tokenizer, surface features and head included) beside the same net in torch,
and two encoders that routers of others use, with random weights, as speed does not depend on them: xlm-roberta-base
(the size of RouteLLM's BERT router) and mdeberta-v3-base (ZOOTER's paper). Of an export with `encoder=ngrams` there is
one form. Ratios are to the first form of the first export. The machine's float32 matrix product is measured in the same
run; the forms take turns, so that other load affects all of them alike; on a busy machine the CPU's time is more
reliable than the clock. `--long` adds 128 and 512 tokens, batches of 8 and 32, and two cores.
"""

import argparse
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import DebertaV2Config, DebertaV2Model, XLMRobertaConfig, XLMRobertaModel

from zooter.router.ngram_encoder import NgramEncoder
from zooter.router.onnx_router import OnnxRouter
from zooter.router.torch_router import TorchRouter as Torch

SECONDS = 6.0  # for each row of a table
MAX_LENGTH = 256  # tokens that the default router reads; the others below read all
# Matrix products of one token in MiniLM's encoder: 6 layers of 4·384² + 2·384·1536 weights, twice a flop each.
FLOPS_PER_TOKEN = 2 * 6 * (4 * 384**2 + 2 * 384 * 1536)
WORDS = (
    "what is the best way to write a short story about the sea and how many days are there in a year when it rains in "
    "the city of rome please answer with one number or a list of names and explain why"
)


def text(tokens: int, seed: int) -> str:
    """Make a text of about `tokens` tokens: words that are one token each, and the two special tokens."""
    return " ".join(np.random.default_rng(seed).choice(WORDS.split(), max(tokens - 2, 1)))


def reference_encoders() -> dict[str, Callable[[int, int], None]]:
    """Make encoders with random weights, as functions of batch size and length."""
    xlm = XLMRobertaConfig(
        vocab_size=250_002, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
        max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    mdeberta = DebertaV2Config(
        vocab_size=251_000, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
        max_position_embeddings=512, relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0,
    )  # fmt: skip
    functions: dict[str, Callable[[int, int], None]] = {}
    for name, model in (("xlm-roberta-base", XLMRobertaModel(xlm)), ("mdeberta-v3-base", DebertaV2Model(mdeberta))):
        model.eval()
        functions[f"torch float32, {name}"] = lambda batch, length, model=model: _forward(model, batch, length)
    return functions


@torch.inference_mode()
def _forward(model: torch.nn.Module, batch: int, length: int) -> None:
    tokens = torch.full((batch, length), 7)
    model(input_ids=tokens, attention_mask=torch.ones_like(tokens))


def export_forms(export: Path, threads: int) -> dict[str, Callable[[int, int], None]]:
    """Load the export's forms, from texts to choices, as functions of batch size and length."""
    net = Torch.from_export(export, "cpu")
    if isinstance(net.encoder, NgramEncoder):
        router = OnnxRouter.from_export(export, threads)
        return {"n-grams": lambda batch, length: router.route(_texts(batch, length)) and None}
    backbone = net.encoder.backbone()  # loaded once, not at each call as `Torch.route` does
    forms: dict[str, Callable[[int, int], None]] = {}
    for precision in ("int8", "float32"):
        router = OnnxRouter.from_export(export, threads, precision)
        forms[f"ONNX {precision}"] = lambda batch, length, router=router: router.route(_texts(batch, length)) and None
    forms["torch float32, the same net"] = lambda batch, length: _torch(net, backbone, _texts(batch, length))
    return forms


@torch.inference_mode()
def _torch(net: Torch, backbone: torch.nn.Module, texts: list[str]) -> None:
    from zooter.router.pooling import pool_states

    tokens, mask = net.encoder.pad(net.encoder.tokenize(texts))
    net.route_embedded(texts, pool_states(backbone, tokens, mask, net.encoder.layers, net.encoder.pooling).numpy())


@cache
def _texts(batch: int, length: int) -> list[str]:
    return [text(length, seed) for seed in range(batch)]


def product_rate(seconds: float = 2.0) -> float:
    """Measure the best GFLOP/s of a float32 matrix product of 1024×1024."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    best, until = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        clock_started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - clock_started)
    return 2 * 1024**3 / best / 1e9


def measure(functions: dict[str, Callable[[int, int], None]], batch: int, length: int) -> dict[str, np.ndarray]:
    """Measure (2, calls) seconds of each call, on the clock and of the CPU; all functions take turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for call in functions.values():
        call(batch, length)
    until = time.perf_counter() + SECONDS * len(functions)
    while time.perf_counter() < until or len(next(iter(seconds.values()))) < 3:
        for name, call in functions.items():
            turn_started = time.perf_counter()
            while time.perf_counter() - turn_started < 0.1:
                clock_started, cpu_started = time.perf_counter(), time.process_time()
                call(batch, length)
                seconds[name].append((time.perf_counter() - clock_started, time.process_time() - cpu_started))
    return {name: np.array(values).T for name, values in seconds.items()}


def show(
    console: Console, functions: dict[str, Callable[[int, int], None]], batch: int, length: int, cores: int
) -> None:
    rate = product_rate()
    functions = measure(functions, batch, length)
    first, worked_first = np.median(next(iter(functions.values())), axis=1)
    table = Table(title=f"{length} tokens, batch of {batch}, {cores} core{'s' * (cores > 1)}; float32 product "
                        f"{rate:.0f} GFLOP/s")  # fmt: skip
    table.add_column("form")
    for heading in ("p50, ms", "p95", "p99", "queries/s", "× first", "CPU, ms", "× first", "of 4 × product"):
        table.add_column(heading, justify="right")
    for name, (seconds, cpu_started) in functions.items():
        cpu = float(np.median(cpu_started))
        p50, p95, p99 = np.percentile(seconds, (50, 95, 99))
        tokens_read = min(length, MAX_LENGTH) * batch
        reached = FLOPS_PER_TOKEN * tokens_read / p50 / 1e9 / (4 * rate) if "int8" in name else None
        table.add_row(
            name, *(f"{1e3 * value:.3g}" for value in (p50, p95, p99)), f"{batch / p50:.0f}", f"{p50 / first:.1f}",
            f"{1e3 * cpu:.3g}", f"{cpu / worked_first:.1f}",
            "" if reached is None else f"{reached:.0%}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("export", type=Path, nargs="+")
    parser.add_argument("--long", action="store_true", help="128 and 512 tokens, batches, two cores")
    arguments = parser.parse_args()
    console = Console(width=140)
    cases = [(1, 1, 32)]
    if arguments.long:
        cases += [(1, 1, 128), (1, 1, 512), (1, 8, 32), (1, 32, 32), (2, 1, 32), (2, 8, 32), (2, 32, 32)]
    for cores in sorted({case[0] for case in cases}):
        torch.set_num_threads(cores)
        functions = reference_encoders()
        for export in reversed(arguments.export):
            functions = {**export_forms(export, cores), **functions}
        for batch, length in [case[1:] for case in cases if case[0] == cores]:
            show(console, functions, batch, length, cores)


if __name__ == "__main__":
    main()
