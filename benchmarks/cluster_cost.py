"""Compute what a large run takes, for docs/scale.md: `python benchmarks/cluster_cost.py [QUERIES] [CANDIDATES]`.

A model on paper: every assumption is a constant here, and every other figure follows from them.
"""

import sys

from rich.console import Console
from rich.table import Table

QUERY_TOKENS, RESPONSE_TOKENS = 200, 400  # means of chat traffic
DECODE_TOKENS, PREFILL_TOKENS = 3_000, 30_000  # per second and GPU of 80 GB: an 8B model in bfloat16, large batches
REWARD_TOKENS = 40_000  # per second and GPU: one forward pass of an 8B reward model
GPUS, SECONDS = 64, 1.0  # GPUs of the cluster; of a call to an API
TEXT_BYTES = 4 * 0.45  # per token in Parquet: four letters, compressed to less than a half
CELL_BYTES = 60  # key, counts and numbers of a cell
KEY_BYTES = 36  # of a key in Arrow
EMBEDDING_BYTES = 1_152 * 4
DOLLARS = 0.5  # per million tokens


def rows(queries: int, candidates: int) -> list[tuple[str, str, str]]:
    """List quantity, figure and formula."""
    cells = queries * candidates
    tokens_in, tokens_out = cells * QUERY_TOKENS, cells * RESPONSE_TOKENS
    respond_hours = (tokens_in / PREFILL_TOKENS + tokens_out / DECODE_TOKENS) / 3_600
    reward_hours = (tokens_in + tokens_out) / REWARD_TOKENS / 3_600
    days = (respond_hours + reward_hours) / GPUS / 24
    per_second = cells / (7 * 86_400)
    return [
        ("cells", f"{cells:,.0f}", "queries × candidates"),
        ("tokens in", f"{tokens_in / 1e9:,.0f} billion", f"{QUERY_TOKENS} a query"),
        ("tokens out", f"{tokens_out / 1e9:,.0f} billion", f"{RESPONSE_TOKENS} a response"),
        (
            "GPU hours, responses",
            f"{respond_hours:,.0f}",
            f"{PREFILL_TOKENS:,} in, {DECODE_TOKENS:,} out per second",
        ),
        ("GPU hours, rewards", f"{reward_hours:,.0f}", f"{REWARD_TOKENS:,} tokens per second"),
        (f"days on {GPUS} GPUs", f"{days:,.1f}", "both, one after the other"),
        ("price by API", f"${(tokens_in + tokens_out) / 1e6 * DOLLARS:,.0f}", f"${DOLLARS} per million tokens"),
        ("requests per second", f"{per_second:,.0f}", "within a week"),
        ("calls at a time", f"{per_second * SECONDS:,.0f}", f"{SECONDS:g} s each"),
        ("responses on disk", f"{(tokens_out * TEXT_BYTES + cells * CELL_BYTES) / 1e9:,.0f} GB", "Parquet"),
        ("rewards on disk", f"{cells * CELL_BYTES / 1e9:,.1f} GB", f"{CELL_BYTES} bytes a cell"),
        ("embeddings on disk", f"{queries * EMBEDDING_BYTES / 1e9:,.0f} GB", "float32, three layers of MiniLM"),
        ("shards", f"{-(-cells // 10_000):,.0f}", "10,000 cells each"),
        ("keys of a candidate in memory", f"{queries * KEY_BYTES / 1e9:,.2f} GB", f"{KEY_BYTES} bytes a key"),
        ("queries in the driver's memory", f"{queries * (QUERY_TOKENS * 4 + 400) / 1e9:,.0f} GB", "Python objects"),
    ]


def main(queries: int, candidates: int) -> None:
    for count in (queries, 100 * queries):
        view = Table(title=f"{count:,} queries × {candidates} candidates × one reward model")
        for heading in ("", "", "from"):
            view.add_column(heading)
        for row in rows(count, candidates):
            view.add_row(*row)
        Console().print(view)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**7, int(sys.argv[2]) if len(sys.argv) > 2 else 10)
