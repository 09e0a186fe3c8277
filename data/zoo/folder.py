"""Saving and loading of the zoo's models: `save_pretrained` folders, float16 on disk, float32 in memory."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a model with weights in float16.

    Its configuration names float32, so that `from_pretrained` loads the weights in that precision.
    """
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
    """Load a model in float32 and its tokenizer.

    Args:
        folder: written by `save`.
        auto: the transformers Auto class of the model.
    """
    model = auto.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)
