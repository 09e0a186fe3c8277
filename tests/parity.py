"""An encoder that a test can foresee: it sees whether a query's number is odd, and whether an answer says "wrong"."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter.encoder import Encoder


class ParityEncoder(Encoder):
    """Reads texts such as "query 7" and "query 7 an answer"."""

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        return np.array([[int(text.split()[1]) % 2, "wrong" in text] for text in texts], dtype=np.float32)
