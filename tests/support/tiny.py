"""A causal language model with random weights and a character-level tokenizer, saved to disk."""

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
SPECIAL = ("<pad>", "<bos>", "<eos>")


def causal_folder(
    folder: Path, seed: int = 0, chat: str | None = CHAT, positions: int = 128, hidden: int = 32, layers: int = 2
) -> Path:
    """Save a Llama of some ten thousand parameters; return its folder.

    Args:
        folder: where it is saved.
        seed: of its weights.
        chat: chat template; None for none.
        positions: largest number of tokens.
        hidden: hidden size.
        layers: number of layers.
    """
    letters = string.ascii_letters + string.digits + string.punctuation + " \n"
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<pad>"
    )
    fast.chat_template = chat
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=positions, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
