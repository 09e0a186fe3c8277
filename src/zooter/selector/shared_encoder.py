"""Selectors that read the same texts with the same encoder: each text is embedded once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter.router.encoder import Encoder
from zooter.selector.protocol import Selector


@dataclass(frozen=True, eq=False)
class CachedEmbedder:
    """An encoder that keeps in memory what it has embedded, for several that read the same texts.

    Attributes:
        kept: text → embedding (d,).
    """

    encoder: Encoder
    kept: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        """(n, d) as the encoder's own, which is asked for texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self.kept]
        if new or not texts:
            self.kept.update(zip(new, found := self.encoder.embed(new, cache), strict=True))
            if len(new) == len(texts):
                return found
        return np.stack([self.kept[text] for text in texts])


def share_encoders(selectors: Mapping[str, Selector]) -> dict[str, Selector]:
    """The selectors, of which those with equal encoders have one that embeds a text once for all of them."""
    one: dict[Encoder, CachedEmbedder] = {}
    found: dict[str, Selector] = {}
    for name, selector in selectors.items():
        encoder = getattr(selector, "encoder", None)
        if is_dataclass(selector) and isinstance(encoder, Encoder):
            selector = replace(selector, encoder=one.setdefault(encoder, CachedEmbedder(encoder)))
        found[name] = selector
    return found
