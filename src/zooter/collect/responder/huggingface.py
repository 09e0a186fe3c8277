"""Run candidates locally: causal language models by hub id or folder, through transformers."""

import importlib.util
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt

from zooter.collect.responder.client.completion import Completion
from zooter.collect.responder.local.model_cache import ModelCache
from zooter.collect.responder.local.sampler import GumbelSampler, label_tokens
from zooter.collect.responder.protocol import Request, Sampling, group_by_candidate
from zooter.data.component import component
from zooter.data.model_files import candidate_fingerprint
from zooter.data.pool import Candidate
from zooter.data.token_margin import probability_margin
from zooter.data.types import Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)


@component
class HuggingFaceResponder:
    """Generate in batches of queries of similar length, one candidate after the other.

    Attributes:
        sampling: how candidates are asked.
        batch_size: responses at a time, at most.
        batch_tokens: padded tokens at a time, at most, of query and response together.
        device: "cpu", "cuda", "auto", or "spread" over all devices (needs accelerate).
        dtype: of the weights: "auto" takes that of the files.
        four_bit: quantise weights to 4 bits with bitsandbytes (pip install 'zooter[4bit]'), as Margin Sampling's code
            does.
        keep_bytes: bytes of weights that stay loaded between calls inside `connections`, as selectors alternate
            between candidates. Outside it, one candidate is loaded at a time.
        trust_remote_code: run Python code that comes with a model. Only for models whose code you have read.
        model_cache: candidates that are loaded.
    """

    sampling: Sampling = field(default_factory=Sampling)
    batch_size: PositiveInt = 256
    batch_tokens: PositiveInt = 65_536
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    four_bit: bool = False
    keep_bytes: NonNegativeFloat = 4e9
    trust_remote_code: bool = False
    model_cache: "ModelCache[LocalModel]" = field(default_factory=ModelCache, init=False, repr=False, compare=False)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        """Describe a candidate by its weights, template, number format and sampling."""
        return {
            "responder": "huggingface",
            "model": candidate_fingerprint(candidate),
            "template": candidate.template,
            "dtype": self.dtype,
            **({"quantization": "4bit"} if self.four_bit else {}),
            "sampling": self.sampling.to_dict(),
        }

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        """Load each candidate in turn and generate its responses.

        Args:
            requests: of any candidates; one model is in use at a time.

        Raises:
            ConfigError: a model cannot be loaded, or two labels share their first token.
        """
        async with self.connections() as cache:
            for group in group_by_candidate(requests):
                candidate = group[0].candidate
                source = candidate.model or candidate.name, candidate.revision, candidate.template
                model = cache.get(source, partial(LocalModel.load, candidate, self))
                for response in model.respond(group):
                    yield response
                del model
                if cache.users > 1:
                    cache.shrink(self.keep_bytes)
                else:
                    cache.drop()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    @asynccontextmanager
    async def connections(self) -> "AsyncIterator[ModelCache[LocalModel]]":
        """Keep up to `keep_bytes` of candidates loaded for calls of `respond` inside the context."""
        self.model_cache.users += 1
        try:
            yield self.model_cache
        finally:
            self.model_cache.users -= 1
            if not self.model_cache.users:
                self.model_cache.drop()


def four_bit_settings() -> Any:
    """Return the settings of transformers for weights of 4 bits, with float16 arithmetic; bitsandbytes' other defaults.

    Raises:
        ConfigError: a library that this needs is missing.
    """
    missing = [name for name in ("bitsandbytes", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            expected=f"{' and '.join(missing)}, for responder.four_bit=true", found="not installed",
            do="pip install 'zooter[4bit]', or set responder.four_bit=false",
        )  # fmt: skip
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float16)


