"""Compute the losses of the distillation, over masked logits and averaged over the queries of a batch.

z is the router's distribution Z_θ(q), the softmax of its logits over the candidates that have a reward; s is the label
(s*(q) of `labels`) and r the reward. ZOOTER (arXiv 2311.08692, §3.2) minimises the mean of KLD(Z_θ(q), s*(q)) and does
not say which argument of the divergence comes first: `ForwardKL` and `ReverseKL` are the two readings.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zooter.data.component import component


class Objective(Protocol):
    """Compute a loss from a batch of b queries and m candidates."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean loss over the queries, a scalar.

        Args:
            logits: (b, m) the net's.
            labels: (b, m); rows sum to 1, 0 where there is no reward.
            rewards: (b, m); any number where there is none.
            mask: (b, m) bool, True where there is a reward.
        """
        ...


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Compute log z over the observed candidates.

    Args:
        logits: (b, m).
        mask: (b, m) bool, True where observed.

    Returns:
        (b, m); elsewhere a large negative but finite number, so that 0·log z is 0.
    """
    return F.log_softmax(logits.masked_fill(~mask, -1e9), dim=-1)


@component
class ForwardKL:
    """Compute KL(s‖z) = Σ_i s_i·(log s_i − log z_i); 0 when z = s.

    The usual direction of distillation, and that of `torch.nn.functional.kl_div`.
    """

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the batch; arguments as in `Objective`."""
        log_z = masked_log_softmax(logits, mask)
        return (torch.xlogy(labels, labels) - labels * log_z).sum(dim=-1).mean()


@component
class ReverseKL:
    """Compute KL(z‖s) = Σ_i z_i·(log z_i − log s_i), ZOOTER's formula (§3.2) read literally; 0 when z = s.

    Attributes:
        floor: the least label. Without it the loss is infinite wherever a label is 0.
    """

    floor: float = 1e-4

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the batch; arguments as in `Objective`."""
        log_z = masked_log_softmax(logits, mask)
        terms = log_z.exp() * (log_z - labels.clamp_min(self.floor).log())
        return terms.masked_fill(~mask, 0.0).sum(dim=-1).mean()


@component
class CrossEntropy:
    """Compute −Σ_i s_i·log z_i; with `label.hard=true label.beta=1` the hard-label ablation of ZOOTER §4.3."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the batch; arguments as in `Objective`."""
        return -(labels * masked_log_softmax(logits, mask)).sum(dim=-1).mean()


@component
class ExpectedReward:
    """Compute −Σ_i z_i·r_i, the negative mean reward when candidates are drawn from z. Labels are not used."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the batch; arguments as in `Objective`."""
        z = masked_log_softmax(logits, mask).exp()
        return -(z * rewards.masked_fill(~mask, 0.0)).sum(dim=-1).mean()


@component
class BradleyTerry:
    """Compute the negative log-likelihood of pairwise preferences, with P(i is preferred to j) = σ(l_i − l_j).

    l are the logits, and i is preferred to j where r_i > r_j: the loss of that pair is −log σ(l_i − l_j). A tie counts
    as half a win of each, −½·log σ(l_i − l_j) − ½·log σ(l_j − l_i). It is averaged over the pairs of a query, and then
    over the queries with a pair. Labels are not used. Source: Bradley and Terry, "Rank analysis of incomplete block
    designs: I", Biometrika 39 (1952), with strengths exp(l) that depend on the query.
    """

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the queries with two rewards or more, 0 without any; arguments as in `Objective`."""
        values = rewards.masked_fill(~mask, 0.0)
        wins = (1 + torch.sign(values.unsqueeze(2) - values.unsqueeze(1))) / 2  # (b, m, m): 1, ½ or 0
        log_p = F.logsigmoid(logits.unsqueeze(2) - logits.unsqueeze(1))
        is_self = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        is_pair = mask.unsqueeze(2) & mask.unsqueeze(1) & ~is_self
        pairs = is_pair.sum(dim=(1, 2)) / 2  # each stands in both orders, and their losses add up to its own
        loss = -(wins * log_p).masked_fill(~is_pair, 0.0).sum(dim=(1, 2)) / pairs.clamp_min(1.0)
        return loss.sum() / (pairs > 0).sum().clamp_min(1)


def tag_cross_entropy(logits: Tensor, membership: Tensor) -> Tensor:
    """Compute the cross-entropy of tags, −Σ_t share_t·log p_t with p the softmax of the logits.

    Args:
        logits: (b, t).
        membership: (b, t), 1 where a query carries a tag; its tags share it equally.

    Returns:
        The mean over the queries that carry any tag; 0 where none does.
    """
    counts = membership.sum(dim=-1, keepdim=True)
    shares = membership / counts.clamp_min(1.0)
    return -(shares * F.log_softmax(logits, dim=-1)).sum() / (counts > 0).sum().clamp_min(1)
