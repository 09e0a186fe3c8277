"""The zoo's byte-level tokenizer: one token per digit and capital, merges for frequent words."""

from __future__ import annotations

from itertools import islice

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from zoo.plan import SEED, VOCABULARY
from zooter.collect.reader.skills.generate import stream

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
# The line break is the marker between query and response, so line breaks inside a query become blanks.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{ message['content'] | trim + eos_token }}"
    "{%- else -%}{{ bos_token + (message['content'] | trim | replace('\n', ' ')) + '\n' }}{%- endif -%}"
    "{%- endfor -%}"
)


def build_tokenizer(queries: int = 60_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on queries of the zoo's split.

    It has no post-processor: the chat template writes the BOS token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        # One token per digit and per capital: arithmetic and spelling need to see each of them.
        pre_tokenizers.Split(Regex(r"[A-Z0-9\n]"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in (PAD, BOS, EOS)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = islice(stream(SEED, "zoo"), queries)
    tokenizer.train_from_iterator((query.text + "\n" + query.reference for query in texts), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD,
        padding_side="left", model_max_length=256, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.chat_template = CHAT_TEMPLATE
    return fast
