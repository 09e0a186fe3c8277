from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter.router.encoder import Encoder
from zooter.selector.baseline.knn import KnnSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.routing.hybrid import HybridSelector
from zooter.selector.shared_encoder import CachedEmbedder, share_encoders


@dataclass(frozen=True)
class Lengths(Encoder):
    """The embedding of a text is its length; remembers what it was asked for."""

    asked: list[list[str]] = field(default_factory=list, compare=False)

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float32).reshape(-1, 1)


def test_a_text_is_embedded_once_and_every_row_gets_its_own() -> None:
    encoder = Lengths()
    remembered = CachedEmbedder(encoder)
    assert remembered.embed(["aa", "b", "aa"]).tolist() == [[2.0], [1.0], [2.0]]
    assert remembered.embed(["ccc", "b"]).tolist() == [[3.0], [1.0]]
    assert encoder.asked == [["aa", "b"], ["ccc"]]


def test_no_text_at_all_is_left_to_the_encoder() -> None:
    assert CachedEmbedder(Lengths()).embed([]).shape == (0, 1)


def test_selectors_share_equal_encoders_and_no_others() -> None:
    first, other = Encoder(), Encoder(max_length=64)
    shared = share_encoders(
        {
            "knn": KnnSelector(encoder=first),
            "hybrid": HybridSelector(encoder=Encoder()),
            "short": KnnSelector(encoder=other),
            "single": SingleSelector("a"),
        }
    )
    knn, hybrid, short = shared["knn"], shared["hybrid"], shared["short"]
    assert isinstance(knn, KnnSelector)
    assert isinstance(hybrid, HybridSelector)
    assert isinstance(short, KnnSelector)
    assert knn.encoder is hybrid.encoder
    assert short.encoder is not knn.encoder
    assert shared["single"] == SingleSelector("a")
