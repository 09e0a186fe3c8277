"""A predictable encoder of two features: whether a query's number is odd, and whether a text contains "wrong"."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.router.encoder import Encoder
from zooter.selector.protocol import RecordedSelection


class ParityEncoder(Encoder):
    """Embed texts such as "query 7" and "query 7 an answer" as (n, 2) features."""

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return np.array([[int(text.split()[1]) % 2, "wrong" in text] for text in texts], dtype=np.float32)


def parity_table(n: int = 40) -> ResponseTable:
    """Return a table of n queries: `small` is right on even ones, `large` on all; they cost 1 and 4."""
    return recorded(
        [
            {
                "small": [{"text": f"s{i}", "reward": float(i % 2 == 0), "cost": 1.0}],
                "large": [{"text": f"l{i}", "reward": 1.0, "cost": 4.0}],
            }
            for i in range(n)
        ]
    )


def selected_candidates(selections: list[RecordedSelection]) -> list[str]:
    """Return the candidate of each selection's response; "nobody" without one."""
    return [s.selection.response.candidate if s.selection.response else "nobody" for s in selections]
