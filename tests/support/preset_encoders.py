"""Tiny encoders with random weights, of the architectures and token conventions of the presets in conf/encoder."""

from pathlib import Path
from typing import Any

import torch
import yaml
from support.made_up import TOPICS
from support.paths import CONF
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}
TOKENS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
FIRST_AND_LAST, LAST = "<s> $A </s>", "$A </s>"  # Qwen3's tokenizer appends a token and puts none in front
ARCHITECTURES: dict[str, tuple[type[Any], type[Any], dict[str, Any], str]] = {
    "bge_m3": (XLMRobertaConfig, XLMRobertaModel, {"max_position_embeddings": 66}, FIRST_AND_LAST),
    "multilingual_e5_small": (BertConfig, BertModel, {}, FIRST_AND_LAST),
    # Layers of local and of global attention by turns, the local ones shorter than the tests' texts.
    "gte_modernbert": (
        ModernBertConfig, ModernBertModel, {"local_attention": 8, "global_attn_every_n_layers": 2}, FIRST_AND_LAST,
    ),
    "qwen3_embedding": (Qwen3Config, Qwen3Model, {"num_key_value_heads": 1, "head_dim": 16}, LAST),
}  # fmt: skip
PRESETS = tuple(ARCHITECTURES)


def preset(name: str) -> dict[str, Any]:
    """Read the settings of conf/encoder/NAME.yaml."""
    settings: dict[str, Any] = yaml.safe_load((CONF / "encoder" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in settings.items() if key != "_target_"}


def preset_folder(folder: Path, name: str) -> Path:
    """Save a tiny random model of a preset's architecture and a word-level tokenizer; return the folder."""
    config, model, extra, template = ARCHITECTURES[name]
    words = sorted({word for text in TOPICS.values() for word in text.split()} | set(preset(name)["prefix"].split()))
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, "please", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    added = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=added)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    torch.manual_seed(0)
    model(config(**{"vocab_size": len(vocabulary), **SIZE, **TOKENS, **extra})).save_pretrained(folder)
    return folder
