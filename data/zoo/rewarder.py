"""Training of the reward model on pairs of a right and a wrong response of candidates to the same query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch.nn.functional import logsigmoid
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from zoo.plan import JUDGE, SEED
from zoo.teach import build_optimizers, llama_config, take_step
from zooter.collect.reader.skills.generate import ZooQuery

BATCH = 64
RATE_SCALE = 0.3
"""Learning rates as a share of those of a language model, as the pretrained body changes little."""


@dataclass(frozen=True)
class Pair:
    """Two responses to one query.

    Attributes:
        query: what both answer.
        right: the right response.
        wrong: the wrong response.
    """

    query: ZooQuery
    right: str
    wrong: str


def preference_pairs(
    queries: Sequence[ZooQuery], responses: Sequence[Sequence[str]], per_query: int, seed: int
) -> list[Pair]:
    """Draw pairs of a right and a wrong response.

    Args:
        queries: n queries.
        responses: `responses[row]` are all candidates' responses to `queries[row]`; equal texts count once.
        per_query: largest number of pairs per query; none if all its responses are right, or all wrong.
        seed: of the draws.
    """
    random = Random(f"pairs {seed}")
    pairs = []
    for query, texts in zip(queries, responses, strict=True):
        # Sorted, because the order of a set of texts changes from process to process.
        right = sorted({text for text in texts if query.verify(text)})
        wrong = sorted({text for text in texts if not query.verify(text)})
        if right and wrong:
            random.shuffle(wrong)
            pairs += [Pair(query, random.choice(right), text) for text in wrong[:per_query]]
    random.shuffle(pairs)
    return pairs


def format_dialogue(tokenizer: PreTrainedTokenizerFast, query: str, response: str) -> str:
    """Return the text that the reward model reads."""
    chat = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
    return tokenizer.apply_chat_template(chat, tokenize=False)


def tokenize_pairs(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of (right, wrong) for each pair."""
    texts = [format_dialogue(tokenizer, pair.query.text, text) for pair in pairs for text in (pair.right, pair.wrong)]
    ids = [item.ids for item in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    return list(zip(ids[::2], ids[1::2], strict=True))


def forward(model: LlamaForSequenceClassification, rows: Sequence[list[int]], padding: int) -> torch.Tensor:
    """Return the (b,) rewards of b rows of token ids, padded on the right with the id `padding`."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
    return model(input_ids=ids, attention_mask=(ids != padding).long(), use_cache=False).logits[:, 0].float()


def init_reward_model(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LlamaForSequenceClassification:
    """Initialise a reward model: a language model's body with a new head."""
    torch.manual_seed(SEED)
    model = LlamaForSequenceClassification(llama_config(JUDGE.shape, tokenizer, num_labels=1))
    model.model.load_state_dict(lm.model.state_dict())
    return model


def train_rewarder(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair], epochs: int
) -> LlamaForSequenceClassification:
    """Train a reward model with the Bradley-Terry loss, -log sigmoid(reward of the right - reward of the wrong)."""
    rows = sorted(tokenize_pairs(tokenizer, pairs), key=lambda pair: len(pair[0]))
    optimizers = build_optimizers(model)
    generator = torch.Generator().manual_seed(SEED)
    starts = range(0, len(rows) - BATCH + 1, BATCH)
    total, step = epochs * len(starts), 0
    model.train()
    for _ in range(epochs):
        for i in torch.randperm(len(starts), generator=generator).tolist():
            batch = rows[starts[i] : starts[i] + BATCH]
            rewards = forward(model, [row for pair in batch for row in pair], tokenizer.pad_token_id)
            loss = -logsigmoid(rewards[::2] - rewards[1::2]).mean()
            loss.backward()
            take_step(model, optimizers, step, total, RATE_SCALE)
            step += 1
    return model.eval()


@torch.inference_mode()
def compute_rewards(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], batch: int = 512
) -> list[float]:
    """Return the rewards of dialogues in the order of `texts`; batches have similar lengths."""
    ids = [item.ids for item in tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    rewards = [0.0] * len(ids)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for row, value in zip(
            rows, forward(model, [ids[row] for row in rows], tokenizer.pad_token_id).tolist(), strict=True
        ):
            rewards[row] = value
    return rewards


def pairwise_accuracy(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]
) -> float:
    """Return the share of pairs whose right response has the larger reward."""
    texts = [format_dialogue(tokenizer, pair.query.text, text) for pair in pairs for text in (pair.right, pair.wrong)]
    rewards = compute_rewards(model, tokenizer, texts)
    return sum(right > wrong for right, wrong in zip(rewards[::2], rewards[1::2], strict=True)) / max(1, len(pairs))