@dataclass(frozen=True)
class LocalModel:
    """One loaded candidate.

    Attributes:
        candidate: which one.
        settings: the responder's.
        model: a transformers causal language model in evaluation mode.
        tokenizer: its tokenizer, which pads on the left.
        labels: label → its possible first tokens; empty for free text.
        token_texts: token id → text, of first tokens decoded so far.
    """

    candidate: Candidate
    settings: HuggingFaceResponder
    model: Any
    tokenizer: Any
    labels: Mapping[str, Sequence[int]]
    token_texts: dict[int, str] = field(default_factory=dict)

    @classmethod
    def load(cls, candidate: Candidate, settings: HuggingFaceResponder) -> "LocalModel":
        """Load weights and tokenizer, and move the model to its device.

        Args:
            candidate: with `model` as a name on the Hub or a folder; its name where that is None.
            settings: device, number format and sampling.

        Raises:
            ConfigError: they cannot be loaded, or two labels share their first token.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        name = candidate.model or candidate.name
        source = {"revision": candidate.revision, "trust_remote_code": settings.trust_remote_code}
        available = "cuda" if torch.cuda.is_available() else "cpu"
        device = available if settings.device == "auto" else settings.device
        placed: dict[str, Any] = {"device_map": "auto"} if settings.device == "spread" else {}
        if settings.four_bit:
            placed = {"device_map": placed.get("device_map", {"": device}), "quantization_config": four_bit_settings()}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", **source)
            model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=settings.dtype, **source, **placed)
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise ConfigError(
                expected=f"a causal language model that transformers can load for {candidate.name!r}",
                found=f"{name!r}: {str(error).splitlines()[0]}",
                do="correct the candidate's `model` or `revision`",
            ) from error
        model.eval()
        if not placed:
            model = model.to(device)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        end_tokens = model.generation_config.eos_token_id or tokenizer.eos_token_id
        # Only the end tokens are taken from the model's settings: its sampling settings must not apply.
        model.generation_config = GenerationConfig(eos_token_id=end_tokens, pad_token_id=tokenizer.pad_token_id)
        return cls(candidate, settings, model, tokenizer, label_tokens(tokenizer, settings.sampling.labels))

    @property
    def bytes(self) -> int:
        """Return the size of its weights in bytes."""
        return int(self.model.get_memory_footprint())

    def respond(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Generate responses in batches, the longest queries first: too little memory shows at once.

        Args:
            requests: all of this model's candidate.

        Yields:
            One response per request, failed where the query is longer than the model's context or memory ran out.
        """
        token_rows = self._tokenize(requests)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        fitting = []
        for i, row in enumerate(token_rows):
            if limit is not None and len(row) >= limit:
                yield requests[i].failed_response(f"the query has {len(row)} tokens and the model reads {limit}")
            else:
                fitting.append(i)
        for batch in self._batches(fitting, [len(row) for row in token_rows]):
            yield from self._generate([requests[i] for i in batch], [token_rows[i] for i in batch])

    def _tokenize(self, requests: Sequence[Request]) -> list[list[int]]:
        sampling, template = self.settings.sampling, self.candidate.template
        if template is None and self.tokenizer.chat_template:
            chats = [sampling.messages(request.query) for request in requests]
            texts = self.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        template = template or ("{system}\n\n{query}" if sampling.system else "{query}")
        return list(self.tokenizer([sampling.text(request.query, template) for request in requests])["input_ids"])

    def _batches(self, rows: list[int], lengths: list[int]) -> Iterator[list[int]]:
        """Divide rows into batches within `batch_size` and `batch_tokens`, the longest rows first."""
        batch: list[int] = []
        for i in sorted(rows, key=lengths.__getitem__, reverse=True):
            longest = lengths[batch[0]] if batch else lengths[i]
            tokens = (len(batch) + 1) * (longest + self.settings.sampling.max_new_tokens)
            if batch and (len(batch) >= self.settings.batch_size or tokens > self.settings.batch_tokens):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _generate(self, requests: list[Request], token_rows: list[list[int]]) -> Iterator[Response]:
        """Generate one batch, in two halves when the device's memory is too small for it."""
        try:
            yield from self._generate_batch(requests, token_rows)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(requests) == 1:
                yield requests[0].failed_response(f"out of memory with a query of {len(token_rows[0])} tokens")
                return
            half = len(requests) // 2
            yield from self._generate(requests[:half], token_rows[:half])
            yield from self._generate(requests[half:], token_rows[half:])

    @torch.inference_mode()
    def _generate_batch(self, requests: list[Request], token_rows: list[list[int]]) -> list[Response]:
        sampling, start = self.settings.sampling, time.perf_counter()
        length = max(map(len, token_rows))
        pad, device = self.tokenizer.pad_token_id, self.model.device
        tokens = torch.tensor([[pad] * (length - len(row)) + row for row in token_rows], device=device)
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in token_rows], device=device)
        seeds = [sampling.seed_of(request.query, request.sample) for request in requests]
        sampler = GumbelSampler(sampling, seeds, length, self.labels)
        stop = {"stop_strings": list(sampling.stop), "tokenizer": self.tokenizer} if sampling.stop else {}
        generated = self.model.generate(
            tokens, attention_mask=mask, max_new_tokens=sampling.max_new_tokens, do_sample=False,
            logits_processor=[sampler], **stop,
        )[:, length:].tolist()  # fmt: skip
        seconds = (time.perf_counter() - start) / len(requests)
        return [
            self._response(request, new_tokens, self._decode(sampler.first_tokens[i]), len(token_rows[i]), seconds)
            for i, (request, new_tokens) in enumerate(zip(requests, generated, strict=True))
        ]

    def _decode(self, first_tokens: Sequence[tuple[int, float]]) -> tuple[tuple[str, float], ...]:
        """Replace token ids by their texts, or label indices by the labels."""
        if self.labels:
            names = list(self.labels)
            return tuple((names[index], logprob) for index, logprob in first_tokens)
        for token, _ in first_tokens:
            if token not in self.token_texts:
                self.token_texts[token] = self.tokenizer.decode([token])
        return tuple((self.token_texts[token], logprob) for token, logprob in first_tokens)

    def _response(
        self,
        request: Request,
        new_tokens: list[int],
        first_tokens: tuple[tuple[str, float], ...],
        input_tokens: int,
        seconds: float,
    ) -> Response:
        """Cut the generated tokens at the end token, and the text at the first stop text."""
        end_token = self.model.generation_config.eos_token_id
        end_tokens = set(end_token) if isinstance(end_token, list) else {end_token}
        count = next((i + 1 for i, token in enumerate(new_tokens) if token in end_tokens), len(new_tokens))
        ended = count > 0 and new_tokens[count - 1] in end_tokens
        text = self.tokenizer.decode(new_tokens[:count], skip_special_tokens=True)
        stops = [position for position in map(text.find, self.settings.sampling.stop) if position >= 0]
        if stops:
            text = text[: min(stops)]
            # Padding while other rows of the batch were still being generated.
            while count and new_tokens[count - 1] == self.tokenizer.pad_token_id:
                count -= 1
        completion = Completion(
            text=text,
            finish_reason="stop" if ended or stops else "length",
            margin=probability_margin(first_tokens),
            first_tokens=first_tokens,
            input_tokens=input_tokens,
            output_tokens=count,
        )
        return completion.as_response(request, seconds)
