"""Drawing tokens so that a response depends on its own cell alone, never on what else is in the batch.

Gumbel noise is added to the scores and the largest sum is taken, which draws from the softmax exactly. The noise of a
token is a hash of the cell's seed, the position and the token, so a run that was killed and continued in other batches
ends with the same responses.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, TopPLogitsWarper

from zooter.collect.responder.client.completion import FIRST_TOKENS, shared_first_token
from zooter.collect.responder.protocol import Sampling

# Odd constants of SplitMix64, as signed integers.
_STEP, _MIX, _MIX_AGAIN = -7046029254386353131, -4658895280553007687, -7723592293110705685
_BITS = 23  # a float32 holds all midpoints of 2²³ intervals, so that no draw is exactly 0 or 1


def gumbel(seeds: Tensor, position: int, width: int) -> Tensor:
    """(b, width) float32 standard Gumbel noise for (b,) int64 seeds at one position of the response."""
    tokens = torch.arange(width, device=seeds.device, dtype=torch.int64)
    start = _mixed(_mixed(seeds * _STEP) + position)
    bits = _mixed(start[:, None] + tokens[None, :] * _STEP)
    uniform = (_shift(bits, 64 - _BITS).float() + 0.5) * 2.0**-_BITS
    return -(-uniform.log()).log()


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX
    x = (x ^ _shift(x, 27)) * _MIX_AGAIN
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """To the right without dragging the sign along."""
    return (x >> by) & ((1 << (64 - by)) - 1)


class GumbelSampler(LogitsProcessor):
    """Given to `generate` with greedy decoding: temperature, top-p and the draw; it also keeps the first tokens."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int], length: int, labels: Mapping[str, Sequence[int]]):
        self.temperature = 1.0 if sampling.temperature is None else sampling.temperature
        self.warp = TopPLogitsWarper(sampling.top_p) if 0 < sampling.top_p < 1 else None
        self.seeds, self.length, self.labels = torch.tensor(list(seeds)), length, labels
        self.first: list[list[tuple[int, float]]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        position = input_ids.shape[1] - self.length
        scores = scores.float()
        if position == 0:
            self.first = likeliest_tokens(scores, self.labels)
        if self.temperature == 0:
            return scores
        scores = scores / self.temperature
        if self.warp is not None:
            scores = self.warp(input_ids, scores)
        return scores + gumbel(self.seeds.to(scores.device), position, scores.shape[1])


def likeliest_tokens(scores: Tensor, labels: Mapping[str, Sequence[int]]) -> list[list[tuple[int, float]]]:
    """For each row of (b, V) raw scores its likeliest tokens with their natural-log probabilities, likeliest first.

    With labels, all labels by their places instead, each with the log of the sum over its first tokens' probabilities.
    """
    logs = scores.log_softmax(dim=-1)
    if labels:
        logs = torch.stack([logs[:, list(tokens)].logsumexp(dim=1) for tokens in labels.values()], dim=1)
    best = logs.topk(logs.shape[1] if labels else min(FIRST_TOKENS, logs.shape[1]), dim=1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [[one for one in zip(*row, strict=True) if one[1] > -math.inf] for row in rows]


def label_tokens(tokenizer: object, labels: Sequence[str]) -> dict[str, list[int]]:
    """Label → the tokens that it may start with: as it is, and after a blank where that tells the labels apart.

    Raises:
        ConfigError: two labels share their first token.
    """
    encode = tokenizer.encode  # type: ignore[attr-defined]
    found: dict[int, str] = {}
    for label in labels:
        token = encode(label, add_special_tokens=False)[0]
        if token in found:
            shown = tokenizer.decode([token])  # type: ignore[attr-defined]
            raise shared_first_token(found[token], label, shown)
        found[token] = label
    tokens = {label: [token] for token, label in found.items()}
    spaced = {label: encode(" " + label, add_special_tokens=False)[0] for label in labels}
    # Some tokenizers make the blank a token of its own, which says nothing.
    if len(set(spaced.values())) == len(spaced) and all(found.get(t, name) == name for name, t in spaced.items()):
        for label, token in spaced.items():
            if token not in tokens[label]:
                tokens[label].append(token)
    return tokens
