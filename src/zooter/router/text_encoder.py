"""The encoders that a router may have, and how an export's copy of one is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zooter.router.encoder import Encoder
from zooter.router.ngram_encoder import NgramEncoder
from zooter.router.ngrams import NGRAMS

TextEncoder = Encoder | NgramEncoder


def read_encoder(folder: Path, config: Mapping[str, Any], device: str) -> TextEncoder:
    """Read an export's copy of its encoder, which embeds in float32.

    Args:
        folder: of the encoder, inside the export.
        config: what the export's manifest says of it (`config` of the encoder).
        device: where a transformer computes embeddings: "cpu", "cuda" or "auto".
    """
    if config["model"] == NGRAMS:
        return NgramEncoder.read(folder)
    pooling, prefix = config.get("pooling", "mean"), config.get("prefix", "")  # exports of earlier versions have none
    return Encoder(
        str(folder), None, config["max_length"], tuple(config["layers"]), pooling, prefix,
        device=device, precision="float32",
    )  # fmt: skip
