"""Trains the reward model on pairs of the candidates' own responses, a right and a wrong one to the same query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch.nn.functional import logsigmoid
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from zoo.plan import JUDGE, SEED
from zoo.teach import llama_config, optimizers, update
from zooter.collect.reader.skills.generate import ZooQuery

BATCH = 64
RATE_SCALE = 0.3
"""Share of the rates a language model is taught with: its body is kept, not learnt again."""


@dataclass(frozen=True)
class Pair:
    """Two responses to one query."""

    query: ZooQuery
    right: str
    wrong: str


def preference_pairs(
    queries: Sequence[ZooQuery], responses: Sequence[Sequence[str]], per_query: int, seed: int
) -> list[Pair]:
    """Up to ``per_query`` pairs of each query; ``responses[row]`` are all candidates' responses to ``queries[row]``.

    Different texts only: a query that all got right, or all wrong, teaches nothing.
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


def dialogue(tokenizer: PreTrainedTokenizerFast, query: str, response: str) -> str:
    """The text the reward model reads."""
    chat = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
    return tokenizer.apply_chat_template(chat, tokenize=False)


def dialogue_ids(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    """Token ids of (right, wrong) for every pair."""
    texts = [dialogue(tokenizer, pair.query.text, text) for pair in pairs for text in (pair.right, pair.wrong)]
    ids = [item.ids for item in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    return list(zip(ids[::2], ids[1::2], strict=True))


def reward(model: LlamaForSequenceClassification, rows: Sequence[list[int]], padding: int) -> torch.Tensor:
    """Rewards (b,) of token id rows, padded on the right: the model reads its last token that is not padding."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
    return model(input_ids=ids, attention_mask=(ids != padding).long(), use_cache=False).logits[:, 0].float()


def start_from(lm: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LlamaForSequenceClassification:
    """A reward model with a fresh head on a language model's body, as full-size ones are made."""
    torch.manual_seed(SEED)
    model = LlamaForSequenceClassification(llama_config(JUDGE.shape, tokenizer, num_labels=1))
    model.model.load_state_dict(lm.model.state_dict())
    return model


def teach_rewarder(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair], epochs: int
) -> LlamaForSequenceClassification:
    """Bradley-Terry: maximises log sigmoid(reward of the right - reward of the wrong)."""
    rows = sorted(dialogue_ids(tokenizer, pairs), key=lambda pair: len(pair[0]))
    chosen = optimizers(model)
    generator = torch.Generator().manual_seed(SEED)
    starts = range(0, len(rows) - BATCH + 1, BATCH)
    total, step = epochs * len(starts), 0
    model.train()
    for _ in range(epochs):
        for place in torch.randperm(len(starts), generator=generator).tolist():
            batch = rows[starts[place] : starts[place] + BATCH]
            rewards = reward(model, [row for pair in batch for row in pair], tokenizer.pad_token_id)
            loss = -logsigmoid(rewards[::2] - rewards[1::2]).mean()
            loss.backward()
            update(model, chosen, step, total, RATE_SCALE)
            step += 1
    return model.eval()


@torch.inference_mode()
def rewards_of(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], batch: int = 512
) -> list[float]:
    """Rewards of dialogues, batched by length, in the order of ``texts``."""
    ids = [item.ids for item in tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    out = [0.0] * len(ids)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for row, value in zip(
            rows, reward(model, [ids[row] for row in rows], tokenizer.pad_token_id).tolist(), strict=True
        ):
            out[row] = value
    return out


def pairwise_accuracy(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]
) -> float:
    """Share of pairs whose right response has the higher reward."""
    texts = [dialogue(tokenizer, pair.query.text, text) for pair in pairs for text in (pair.right, pair.wrong)]
    rewards = rewards_of(model, tokenizer, texts)
    return sum(right > wrong for right, wrong in zip(rewards[::2], rewards[1::2], strict=True)) / max(1, len(pairs))
