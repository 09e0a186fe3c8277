"""Training of one candidate from scratch on its mix of skills: cross-entropy on the tokens of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zoo.plan import SEED, Member, Shape
from zooter.collect.reader.skills.generate import stream

BATCH = 64
POOL_BATCHES = 64
"""Batches that are drawn together and sorted by length, which saves padding."""
MUON_RATE = 0.02
"""Learning rate for the matrices inside the layers. Muon needs about a third of AdamW's steps here."""
ADAMW_RATE = 3e-3
"""Learning rate for embeddings and norms."""


def llama_config(shape: Shape, tokenizer: PreTrainedTokenizerFast, **options: object) -> LlamaConfig:
    """Return a Llama configuration for the zoo's tokenizer."""
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        intermediate_size=shape.inner, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.03, **options,
    )  # fmt: skip


def build_optimizers(model: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Build Muon for matrices inside the layers, and AdamW for all other parameters."""
    matrices, others = [], []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and ".layers." in name else others).append(weight)
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def take_step(
    model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], step: int, steps: int, scale: float = 1.0
) -> None:
    """Take one optimizer step: warm-up over 100 steps, full rates for the first half, then a linear decay to 2 %.

    Args:
        model: whose gradients are clipped to norm 1.
        optimizers: Muon and AdamW, as `build_optimizers` returns them.
        step: from 0.
        steps: number of all steps.
        scale: factor of both learning rates.
    """
    progress = step / steps
    factor = scale * min(1.0, (step + 1) / 100) * max(0.02, min(1.0, 2 * (1 - progress)))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer, rate in zip(optimizers, (MUON_RATE, ADAMW_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        optimizer.step()
        optimizer.zero_grad()


def training_batches(
    member: Member, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield token ids (b, t), padded on the right, and labels (b, t), -100 except on the answer and its EOS."""
    queries = stream(SEED + 1, "zoo", weights=member.weights())
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    while True:
        pool = list(islice(queries, BATCH * POOL_BATCHES))
        query_ids = [item.ids for item in encode([f"{bos}{query.text}\n" for query in pool], add_special_tokens=False)]
        answer_ids = [item.ids for item in encode([query.reference + eos for query in pool], add_special_tokens=False)]
        order = sorted(range(len(pool)), key=lambda row: len(query_ids[row]) + len(answer_ids[row]))
        for batch in torch.randperm(POOL_BATCHES, generator=generator).tolist():
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            yield pad([query_ids[row] for row in rows], [answer_ids[row] for row in rows], tokenizer.pad_token_id)


def pad(query_ids: list[list[int]], answer_ids: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Join query and answer ids of b rows as (b, t) token ids, and return them with their (b, t) labels."""
    length = max(len(a) + len(b) for a, b in zip(query_ids, answer_ids, strict=True))
    ids = torch.full((len(query_ids), length), padding)
    labels = torch.full_like(ids, -100)
    for row, (a, b) in enumerate(zip(query_ids, answer_ids, strict=True)):
        ids[row, : len(a) + len(b)] = torch.tensor(a + b)
        labels[row, len(a) : len(a) + len(b)] = torch.tensor(b)
    return ids, labels


def train_candidate(member: Member, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Train a candidate; return it in float32."""
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(llama_config(member.shape, tokenizer)).train()
    optimizers = build_optimizers(model)
    batches = training_batches(member, tokenizer, torch.Generator().manual_seed(SEED))
    for step, (ids, labels) in enumerate(islice(batches, member.steps)):
        # Padding is on the right of a causal model, so no mask is needed; only answers pass through the head.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        loss = cross_entropy(model.lm_head(hidden[targets != -100]), targets[targets != -100])
        loss.backward()
        take_step(model, optimizers, step, member.steps)
    return model.eval()
