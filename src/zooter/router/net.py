"""The default net: features of a query → one logit per candidate.

The features (b, d) of a batch of queries are their embeddings followed by their text features. `Head` computes, with
m candidates and any number of tag sets (the table's tags, and clusterings of the queries),

    z                 = clip((features − mean) / scale, −CLIP, CLIP)                  (b, d)
    p_k               = softmax(classifiers[k](z))                                    (b, t_k), for each tag set k
    tag_rewards       = mean over k of p_k @ rewards[k]                               (b, m)
    residual_weight   = p_0 @ shares                                                  (b, 1)
    centred           = correction(z) − mean over candidates of correction(z)         (b, m)
    expected_rewards  = tag_rewards + residual_weight · (z @ residualᵀ) + temperature · centred
    logits            = expected_rewards / temperature

- `classifiers[k]` are logistic regressions that predict a query's tags; `rewards[k]` (t_k, m) holds each tag's mean
  reward, shrunk towards `overall`; the difference from it is weighted by how well the set predicts rewards. This
  carries tag-based label enhancement (ZOOTER, arXiv 2311.08692, §3.2) from labels to the net.
- `residual` (m, d) is a ridge regression on z, which holds embeddings and text features, of what the tags leave
  unexplained: rewards − tag_rewards. `shares` (t_0) weights it for each tag.
- `correction` is a network with one hidden layer whose last layer starts at zero. Gradient steps train it on the KL
  divergence from the labels (ZOOTER, §3.2). Everything else is fitted before, in closed form or by L-BFGS
  (`zooter.training.head_init`), so that training starts from what tags and ridge predict.

An export returns softmax(expected_rewards / calibration), calibrated probabilities of being the best candidate.

Without tags, tag_rewards is `overall` and residual_weight is 1.

The paper fine-tunes an encoder instead (mdeberta-v3-base, ZOOTER §4.1): `Net` with a backbone trains its weights too.
Its own head is `zooter.router.linear_head`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zooter.router import linear_head
from zooter.router.linear_head import LinearHead
from zooter.router.pooling import Pooling, pool_states
from zooter.router.text_features import TEXT_FEATURES, text_features

CLIP = 8.0  # standard deviations at which standardised features are clipped


class Head(nn.Module):
    """Features (b, d) → logits (b, m), by the formula in the module's docstring.

    Attributes:
        mean, scale: (d,) mean and standard deviation of the training queries' features.
        overall: (m,) mean rewards over all training queries; the prediction of a head without tags.
        temperature: of the labels, in units of the reward: the softmax of logits is on the scale of the labels.
        residual: (m, d) ridge weights.
        shares: (t_0,) weight of the ridge for each tag of the first set; empty without tags.
        calibration: temperature of the probabilities that an export returns, in units of the reward.
        classifiers: one linear map d → t_k for each tag set.
        rewards: one matrix (t_k, m) of mean rewards for each tag set; not trained by gradient steps.
        correction: d → m, one hidden layer.
        shape: arguments of the constructor as JSON, to build an empty head from (`from_shape`).
    """

    summary = "tag classifiers, ridge and correction"
    mean: Tensor
    scale: Tensor
    overall: Tensor
    temperature: Tensor
    residual: Tensor
    shares: Tensor
    calibration: Tensor

    def __init__(self, d: int, m: int, tag_counts: Sequence[int], width: int, dropout: float = 0.0) -> None:
        """Make a head that predicts 0 for every candidate until it is fitted.

        Args:
            d: number of features.
            m: number of candidates.
            tag_counts: number of tags of each tag set; empty for a head without tags.
            width: hidden units of the correction.
            dropout: share of hidden units dropped in training, in [0, 1).
        """
        super().__init__()
        # "views", the tag sets, is a key of the export's format.
        self.shape: dict[str, Any] = {"d": d, "m": m, "views": list(tag_counts), "width": width}
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.register_buffer("overall", torch.zeros(m))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("residual", torch.zeros(m, d))
        self.register_buffer("shares", torch.ones(tag_counts[0] if len(tag_counts) else 0))
        self.register_buffer("calibration", torch.ones(()))
        self.classifiers = nn.ModuleList(nn.Linear(d, count) for count in tag_counts)
        tag_means = (torch.zeros(count, m) for count in tag_counts)
        self.rewards = nn.ParameterList(nn.Parameter(means, requires_grad=False) for means in tag_means)
        last = nn.Linear(width, m)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.correction = nn.Sequential(nn.Linear(d, width), nn.GELU(), nn.Dropout(dropout), last)

    @classmethod
    def from_shape(cls, shape: Mapping[str, Any]) -> "Head":
        """Make an empty head of a given `shape`, to load weights into.

        Raises:
            KeyError: an entry is missing.
        """
        return cls(shape["d"], shape["m"], shape["views"], shape["width"])

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits (b, m) of features (b, d)."""
        return self.expected_rewards(features) / self.temperature

    def expected_rewards(self, features: Tensor) -> Tensor:
        """Predict rewards (b, m) from features (b, d).

        The correction is centred: it changes differences between candidates, never all candidates alike.
        """
        z = self.standardise(features)
        correction = self.correction(z)
        centred = correction - correction.mean(dim=-1, keepdim=True)
        return self.tag_rewards(z) + self.residual_weight(z) * (z @ self.residual.T) + self.temperature * centred

    def tag_rewards(self, z: Tensor) -> Tensor:
        """Predict rewards (b, m) from the probable tags alone; `overall` without tags.

        Args:
            z: (b, d) standardised features.
        """
        if not len(self.classifiers):
            return self.overall.expand(len(z), -1)
        pairs = zip(self.classifiers, self.rewards, strict=True)
        return torch.stack([classify(z).softmax(dim=-1) @ rewards for classify, rewards in pairs]).mean(dim=0)

    def tag_probabilities(self, features: Tensor) -> Tensor:
        """Predict probabilities (b, t_0) of the tags of the first set; t_0 = 0 without tags."""
        return self._first_tag_set(self.standardise(features))

    def tag_logits(self, features: Tensor) -> list[Tensor]:
        """Compute logits (b, t_k) of the tags of each set from features (b, d)."""
        z = self.standardise(features)
        return [classify(z) for classify in self.classifiers]

    def residual_weight(self, z: Tensor) -> Tensor:
        """Weight of the ridge for each query (b, 1): `shares` averaged over its probable tags; 1 without tags.

        Args:
            z: (b, d) standardised features.
        """
        return (self._first_tag_set(z) @ self.shares)[:, None] if len(self.shares) else torch.ones_like(z[:, :1])

    def standardise(self, features: Tensor) -> Tensor:
        """Scale features (b, d) to standard deviations of the training queries, clipped to ±`CLIP`."""
        return ((features - self.mean) / self.scale).clamp(-CLIP, CLIP)

    def join_features(self, embeddings: NDArray[np.float32], texts: Sequence[str]) -> Tensor:
        """Join embeddings (n, e) and text features of the n texts; see `encoder_and_text_features`."""
        return encoder_and_text_features(embeddings, texts)

    def embeddings_of(self, features: Tensor) -> Tensor:
        """Select the embeddings (n, e) among the features (n, d)."""
        return features[:, :-TEXT_FEATURES]

    def _first_tag_set(self, z: Tensor) -> Tensor:
        probabilities: Tensor = self.classifiers[0](z).softmax(dim=-1) if len(self.classifiers) else z[:, :0]
        return probabilities


