"""Small reward models with random weights, saved to disk, and queries and responses for them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from zooter.data.types import Query, Response

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "plus",
    "is",
    "good",
    "bad",
]
SPECIAL = ["<pad>", "<unk>", "<bos>", "<user>", "<assistant>", "<end>", "[CLS]", "[SEP]"]
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ '<' + m['role'] + '>' }} {{ m['content'] }} <end>{% endfor %}"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
QUERIES = ["one plus one", "two", "three plus four is seven plus eight is nine", "ten ten ten ten"]
ANSWERS = ["two", "good good bad four five six seven", "is", "nine eight seven six five four three two one zero"]


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer, which adds [CLS] and [SEP]; None is no chat template, with token types."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ids = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (template is None)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>",
        additional_special_tokens=SPECIAL[3:6], chat_template=template, model_input_names=names,
    )  # fmt: skip


def llama(folder: Path, pad: int | None = 0, labels: int = 1) -> Path:
    """Save a Llama reward model that reads chats; return its folder."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(SPECIAL + WORDS), num_labels=labels, pad_token_id=pad,
                         max_position_embeddings=64, num_key_value_heads=2, **SIZES)  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer(TEMPLATE).save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    """Save a BERT reward model that reads pairs of texts; return its folder."""
    torch.manual_seed(0)
    BertForSequenceClassification(
        BertConfig(vocab_size=len(SPECIAL + WORDS), num_labels=1, initializer_range=0.3, **SIZES)
    ).save_pretrained(folder)
    tokenizer(None).save_pretrained(folder)
    return folder


def rows(answers: list[str] = ANSWERS, queries: list[str] = QUERIES) -> tuple[list[Query], list[Response]]:
    """Return queries with these texts and responses with these answers."""
    responses = [Response(str(i), "a", 0, text) for i, text in enumerate(answers)]
    return [Query(str(i), text) for i, text in enumerate(queries)], responses
