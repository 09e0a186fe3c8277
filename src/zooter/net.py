"""The modules that are trained: an encoder's embedding → a small head → one logit per candidate.

`Frozen` and `Finetune` are the two ways to train one; each says how to build it, what it reads and how it is optimised.
Both give the same thing in the end, an encoder folder and a head, so that everything after training knows one form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from zooter.encoder import Encoder, pooled
from zooter.errors import ConfigError


class Head(nn.Sequential):
    """(b, d) embeddings → (b, m) logits: one hidden layer of `width` units."""

    def __init__(self, d: int, width: int, m: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(d, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, m))
        self.shape = {"d": d, "width": width, "m": m}


class Net(nn.Module):
    """A head, with the encoder's weights before it when they are trained too."""

    def __init__(self, head: Head, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.head = head
        self.backbone = backbone

    def forward(self, *inputs: Tensor) -> Tensor:
        """(b, m) logits of embeddings (b, d), or of tokens (b, l) and their mask (b, l) when there is a backbone."""
        embeddings = inputs[0] if self.backbone is None else pooled(self.backbone, *inputs)
        return self.head(embeddings)


class Inputs(Protocol):
    """What a net reads, for all queries; `take` makes a batch of some rows."""

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]: ...


class Recipe(Protocol):
    """One way to train a net. `threads` is how many of the CPU's its steps gain from; None is all."""

    @property
    def epochs(self) -> int: ...

    @property
    def patience(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def threads(self) -> int | None: ...

    def build(self, encoder: Encoder, d: int, m: int) -> Net: ...

    def inputs(self, encoder: Encoder, texts: Sequence[str], embeddings: NDArray[np.float32]) -> Inputs: ...

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]: ...


@dataclass(frozen=True)
class EmbeddingInputs:
    """Embeddings (n, d) computed beforehand."""

    embeddings: Tensor

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self.embeddings[rows],)


@dataclass(frozen=True)
class TokenInputs:
    """Token ids of n queries, padded batch by batch."""

    encoder: Encoder
    ids: list[list[int]]

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return self.encoder.pad([self.ids[row] for row in rows])


@dataclass(frozen=True)
class Frozen:
    """Train the head only, on embeddings that are computed once.

    Attributes:
        width: hidden units of the head.
        dropout: share of hidden units dropped in training.
        lr, weight_decay: of AdamW, constant over training.
        epochs: passes over the training part at most; `patience` passes without a better validation loss end it.
        batch_size: queries per step.
        threads: steps this small get slower, not faster, when several threads share one.
    """

    width: int = 256
    dropout: float = 0.1
    lr: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 20
    patience: int = 5
    batch_size: int = 128
    threads: int | None = 1

    def __post_init__(self) -> None:
        _check(self)

    def build(self, encoder: Encoder, d: int, m: int) -> Net:
        return Net(Head(d, self.width, m, self.dropout))

    def inputs(self, encoder: Encoder, texts: Sequence[str], embeddings: NDArray[np.float32]) -> EmbeddingInputs:
        return EmbeddingInputs(torch.from_numpy(np.array(embeddings, dtype=np.float32)))

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        optimizer = AdamW(net.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, get_constant_schedule_with_warmup(optimizer, 0)


@dataclass(frozen=True)
class Finetune:
    """Train the encoder and the head together.

    Attributes:
        lr, weight_decay: of AdamW for the encoder; ZOOTER (App. B) has 1e-5 and 5e-7 for mdeberta-v3-base.
        head_lr: of the head, which starts from nothing and needs larger steps.
        warmup: share of the steps over which the rates rise; after that they fall to 0 in a line.
        width, dropout, epochs, patience, batch_size, threads: as in `Frozen`.
    """

    width: int = 256
    dropout: float = 0.1
    lr: float = 2e-5
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    epochs: int = 2
    patience: int = 2
    batch_size: int = 32
    threads: int | None = None

    def __post_init__(self) -> None:
        _check(self)

    def build(self, encoder: Encoder, d: int, m: int) -> Net:
        return Net(Head(d, self.width, m, self.dropout), encoder.backbone())

    def inputs(self, encoder: Encoder, texts: Sequence[str], embeddings: NDArray[np.float32]) -> TokenInputs:
        return TokenInputs(encoder, encoder.tokenize(texts))

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        assert net.backbone is not None
        groups: list[dict[str, Any]] = [
            {"params": net.backbone.parameters(), "lr": self.lr},
            {"params": net.head.parameters(), "lr": self.head_lr},
        ]
        optimizer = AdamW(groups, weight_decay=self.weight_decay)
        schedule = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)  # type: ignore[no-untyped-call]
        return optimizer, schedule


def _check(recipe: Frozen | Finetune) -> None:
    for name in ("width", "lr", "epochs", "patience", "batch_size"):
        value = getattr(recipe, name)
        if value <= 0:
            raise ConfigError(expected=f"net.{name} above 0", found=str(value), do=f"set net.{name}")
    if not 0.0 <= recipe.dropout < 1.0:
        raise ConfigError(expected="net.dropout in [0, 1)", found=str(recipe.dropout), do="set net.dropout=0.1")
