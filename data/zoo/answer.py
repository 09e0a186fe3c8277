"""Batched generation of a candidate's responses, with first-token margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from zooter.collect.reader.skills.generate import ZooQuery


@dataclass(frozen=True)
class ZooResponse:
    """A candidate's response.

    Attributes:
        text: without special tokens and outer blanks.
        margin: difference of the two largest first-token probabilities, before temperature.
        tokens: length in tokens, including the end-of-text token.
    """

    text: str
    margin: float
    tokens: int


@torch.inference_mode()
def respond(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    queries: Sequence[ZooQuery],
    temperature: float = 0.0,
    batch: int = 512,
    seed: int = 0,
) -> list[ZooResponse]:
    """Generate one response per query.

    Args:
        model: the candidate.
        tokenizer: the candidate's.
        queries: n queries.
        temperature: 0 is greedy.
        batch: queries per batch of similar lengths.
        seed: of the sampling.

    Returns:
        n responses in the order of `queries`.
    """
    torch.manual_seed(seed)
    chats = [[{"role": "user", "content": query.text}] for query in queries]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    responses: dict[int, ZooResponse] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inputs = tokenizer([texts[row] for row in rows], return_tensors="pt", padding=True, add_special_tokens=False)
        output = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=20,
            output_logits=True, return_dict_in_generate=True, **sampling,
        )  # fmt: skip
        top_two = output.logits[0].float().softmax(-1).topk(2).values
        new_tokens = output.sequences[:, inputs["input_ids"].shape[1] :]
        decoded = tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
        lengths = (new_tokens != tokenizer.pad_token_id).sum(1)
        for i, row in enumerate(rows):
            margin = float(top_two[i, 0] - top_two[i, 1])
            responses[row] = ZooResponse(decoded[i].strip(), margin, int(lengths[i]))
    return [responses[row] for row in range(len(queries))]
