"""What the distillation minimises: four losses over masked logits, averaged over the queries of a batch; and tags'.

In each, z is the router's distribution (softmax of the logits over candidates with a reward), s the label and r the
reward.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Objective(Protocol):
    """A loss. Shapes are (b, m); `mask` is True where there is a reward; labels are 0 where there is none."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor: ...


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """log z over the observed candidates; a large negative, finite number at the others, so that 0·log z is 0."""
    return F.log_softmax(logits.masked_fill(~mask, -1e9), dim=-1)


@dataclass(frozen=True)
class ForwardKL:
    """KL(s‖z) = Σ s·(log s − log z), the usual direction of distillation; 0 when z = s.

    ZOOTER §3.2 prints KLD(z, s) and does not say which argument comes first in the divergence; see `ReverseKL`.
    """

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        log_z = masked_log_softmax(logits, mask)
        return (torch.xlogy(labels, labels) - labels * log_z).sum(dim=-1).mean()


@dataclass(frozen=True)
class ReverseKL:
    """KL(z‖s) = Σ z·(log z − log s), ZOOTER's formula (§3.2) read literally; 0 when z = s.

    `floor` is the least label: log 0 would make the loss infinite wherever the label rules a candidate out.
    """

    floor: float = 1e-4

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        log_z = masked_log_softmax(logits, mask)
        terms = log_z.exp() * (log_z - labels.clamp_min(self.floor).log())
        return terms.masked_fill(~mask, 0.0).sum(dim=-1).mean()


@dataclass(frozen=True)
class CrossEntropy:
    """−Σ s·log z: with `label.hard=true label.beta=1` the paper's hard-label ablation (ZOOTER §4.3)."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return -(labels * masked_log_softmax(logits, mask)).sum(dim=-1).mean()


@dataclass(frozen=True)
class ExpectedReward:
    """−Σ z·r: the negative mean reward when candidates are drawn from z. Labels are not used."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        z = masked_log_softmax(logits, mask).exp()
        return -(z * rewards.masked_fill(~mask, 0.0)).sum(dim=-1).mean()


def tag_cross_entropy(logits: Tensor, carried: Tensor) -> Tensor:
    """−Σ share·log p: logits (b, t) against the tags (b, t) that each query carries, which share it equally.

    Averaged over the queries that carry any; 0 where none does.
    """
    counts = carried.sum(dim=-1, keepdim=True)
    shares = carried / counts.clamp_min(1.0)
    return -(shares * F.log_softmax(logits, dim=-1)).sum() / (counts > 0).sum().clamp_min(1)
