"""The modules that are trained: a query's features → one logit per candidate.

`Frozen` and `Finetune` are the two ways to train one; each says what it reads, how it is put together and how it is
optimised. Both give the same thing in the end, an encoder folder and a head, so that everything after training knows
one form.
"""

import re
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
from zooter.surface import SIZE, surface
from zooter.types import Ints

CLIP = 8.0  # standard deviations; farther out a feature says no more


class Head(nn.Module):
    """(b, d) features → (b, m) logits: rewards expected from the tags that a query seems to carry, and a correction.

    A view is a set of tags: the table's, or clusters. For each, a linear classifier gives the query's probabilities of
    its tags, and these weigh the tags' mean rewards; views are averaged. The correction is a small network that starts
    at zero, so that training starts from what tags can tell, and a linear map of what they leave open (`residual`), of
    which each tag of the first view takes its share.
    Logits are rewards divided by the labels' temperature: their softmax is on the scale of the labels. Rewards divided
    by `calibration` are the logits of probabilities that say how often a candidate is the best.

    Args:
        d, m: features and candidates.
        views: the number of tags of each view; none leaves the correction alone.
        width: hidden units of the correction.
    """

    mean: Tensor
    scale: Tensor
    overall: Tensor
    temperature: Tensor
    residual: Tensor
    shares: Tensor
    calibration: Tensor

    def __init__(self, d: int, m: int, views: Sequence[int], width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = {"d": d, "m": m, "views": list(views), "width": width}
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.register_buffer("overall", torch.zeros(m))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("residual", torch.zeros(m, d))
        self.register_buffer("shares", torch.ones(views[0] if len(views) else 0))
        self.register_buffer("calibration", torch.ones(()))
        self.classifiers = nn.ModuleList(nn.Linear(d, tags) for tags in views)
        self.rewards = nn.ParameterList(nn.Parameter(torch.zeros(tags, m), requires_grad=False) for tags in views)
        last = nn.Linear(width, m)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.correction = nn.Sequential(nn.Linear(d, width), nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, features: Tensor) -> Tensor:
        """(b, m) logits."""
        return self.expected(features) / self.temperature

    def expected(self, features: Tensor) -> Tensor:
        """(b, m) expected rewards; the correction moves candidates against each other, not all of them."""
        z = self.standardise(features)
        correction = self.correction(z)
        moved = self.temperature * (correction - correction.mean(dim=-1, keepdim=True))
        return self.from_tags(z) + self.share(z) * (z @ self.residual.T) + moved

    def from_tags(self, z: Tensor) -> Tensor:
        """(b, m) rewards expected from a query's probable tags alone; `z` are standardised features."""
        if not len(self.classifiers):
            return self.overall.expand(len(z), -1)
        pairs = zip(self.classifiers, self.rewards, strict=True)
        return torch.stack([classify(z).softmax(dim=-1) @ rewards for classify, rewards in pairs]).mean(dim=0)

    def tags(self, features: Tensor) -> Tensor:
        """(b, t) probabilities of the tags of the first view; t = 0 without any."""
        return self._probable(self.standardise(features))

    def share(self, z: Tensor) -> Tensor:
        """(b, 1): what a query takes of the residual, by its probable tags of the first view."""
        return (self._probable(z) @ self.shares)[:, None] if len(self.shares) else torch.ones_like(z[:, :1])

    def _probable(self, z: Tensor) -> Tensor:
        found: Tensor = self.classifiers[0](z).softmax(dim=-1) if len(self.classifiers) else z[:, :0]
        return found

    def standardise(self, features: Tensor) -> Tensor:
        """Features in standard deviations of the training queries, clipped."""
        return ((features - self.mean) / self.scale).clamp(-CLIP, CLIP)


class Net(nn.Module):
    """A head, with the encoder's weights before it when they are trained too."""

    def __init__(self, head: Head, backbone: nn.Module | None = None, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.head = head
        self.backbone = backbone
        self.layers = layers

    def forward(self, *inputs: Tensor) -> Tensor:
        """(b, m) logits of features (b, d); or of surface (b, s), tokens (b, l) and mask (b, l) with a backbone."""
        found: Tensor = self.head(self.features(*inputs))
        return found

    def features(self, *inputs: Tensor) -> Tensor:
        """(b, d) what the head reads of the same inputs: embeddings, then surface features."""
        if self.backbone is None:
            return inputs[0]
        looks, tokens, mask = inputs
        return torch.cat([pooled(self.backbone, tokens, mask, self.layers), looks], dim=-1)


def features(embeddings: NDArray[np.float32], texts: Sequence[str]) -> Tensor:
    """(n, d) what a head reads: embeddings, then surface features."""
    return torch.from_numpy(np.hstack([embeddings, surface(texts)]).astype(np.float32))


class Inputs(Protocol):
    """What a net reads, for all queries; `take` makes a batch of some rows.

    `lengths` (n,) are those of texts, by which batches are sorted; None where all rows are alike.
    """

    @property
    def lengths(self) -> Ints | None: ...

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

    @property
    def width(self) -> int: ...

    @property
    def dropout(self) -> float: ...

    @property
    def clusters(self) -> bool: ...

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
class Frozen:
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

    def __post_init__(self) -> None:
        _check(self)

    def inputs(self, encoder: Encoder, texts: Sequence[str], features: Tensor) -> FeatureInputs:
        return FeatureInputs(features)

    def net(self, encoder: Encoder, head: Head) -> Net:
        return Net(head)

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        optimizer = AdamW(net.head.correction.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, get_constant_schedule_with_warmup(optimizer, 0)


@dataclass(frozen=True)
class Finetune:
    """Train the encoder and the head together, from a head that has been set up on the encoder as it was.

    Attributes:
        lr, weight_decay: of AdamW for the encoder; ZOOTER (App. B) has 1e-5 and 5e-7 for mdeberta-v3-base.
        decay: what the rate is multiplied by from each layer to the one below it, in (0, 1]: early layers hold what is
            common to all tasks (Howard & Ruder 2018, §3.2).
        head_lr: of the head, which takes larger steps.
        warmup: share of the steps over which the rates rise; after that they fall to 0 in a line.
        width, dropout, epochs, patience, batch_size, clusters, threads: as in `Frozen`.
    """

    width: int = 256
    dropout: float = 0.1
    lr: float = 2e-5
    decay: float = 0.8
    head_lr: float = 3e-5
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
        return TokenInputs(features[:, -SIZE:], encoder, encoder.tokenize(texts))

    def net(self, encoder: Encoder, head: Head) -> Net:
        return Net(head, encoder.backbone(), encoder.layers)

    def optimise(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        assert net.backbone is not None
        groups: list[dict[str, Any]] = [
            *({"params": found, "lr": self.lr * self.decay**below} for below, found in _by_layer(net.backbone).items()),
            {"params": [p for p in net.head.parameters() if p.requires_grad], "lr": self.head_lr},
        ]
        optimizer = AdamW(groups, weight_decay=self.weight_decay)
        warm = round(self.warmup * steps)
        return optimizer, get_linear_schedule_with_warmup(optimizer, warm, steps)  # type: ignore[no-untyped-call]


def _by_layer(backbone: nn.Module) -> dict[int, list[nn.Parameter]]:
    """How many layers below the last → its parameters; embeddings, and what is in no layer, lie below the first."""
    depth = int(backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    found: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        layer = re.search(r"\blayers?\.(\d+)\.", name)
        found.setdefault(depth - 1 - int(layer.group(1)) if layer else depth, []).append(parameter)
    return found


def _check(recipe: Frozen | Finetune) -> None:
    for name in ("width", "lr", "epochs", "patience", "batch_size"):
        value = getattr(recipe, name)
        if value <= 0:
            raise ConfigError(expected=f"net.{name} above 0", found=str(value), do=f"set net.{name}")
    if not 0.0 <= recipe.dropout < 1.0:
        raise ConfigError(expected="net.dropout in [0, 1)", found=str(recipe.dropout), do="set net.dropout=0.1")
    if isinstance(recipe, Finetune) and not 0.0 < recipe.decay <= 1.0:
        raise ConfigError(expected="net.decay in (0, 1]", found=str(recipe.decay), do="set net.decay=0.8")
