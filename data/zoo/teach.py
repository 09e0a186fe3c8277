"""Trains one candidate from scratch on its mix of skills: cross-entropy on the tokens of the reference answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zoo.plan import SEED, Member, Shape
from zooter.collect.reader.skills.generate import stream

BATCH = 64
POOL = 64
"""Batches drawn together and sorted by length, so that little of a batch is padding."""
MATRIX_RATE = 0.02
"""Muon's rate, for the matrices inside the layers. It needs about a third of AdamW's steps here."""
OTHER_RATE = 3e-3
"""AdamW's rate, for embeddings and norms."""


def llama_config(shape: Shape, tokenizer: PreTrainedTokenizerFast, **more: object) -> LlamaConfig:
    """A Llama configuration for the zoo's tokenizer."""
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        intermediate_size=shape.inner, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.03, **more,
    )  # fmt: skip


def optimizers(model: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for matrices inside the layers, AdamW for everything else."""
    matrices, others = [], []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and ".layers." in name else others).append(weight)
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def update(
    model: torch.nn.Module, chosen: Sequence[torch.optim.Optimizer], step: int, steps: int, scale: float = 1.0
) -> None:
    """One step: a short warm-up, full rates for the first half, then a straight line down to 2 %."""
    progress = step / steps
    factor = scale * min(1.0, (step + 1) / 100) * max(0.02, min(1.0, 2 * (1 - progress)))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer, rate in zip(chosen, (MATRIX_RATE, OTHER_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        optimizer.step()
        optimizer.zero_grad()


def lessons(
    member: Member, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of token ids (b, t), padded on the right, and labels (b, t), -100 except on the answer and its EOS."""
    queries = stream(SEED + 1, "zoo", weights=member.weights())
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    while True:
        drawn = list(islice(queries, BATCH * POOL))
        asked = [item.ids for item in encode([f"{bos}{query.text}\n" for query in drawn], add_special_tokens=False)]
        told = [item.ids for item in encode([query.reference + eos for query in drawn], add_special_tokens=False)]
        order = sorted(range(len(drawn)), key=lambda row: len(asked[row]) + len(told[row]))
        for batch in torch.randperm(POOL, generator=generator).tolist():
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            yield pad([asked[row] for row in rows], [told[row] for row in rows], tokenizer.pad_token_id)


def pad(asked: list[list[int]], told: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and answer ids as one (b, t) tensor, and the labels that go with it."""
    length = max(len(a) + len(b) for a, b in zip(asked, told, strict=True))
    ids = torch.full((len(asked), length), padding)
    labels = torch.full_like(ids, -100)
    for row, (a, b) in enumerate(zip(asked, told, strict=True)):
        ids[row, : len(a) + len(b)] = torch.tensor(a + b)
        labels[row, len(a) : len(a) + len(b)] = torch.tensor(b)
    return ids, labels


def teach(member: Member, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The trained candidate, in float32."""
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(llama_config(member.shape, tokenizer)).train()
    chosen = optimizers(model)
    batches = lessons(member, tokenizer, torch.Generator().manual_seed(SEED))
    for step, (ids, labels) in enumerate(islice(batches, member.steps)):
        # Padding is on the right of a causal model, so no mask is needed; only answers pass through the head.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        loss = cross_entropy(model.lm_head(hidden[wanted != -100]), wanted[wanted != -100])
        loss.backward()
        update(model, chosen, step, member.steps)
    return model.eval()
