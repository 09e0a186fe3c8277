"""Fine-tune the encoder for a selector's own question, as HybridLLM, FrugalGPT and Routing were published.

Default selectors learn on one frozen encoder for all (`text_classifier`), which is fast and compares what they learn
rather than their nets. Here each has a copy of the encoder and one linear layer, trained together with AdamW and a rate
that falls linearly to 0, as transformers' trainer does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from transformers import get_linear_schedule_with_warmup

from zooter.data.component import Fraction, component
from zooter.data.response_table import ResponseTable
from zooter.data.types import Floats, Query
from zooter.errors import ConfigError
from zooter.router.encoder import Embedder, Encoder
from zooter.router.pooling import pool_states
from zooter.selector.shared_encoder import CachedEmbedder

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class FinetunedNet:
    """An encoder and a linear layer that were trained together.

    Attributes:
        encoder: tokenises, and says which layers are pooled.
        backbone: its trained copy.
        linear: k outputs.
        batch_size: texts at a time.
    """

    encoder: Encoder
    backbone: nn.Module
    linear: nn.Linear
    batch_size: int = 32

    def forward(self, ids: Sequence[list[int]]) -> Tensor:
        """Compute the outputs (b, k) of b tokenised texts."""
        tokens, mask = (part.to(self.linear.weight.device) for part in self.encoder.pad(ids))
        pooled = pool_states(self.backbone, tokens, mask, self.encoder.layers, self.encoder.pooling)
        output: Tensor = self.linear(pooled)
        return output

    @torch.inference_mode()
    def outputs(self, texts: Sequence[str]) -> Tensor:
        """Compute the outputs (n, k) of n texts."""
        ids = self.encoder.tokenize(texts)
        parts = [self.forward(ids[i : i + self.batch_size]).cpu() for i in range(0, len(ids), self.batch_size)]
        return torch.cat(parts) if parts else torch.empty(0, self.linear.out_features)


@dataclass(frozen=True, eq=False)
class FinetunedClassifier:
    """Predict the probability of "yes" from a text; in the place of a `TextClassifier`."""

    net: FinetunedNet

    def probability(self, texts: Sequence[str], cache: Path | None = None) -> Floats:
        """Return the probabilities (n,) of yes; nothing is kept in the cache, which is of the frozen encoder."""
        return np.asarray(self.net.outputs(texts)[:, 0].sigmoid().double().numpy())


@dataclass(frozen=True, eq=False)
class FinetunedPredictor:
    """Predict each candidate's reward from a query; an `Estimator`, in the place of a `RewardPredictor`."""

    net: FinetunedNet
    means: Floats
    candidates: tuple[str, ...]
    name: str = "predictor"
    fee: float = 0.0

    def estimate(self, queries: Sequence[Query]) -> Floats:
        """Return the expected rewards (n, m)."""
        return np.asarray(self.net.outputs([query.text for query in queries]).double().numpy() + self.means)


@component
class Finetuning:
    """Train a copy of a selector's encoder with a linear layer. The defaults are those of HybridLLM's released code.

    Attributes:
        lr, weight_decay: of AdamW.
        warmup: share of the steps over which the rate rises.
        epochs: passes over the training rows.
        batch_size: texts a step.
        seed: of the linear layer, the order of texts and dropout.
    """

    lr: PositiveFloat = 1e-5
    weight_decay: NonNegativeFloat = 0.1
    warmup: Fraction = 0.05
    epochs: PositiveInt = 5
    batch_size: PositiveInt = 32
    seed: int = 0

    def classifier(self, embedder: Embedder, texts: Sequence[str], yes: Floats) -> FinetunedClassifier:
        """Fit a classifier by cross-entropy to soft labels.

        Args:
            embedder: an encoder of transformers.
            texts: n training texts.
            yes: (n,) labels in [0, 1].
        """
        targets = torch.from_numpy(yes[:, None]).float()
        return FinetunedClassifier(self._fit(embedder, texts, targets, F.binary_cross_entropy_with_logits))

    def predictor(self, embedder: Embedder, training: ResponseTable) -> FinetunedPredictor:
        """Fit the candidates' rewards by least squares, without the cells that have none.

        Args:
            embedder: an encoder of transformers.
            training: rows with rewards.
        """
        rewards = training.rewards()
        means = np.nan_to_num(rewards.column_means())
        targets = torch.from_numpy(rewards.values - means).float()
        return FinetunedPredictor(self._fit(embedder, training.texts, targets, F.mse_loss), means, rewards.candidates)

    def _fit(self, embedder: Embedder, texts: Sequence[str], targets: Tensor, loss: Loss) -> FinetunedNet:
        """Train on n texts and their targets (n, k), NaN where there is none."""
        encoder = underlying_encoder(embedder)
        available = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(available if encoder.device == "auto" else encoder.device)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            backbone = encoder.backbone().to(device).train()
            width = int(backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]
            linear = nn.Linear(width * len(encoder.layers), targets.shape[1]).to(device)
            net = FinetunedNet(encoder, backbone, linear, self.batch_size)
            self._train(net, encoder.tokenize(texts), targets.to(device), loss)
        backbone.eval()
        return net

    def _train(self, net: FinetunedNet, ids: Sequence[list[int]], targets: Tensor, loss: Loss) -> None:
        parameters = [*net.backbone.parameters(), *net.linear.parameters()]
        optimizer = AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        steps = self.epochs * -(-len(ids) // self.batch_size)
        schedule = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)
        for rows in self._batches(len(ids)):
            observed = ~targets[rows].isnan()
            if not observed.any():
                continue
            optimizer.zero_grad()
            loss(net.forward([ids[row] for row in rows])[observed], targets[rows][observed]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()

    def _batches(self, n: int) -> Iterator[list[int]]:
        for _ in range(self.epochs):
            order = torch.randperm(n).tolist()
            yield from (order[i : i + self.batch_size] for i in range(0, n, self.batch_size))


def underlying_encoder(embedder: Embedder) -> Encoder:
    """Return the encoder whose weights can be trained.

    Args:
        embedder: of a selector, with or without a cache around it.

    Raises:
        ConfigError: it is no encoder of transformers.
    """
    encoder = embedder.encoder if isinstance(embedder, CachedEmbedder) else embedder
    if not isinstance(encoder, Encoder):
        raise ConfigError(
            expected="an encoder of transformers for selector.net=finetune", found=type(encoder).__name__,
            do="set selector.net=frozen, or another encoder",
        )  # fmt: skip
    return encoder
