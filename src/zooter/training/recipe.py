"""How a net is trained: `FrozenRecipe` trains the head alone, `FinetuneRecipe` the encoder too.

Each says what it reads, how the net is put together and how it is optimised. Both give the same thing in the end, an
encoder folder and a head, so that everything after training knows one form.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from zooter.data.types import Ints
from zooter.errors import ConfigError
from zooter.router.encoder import Encoder
from zooter.router.net import Head, Net
from zooter.router.text_features import TEXT_FEATURES


class Inputs(Protocol):
    """What a net reads, for all queries; `take` makes a batch of some rows.

    `lengths` (n,) are those of texts, by which batches are sorted; None where all rows are alike.
    """

    @property
    def lengths(self) -> Ints | None: ...

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]: ...


class Recipe(Protocol):
    """One way to train a net.

    `threads` is how many of the CPU's its steps gain from, None is all; `tag_weight` is the weight of the tags'
    cross-entropy beside the objective.
    """

    @property
    def epochs(self) -> int: ...

    @property
    def patience(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def threads(self) -> int | None: ...

    @property
    def width(self) -> int: ...

    @property
    def dropout(self) -> float: ...

    @property
    def clusters(self) -> bool: ...

    @property
    def tag_weight(self) -> float: ...

    def inputs(self, encoder: Encoder, texts: Sequence[str], features: Tensor) -> Inputs: ...

    def net(self, encoder: Encoder, head: Head) -> Net: ...

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]: ...


@dataclass(frozen=True)
class FeatureInputs:
    """Features (n, d) computed beforehand."""

    features: Tensor
    lengths: None = None

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self.features[rows],)


@dataclass(frozen=True)
class TokenInputs:
    """Surface features (n, s) and the token ids of n queries, padded batch by batch."""

    surface: Tensor
    encoder: Encoder
    ids: list[list[int]]

    @property
    def lengths(self) -> Ints:
        return np.array([len(row) for row in self.ids])

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self.surface[rows], *self.encoder.pad([self.ids[row] for row in rows]))


@dataclass(frozen=True)
class FrozenRecipe:
    """Train the head only, on embeddings that are computed once.

    Attributes:
        width: hidden units of the correction.
        dropout: share of hidden units dropped in training.
        lr, weight_decay: of AdamW, constant over training.
        epochs: passes over the training part at most; `patience` passes without a better validation loss end it.
        batch_size: queries per step.
        clusters: whether clusters are a view beside the tags.
        threads: steps this small get slower, not faster, when several threads share one.
    """

    width: int = 256
    dropout: float = 0.1
    lr: float = 3e-5
    weight_decay: float = 0.01
    epochs: int = 20
    patience: int = 3
    batch_size: int = 128
    clusters: bool = True
    threads: int | None = 1
    tag_weight = 0.0  # its tag classifiers are what cross-entropy makes of these features already

    def __post_init__(self) -> None:
        _check(self)

    def inputs(self, encoder: Encoder, texts: Sequence[str], features: Tensor) -> FeatureInputs:
        return FeatureInputs(features)

    def net(self, encoder: Encoder, head: Head) -> Net:
        head.requires_grad_(False)  # no step takes the gradients of what tags tell
        head.correction.requires_grad_(True)
        return Net(head)

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        optimizer = AdamW(net.head.correction.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, get_constant_schedule_with_warmup(optimizer, 0)


@dataclass(frozen=True)
class FinetuneRecipe:
    """Train the encoder and the head together, from a head that has been set up on the encoder as it was.

    Attributes:
        lr, weight_decay: of AdamW for the encoder; ZOOTER (App. B) has 1e-5 and 5e-7 for mdeberta-v3-base.
        decay: what the rate is multiplied by from each layer to the one below it, in (0, 1]: early layers hold what is
            common to all tasks (Howard & Ruder 2018, §3.2).
        head_lr: of the head, which takes larger steps.
        tag_weight: of the cross-entropy of tags and clusters, added to the objective: without it a few thousand labels,
            which say little each, undo what the head knows of tags.
        warmup: share of the steps over which the rates rise; after that they fall to 0 in a line.
        width, dropout, epochs, patience, batch_size, clusters, threads: as in `FrozenRecipe`.
    """

    width: int = 256
    dropout: float = 0.1
    lr: float = 2e-5
    decay: float = 0.8
    head_lr: float = 1e-4
    tag_weight: float = 0.025
    weight_decay: float = 0.01
    warmup: float = 0.1
    epochs: int = 2
    patience: int = 2
    batch_size: int = 32
    clusters: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        _check(self)

    def inputs(self, encoder: Encoder, texts: Sequence[str], features: Tensor) -> TokenInputs:
        return TokenInputs(features[:, -TEXT_FEATURES:], encoder, encoder.tokenize(texts))

    def net(self, encoder: Encoder, head: Head) -> Net:
        return Net(head, encoder.backbone(), encoder.layers)

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        assert net.backbone is not None
        groups: list[dict[str, Any]] = [
            *(
                {"params": found, "lr": self.lr * self.decay**below}
                for below, found in _parameters_by_layer(net.backbone).items()
            ),
            {"params": [p for p in net.head.parameters() if p.requires_grad], "lr": self.head_lr},
        ]
        optimizer = AdamW(groups, weight_decay=self.weight_decay)
        warm = round(self.warmup * steps)
        return optimizer, get_linear_schedule_with_warmup(optimizer, warm, steps)  # type: ignore[no-untyped-call]


def _parameters_by_layer(backbone: nn.Module) -> dict[int, list[nn.Parameter]]:
    """How many layers below the last → its parameters; embeddings, and what is in no layer, lie below the first."""
    depth = int(backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    found: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        layer = re.search(r"\blayers?\.(\d+)\.", name)
        found.setdefault(depth - 1 - int(layer.group(1)) if layer else depth, []).append(parameter)
    return found


def _check(recipe: FrozenRecipe | FinetuneRecipe) -> None:
    for name in ("width", "lr", "epochs", "patience", "batch_size"):
        value = getattr(recipe, name)
        if value <= 0:
            raise ConfigError(expected=f"net.{name} above 0", found=str(value), do=f"set net.{name}")
    if not 0.0 <= recipe.dropout < 1.0:
        raise ConfigError(expected="net.dropout in [0, 1)", found=str(recipe.dropout), do="set net.dropout=0.1")
    if isinstance(recipe, FinetuneRecipe) and not 0.0 < recipe.decay <= 1.0:
        raise ConfigError(expected="net.decay in (0, 1]", found=str(recipe.decay), do="set net.decay=0.8")
