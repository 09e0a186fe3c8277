"""Lets a candidate answer queries, batched by length, with what the library will want to know of every response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from zooter.collect.reader.skills.generate import ZooQuery


@dataclass(frozen=True)
class Answer:
    """One response. ``margin``: probability gap of the two likeliest first tokens, before temperature."""

    text: str
    margin: float
    tokens: int


@torch.inference_mode()
def answer(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    queries: Sequence[ZooQuery],
    temperature: float = 0.0,
    batch: int = 512,
    seed: int = 0,
) -> list[Answer]:
    """One response per query, greedy at temperature 0, in the order of ``queries``."""
    torch.manual_seed(seed)
    chats = [[{"role": "user", "content": query.text}] for query in queries]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inputs = tokenizer([texts[row] for row in rows], return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=20,
            output_logits=True, return_dict_in_generate=True, **sampling,
        )  # fmt: skip
        best = out.logits[0].float().softmax(-1).topk(2).values
        new = out.sequences[:, inputs["input_ids"].shape[1] :]
        spoken = tokenizer.batch_decode(new, skip_special_tokens=True)
        lengths = (new != tokenizer.pad_token_id).sum(1)
        for place, row in enumerate(rows):
            answers[row] = Answer(spoken[place].strip(), float(best[place, 0] - best[place, 1]), int(lengths[place]))
    return [answers[row] for row in range(len(queries))]
