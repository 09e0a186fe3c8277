"""An encoder that a test can foresee: it sees whether a query's number is odd, and whether an answer says "wrong"."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.router.encoder import Encoder
from zooter.selector.protocol import RecordedSelection


class ParityEncoder(Encoder):
    """Reads texts such as "query 7" and "query 7 an answer"."""

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return np.array([[int(text.split()[1]) % 2, "wrong" in text] for text in texts], dtype=np.float32)


def odd_and_even(n: int = 40) -> ResponseTable:
    """`small` is right on even queries, `large` on all; they cost 1 and 4."""
    return recorded(
        [
            {
                "small": [{"text": f"s{i}", "reward": float(i % 2 == 0), "cost": 1.0}],
                "large": [{"text": f"l{i}", "reward": 1.0, "cost": 4.0}],
            }
            for i in range(n)
        ]
    )


def asked(decided: list[RecordedSelection]) -> list[str]:
    return [d.selection.response.candidate if d.selection.response else "nobody" for d in decided]