RouterHead = Head | LinearHead


def head_from_shape(shape: Mapping[str, Any]) -> RouterHead:
    """Make an empty head of the kind that a `shape` is of.

    Raises:
        KeyError: an entry is missing.
    """
    return LinearHead.from_shape(shape) if shape.get("kind") == linear_head.KIND else Head.from_shape(shape)


class Net(nn.Module):
    """A head, preceded by the encoder's model where its weights are trained too.

    Attributes:
        head: computes logits from features.
        backbone: the transformers model; None where embeddings are computed beforehand.
        layers: hidden states of the backbone that are pooled (`Encoder.layers`).
        pooling: how (`Encoder.pooling`).
    """

    def __init__(
        self,
        head: RouterHead,
        backbone: nn.Module | None = None,
        layers: tuple[int, ...] = (),
        pooling: Pooling = "mean",
    ) -> None:
        """Put `backbone` before `head`."""
        super().__init__()
        self.head = head
        self.backbone = backbone
        self.layers = layers
        self.pooling: Pooling = pooling

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute logits (b, m).

        Args:
            inputs: features (b, d) without a backbone; else text features (b, s), where the head reads them, token ids
                (b, l) and mask (b, l).
        """
        logits: Tensor = self.head(self.features(*inputs))
        return logits

    def features(self, *inputs: Tensor) -> Tensor:
        """Compute the head's features (b, d), embeddings then any text features, from the inputs of `forward`."""
        if self.backbone is None:
            return inputs[0]
        *surface, tokens, mask = inputs
        return torch.cat([pool_states(self.backbone, tokens, mask, self.layers, self.pooling), *surface], dim=-1)


def encoder_and_text_features(embeddings: NDArray[np.float32], texts: Sequence[str]) -> Tensor:
    """Join embeddings and text features into the features that a head reads.

    Args:
        embeddings: (n, e) of the texts.
        texts: n queries.

    Returns:
        (n, d) float32 with d = e + `TEXT_FEATURES`.
    """
    return torch.from_numpy(np.hstack([embeddings, text_features(texts)]).astype(np.float32))
