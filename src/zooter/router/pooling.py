"""Pool the token states of a transformers model into one embedding of a text."""

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "cls", "last_token"]


def pool_states(
    backbone: nn.Module,
    tokens: Tensor,
    mask: Tensor,
    layers: tuple[int, ...] = (-1,),
    pooling: Pooling = "mean",
) -> Tensor:
    """Pool the hidden states of real tokens in each layer, and concatenate what results.

    Args:
        backbone: a transformers encoder of width d.
        tokens: (b, l) token ids, padded at the end.
        mask: (b, l), 1 for real tokens.
        layers: numbers of the k layers; 0 is the input's states, −1 the last layer's.
        pooling: "mean" over tokens, or the state of the first ("cls") or of the last real token ("last_token").

    Returns:
        (b, k · d); zeros for the mean of rows without a real token.
    """
    states = backbone(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    if pooling == "cls":
        return torch.cat([states[layer][:, 0] for layer in layers], dim=-1)
    weight = mask.unsqueeze(-1).to(states[0].dtype)
    if pooling == "last_token":
        weight = weight * (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)).unsqueeze(-1)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
    return torch.cat([(states[layer] * weight).sum(dim=1) for layer in layers], dim=-1)
