"""The modules that are trained: a query's features → one logit per candidate."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zooter.router.encoder import mean_pool
from zooter.router.text_features import text_features

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

    def tag_logits(self, features: Tensor) -> list[Tensor]:
        """For each view, (b, t) logits of its tags."""
        z = self.standardise(features)
        return [classify(z) for classify in self.classifiers]

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
        return torch.cat([mean_pool(self.backbone, tokens, mask, self.layers), looks], dim=-1)


def encoder_and_text_features(embeddings: NDArray[np.float32], texts: Sequence[str]) -> Tensor:
    """(n, d) what a head reads: embeddings, then surface features."""
    return torch.from_numpy(np.hstack([embeddings, text_features(texts)]).astype(np.float32))
