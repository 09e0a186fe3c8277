"""Predict by a trained net: logits, probabilities, and the features that its head reads."""

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from zooter.data.types import Floats, Ints
from zooter.router.net import Net
from zooter.training.inputs import Inputs


def predict_probabilities(net: Net, inputs: Inputs, rows: Ints) -> Floats:
    """Predict calibrated probabilities of being the best candidate, (len(rows), m).

    Args:
        net: in evaluation mode.
        inputs: of all queries.
        rows: row numbers; may be empty.
    """
    return logits_to_probabilities(net, predict_logits(net, inputs, rows))


def logits_to_probabilities(net: Net, logits: Floats) -> Floats:
    """Turn a net's logits (n, m) into calibrated probabilities of being the best candidate.

    Args:
        net: its head gives the two temperatures.
        logits: (n, m).
    """
    rewards = logits * float(net.head.temperature)  # expected rewards
    return np.asarray(softmax(rewards / float(net.head.calibration), axis=1))


@torch.inference_mode()
def predict_logits(net: Net, inputs: Inputs, rows: Ints, batch_size: int = 512) -> Floats:
    """Predict logits, (len(rows), m).

    Args:
        net: in evaluation mode.
        inputs: of all queries.
        rows: row numbers; may be empty.
        batch_size: queries at a time; changes nothing but memory.
    """
    logits = [net(*inputs.take(rows[i : i + batch_size].tolist())) for i in range(0, len(rows), batch_size)]
    return np.asarray(torch.cat(logits).double().numpy()) if logits else np.empty((0, net.head.shape["m"]))


@torch.inference_mode()
def compute_features(net: Net, inputs: Inputs, rows: Ints, batch_size: int = 512) -> Tensor:
    """Compute the head's input features, (len(rows), d), with the encoder as it is now.

    Args:
        net: in evaluation mode.
        inputs: of all queries.
        rows: row numbers, at least one.
        batch_size: queries at a time; changes nothing but memory.
    """
    parts = [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]
    return torch.cat([net.features(*inputs.take(part)) for part in parts])
