"""Writes and reads the zoo's folders: ordinary ``save_pretrained``, float16 on disk, float32 in memory."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in float16; the configuration still asks for float32, so that ``from_pretrained`` computes in it."""
    if model.can_generate():
        model.generation_config = GenerationConfig(
            max_new_tokens=20, do_sample=False, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(folder: Path, auto: type = AutoModelForCausalLM) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model in float32 and tokenizer, as anyone would load them."""
    model = auto.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)
