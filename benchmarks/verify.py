"""How the verifier agrees with the marks recorded in GSM8K responses, and every disagreement, to be read.

`python benchmarks/verify.py RECORDS [answer|last]`: RECORDS has the columns query, candidate, response, reference and
reward (0 or 1).
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from zooter.rewarder.answers import PICKS, number
from zooter.rewarder.verify import VerifyRewarder
from zooter.types import Query, Response

TAIL = 220  # characters of a response that are shown


def main(table: Path, pick: str) -> None:
    rows = pq.read_table(table).to_pylist()
    marks = np.array([row["reward"] for row in rows])
    queries = [Query(str(i), row["query"], row["reference"]) for i, row in enumerate(rows)]
    responses = [Response(str(i), row["candidate"], 0, row["response"]) for i, row in enumerate(rows)]
    rewards = {name: VerifyRewarder(pick=name).reward(queries, responses) for name in PICKS}
    console = Console(highlight=False, soft_wrap=True)
    for i in np.flatnonzero(rewards[pick] != marks):
        found = number(rows[i]["response"], rows[i]["query"], pick)
        console.rule(f"row {i}, {rows[i]['candidate']}")
        console.print(
            f"reference {rows[i]['reference']}, answer {found.value if found else None}: "
            f"mark {marks[i]:.0f}, verifier {rewards[pick][i]:.0f}"
        )
        console.print(rows[i]["response"].strip()[-TAIL:], markup=False)
    console.rule()
    for name in PICKS:
        agree = rewards[name] == marks
        console.print(f"pick={name}: agrees on {agree.sum()} of {len(rows)} ({agree.mean():.2%})")
        for candidate in sorted({row["candidate"] for row in rows}):
            of = np.array([row["candidate"] == candidate for row in rows])
            console.print(
                f"  {candidate}: marked {marks[of].mean():.1%} right, verified {rewards[name][of].mean():.1%}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "answer")
