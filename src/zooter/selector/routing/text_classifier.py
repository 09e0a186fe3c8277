"""A question about texts that is answered by a probability: HybridLLM's router and FrugalGPT's scorers are these.

The net is the part of our own that tells tags apart: a linear classifier on standardised features of the frozen encoder
and of the text's surface. The authors fine-tune a DeBERTa or a DistilBERT for each; with one net for all, selectors
differ in what they learn and not in what they learn it with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.router.encoder import Embedder
from zooter.router.net import Head, encoder_and_text_features
from zooter.training.closed_form import fit_classifier
from zooter.training.head_init import init_head


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """Texts → the probability of yes."""

    encoder: Embedder
    head: Head
    linear: nn.Linear

    @classmethod
    def fit(cls, encoder: Embedder, texts: Sequence[str], yes: Floats, cache: Path | None = None) -> "TextClassifier":
        """Least cross-entropy to soft labels `yes` (n,) in [0, 1]; embeddings of these texts are kept under `cache`."""
        read = encoder_and_text_features(encoder.embed(texts, cache), texts)
        head = init_head(read, Rewards(yes[:, None], ("yes",)), [], 1.0, width=1, dropout=0.0)
        linear = nn.Linear(read.shape[1], 2)
        labels = Tags(sp.csr_array(np.stack([yes, 1.0 - yes], axis=1)), ("yes", "no"))
        fit_classifier(linear, head.standardise(read), labels)
        return cls(encoder, head.eval(), linear)

    @torch.inference_mode()
    def probability(self, texts: Sequence[str], cache: Path | None = None) -> Floats:
        """(n,) of yes."""
        if not texts:
            return np.empty(0)
        z = self.head.standardise(encoder_and_text_features(self.encoder.embed(texts, cache), texts))
        return np.asarray(self.linear(z).softmax(dim=-1)[:, 0].double().numpy())
