"""A router's choices in a standard architecture: BERT with a classification head, for whatever serves such models.

No standard architecture averages several layers' states, reads features of the text's surface and weighs tags, so this
is another net, distilled from the router: the encoder as it is, and one more layer of the same kind whose first token
looks at all others. It starts as the mean over tokens and is trained on the router's probabilities (KL divergence).
What that costs is measured on queries that neither has learned from.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, BertForSequenceClassification

from zooter.data.types import Floats, Ints
from zooter.errors import ConfigError, ExportError
from zooter.router.encoder import Encoder
from zooter.router.token_batches import length_batches

BATCH_TOKENS = 8_192
POOLED = 0.3  # of the mean over tokens, whose values are some units: tanh follows, and should not be flat


@dataclass(frozen=True)
class Student:
    """How the student learns: its last layer and its head; the encoder stays as it is.

    Attributes:
        lr, weight_decay: of AdamW; the rate falls to 0 in a line.
        classifier_lr: of the last linear map, which starts from nothing.
        epochs: passes over the training queries; the weights after the best one are kept.
        batch_size: queries per step.
        sharpness: power of the probabilities that it learns from. A router's are close to one another, and what it
            chooses is in their small differences; what the student says is brought back to the router's scale.
    """

    lr: float = 2e-4
    classifier_lr: float = 2e-3
    weight_decay: float = 0.01
    epochs: int = 8
    batch_size: int = 64
    sharpness: float = 15.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("lr", "classifier_lr", "epochs", "batch_size", "sharpness"):
            if getattr(self, name) <= 0:
                raise ConfigError(expected=f"student.{name} above 0", found=str(getattr(self, name)), do="correct it")

    def learn(self, encoder: Encoder, texts: Sequence[str], probs: Floats, names: Sequence[str], val: Ints) -> Any:
        """A `BertForSequenceClassification` that says of texts (n) what a router says, probs (n, m) of `names`.

        Args:
            val: rows that choose the best pass and are not trained on.

        Raises:
            ExportError: the encoder is not a BERT.
        """
        torch.manual_seed(self.seed)
        model = _begin(encoder, names)
        sharp = probs**self.sharpness
        shown = _StudentData.of(encoder, model, texts, sharp / sharp.sum(axis=1, keepdims=True))
        top, train = _LastLayer(model), np.setdiff1d(np.arange(len(texts)), val)
        groups = [
            {"params": [*top.layer.parameters(), *top.pooler.parameters()], "lr": self.lr},
            {"params": top.classifier.parameters(), "lr": self.classifier_lr},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay)
        steps = -(-len(train) // self.batch_size)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-6, self.epochs * steps)
        rng, best, kept = np.random.default_rng(self.seed), np.inf, copy.deepcopy(top.state_dict())
        for _ in range(self.epochs):
            top.train()
            for rows in np.array_split(rng.permutation(train), steps):
                optimizer.zero_grad()
                shown.loss(top, rows).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            top.eval()
            with torch.no_grad():
                parts = np.array_split(val, -(-len(val) // self.batch_size))
                found = sum(float(shown.loss(top, rows)) * len(rows) for rows in parts) / len(val)
            if found < best:
                best, kept = found, copy.deepcopy(top.state_dict())
        top.load_state_dict(kept)
        for parameter in model.classifier.parameters():
            parameter.data /= self.sharpness
        return model.eval()


@torch.inference_mode()
def predict_proba(model: Any, encoder: Encoder, texts: Sequence[str]) -> Floats:
    """(n, m) probabilities that a student gives."""
    ids = encoder.tokenize(texts)
    found = np.empty((len(texts), int(model.config.num_labels)))
    for rows in length_batches([len(row) for row in ids], BATCH_TOKENS):
        tokens, mask = encoder.pad([ids[i] for i in rows])
        found[rows] = model(input_ids=tokens, attention_mask=mask).logits.double().softmax(dim=-1).numpy()
    return found


def write(folder: Path, model: Any, encoder: Encoder) -> None:
    """A folder that `transformers.pipeline("text-classification")` loads."""
    model.save_pretrained(folder)
    tokenizer = copy.copy(encoder.tokenizer)
    tokenizer.model_max_length = encoder.max_length
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class _StudentData:
    """What the student's last layer learns from: states (tokens, d) of all texts in a row, where each text's begin and
    end, and the router's probabilities (n, m)."""

    states: Tensor
    ends: Ints
    target: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, encoder: Encoder, model: Any, texts: Sequence[str], probs: Floats) -> "_StudentData":
        ids = encoder.tokenize(texts)
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        for rows in length_batches([len(row) for row in ids], BATCH_TOKENS):
            tokens, mask = encoder.pad([ids[i] for i in rows])
            states = model.bert(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
            for i, state in zip(rows, states, strict=True):
                found[i] = state[: len(ids[i])].half()
        ends = np.cumsum([len(row) for row in ids])
        return cls(torch.cat(found).clone(), ends, torch.from_numpy(probs).float())

    def loss(self, top: nn.Module, rows: Ints) -> Tensor:
        """Mean KL divergence from what the router says of some rows, up to its own entropy."""
        states = [self.states[self.ends[i - 1] if i else 0 : self.ends[i]].float() for i in rows]
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(state), dtype=torch.bool) for state in states], True)
        logits: Tensor = top(nn.utils.rnn.pad_sequence(states, True), mask)
        return -(self.target[rows] * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


class _LastLayer(nn.Module):
    """The last layer at the first token alone, the pooler and the classifier of a model, whose weights these are."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layer, self.pooler = model.bert.encoder.layer[-1], model.bert.pooler
        self.dropout, self.classifier = model.dropout, model.classifier

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(b, m) logits of the states (b, l, d) before the last layer."""
        layer = cast(Any, self.layer)
        attention = layer.attention.self

        def heads(x: Tensor) -> Tensor:
            return x.reshape(*x.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)

        first = states[:, :1]
        seen = nn.functional.scaled_dot_product_attention(
            heads(attention.query(first)), heads(attention.key(states)), heads(attention.value(states)),
            attn_mask=mask[:, None, None, :],
        )  # fmt: skip
        attended = layer.attention.output(seen.transpose(1, 2).flatten(2), first)
        out = layer.output(layer.intermediate(attended), attended)
        found: Tensor = self.classifier(self.dropout(self.pooler(out)))
        return found


def _begin(encoder: Encoder, names: Sequence[str]) -> Any:
    """The encoder, and a layer that starts as the mean over tokens under a classifier that starts at nothing."""
    config: Any = AutoConfig.from_pretrained(encoder.folder, local_files_only=True)
    if config.model_type != "bert":
        raise ExportError(
            expected=f"a BERT encoder in {encoder.model}", found=config.model_type, do="serve the ONNX form instead"
        )
    backbone: Any = encoder.backbone()
    config.num_hidden_layers += 1
    config.id2label, config.label2id = dict(enumerate(names)), {name: j for j, name in enumerate(names)}
    config.problem_type = "single_label_classification"
    model: Any = BertForSequenceClassification(config)
    model.bert.embeddings.load_state_dict(backbone.embeddings.state_dict())
    for mine, theirs in zip(model.bert.encoder.layer, backbone.encoder.layer, strict=False):
        mine.load_state_dict(theirs.state_dict())
    last = model.bert.encoder.layer[-1]
    for weight in (
        last.attention.self.value.weight,
        last.attention.output.dense.weight,
        model.bert.pooler.dense.weight,
    ):
        nn.init.eye_(weight)
    model.bert.pooler.dense.weight.data *= POOLED
    for weight in (last.attention.self.query.weight, last.output.dense.weight, model.classifier.weight):
        nn.init.zeros_(weight)
    return model.eval()
