"""Candidates that run here: causal language models by hub id or folder, through transformers."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from zooter.collect.responder.local.model_cache import ModelCache
from zooter.collect.responder.local.sampler import GumbelSampler, label_tokens
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.model_files import candidate_fingerprint
from zooter.data.pool import Candidate
from zooter.data.token_margin import probability_margin
from zooter.data.types import Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)

DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class HuggingFaceResponder:
    """Generates in batches of queries of like length, one candidate after the other.

    Attributes:
        sampling: how candidates are asked.
        batch_size: responses at a time, at most.
        batch_tokens: padded tokens at a time, at most, of query and response together.
        device: "cpu", "cuda", "auto", or "spread" over all devices (needs accelerate).
        dtype: of the weights; "auto" takes that of the files.
        keep_bytes: of weights that stay loaded between the calls of selectors, which ask now one candidate, now
            another. One call keeps one candidate at a time.
        trust_remote_code: run Python code that comes with a model. Only for models whose code you have read.
    """

    sampling: Sampling = field(default_factory=Sampling)
    batch_size: int = 256
    batch_tokens: int = 65_536
    device: str = "auto"
    dtype: str = "auto"
    keep_bytes: float = 4e9
    trust_remote_code: bool = False
    loaded: "ModelCache[LocalModel]" = field(default_factory=ModelCache, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(expected=f"responder.dtype among {DTYPES}", found=repr(self.dtype), do="correct it")
        if self.batch_size < 1:
            raise ConfigError(
                expected="responder.batch_size of 1 or more", found=str(self.batch_size), do="set 64, say"
            )

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {
            "responder": "huggingface",
            "model": candidate_fingerprint(candidate),
            "template": candidate.template,
            "dtype": self.dtype,
            "sampling": self.sampling.told(),
        }

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        of_candidate: dict[str, list[Request]] = {}
        for request in requests:
            of_candidate.setdefault(request.candidate.name, []).append(request)
        async with self.connections() as loaded:
            for group in of_candidate.values():
                who = group[0].candidate
                source = who.model or who.name, who.revision, who.template
                model = loaded.of(source, partial(LocalModel.load, who, self))
                for response in model.respond(group):
                    yield response
                del model
                loaded.shrink(self.keep_bytes if loaded.users > 1 else 0)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    @asynccontextmanager
    async def connections(self) -> "AsyncIterator[ModelCache[LocalModel]]":
        """Keeps candidates loaded for calls of `respond` inside, as far as `keep_bytes` goes."""
        self.loaded.users += 1
        try:
            yield self.loaded
        finally:
            self.loaded.users -= 1
            if not self.loaded.users:
                self.loaded.models.clear()


@dataclass(frozen=True)
class LocalModel:
    """One loaded candidate."""

    candidate: Candidate
    settings: HuggingFaceResponder
    model: Any
    tokenizer: Any
    labels: Mapping[str, Sequence[int]]
    texts: dict[int, str] = field(default_factory=dict)  # of tokens that stood first

    @classmethod
    def load(cls, candidate: Candidate, settings: HuggingFaceResponder) -> "LocalModel":
        """Load weights and tokenizer.

        Raises:
            ConfigError: they cannot be loaded, or two labels share their first token.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        name = candidate.model or candidate.name
        where = {"revision": candidate.revision, "trust_remote_code": settings.trust_remote_code}
        spread = {"device_map": "auto"} if settings.device == "spread" else {}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", **where)
            model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=settings.dtype, **where, **spread)
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise ConfigError(
                expected=f"a causal language model that transformers can load for {candidate.name!r}",
                found=f"{name!r}: {str(error).splitlines()[0]}",
                do="correct the candidate's `model` or `revision`",
            ) from error
        model.eval()
        if not spread:
            automatic = "cuda" if torch.cuda.is_available() else "cpu"
            model = model.to(automatic if settings.device == "auto" else settings.device)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
        # Only where to end is taken from the model: it must not bring in sampling settings of its own.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
        )
        return cls(candidate, settings, model, tokenizer, label_tokens(tokenizer, settings.sampling.labels))

    @property
    def bytes(self) -> int:
        """Of its weights."""
        return int(self.model.get_memory_footprint())

    def respond(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Responses in batches, the longest queries first: if memory is short, it is known at once."""
        ids = self._tokens(requests)
        limit = getattr(self.model.config, "max_position_embeddings", None)
        fitting = []
        for i, row in enumerate(ids):
            if limit is not None and len(row) >= limit:
                yield _failed(requests[i], f"the query has {len(row)} tokens and the model reads {limit}")
            else:
                fitting.append(i)
        for batch in self._batches(fitting, [len(row) for row in ids]):
            yield from self._generate([requests[i] for i in batch], [ids[i] for i in batch])

    def _tokens(self, requests: Sequence[Request]) -> list[list[int]]:
        sampling, template = self.settings.sampling, self.candidate.template
        if template is None and self.tokenizer.chat_template:
            chats = [sampling.messages(request.query) for request in requests]
            texts = self.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        template = template or ("{system}\n\n{query}" if sampling.system else "{query}")
        return list(self.tokenizer([sampling.text(request.query, template) for request in requests])["input_ids"])

    def _batches(self, rows: list[int], lengths: list[int]) -> Iterator[list[int]]:
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

    def _generate(self, requests: list[Request], ids: list[list[int]]) -> Iterator[Response]:
        """One batch; in two halves when the device's memory is too small for it."""
        try:
            yield from self._answers(requests, ids)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(requests) == 1:
                yield _failed(requests[0], f"out of memory with a query of {len(ids[0])} tokens")
                return
            half = len(requests) // 2
            yield from self._generate(requests[:half], ids[:half])
            yield from self._generate(requests[half:], ids[half:])

    @torch.inference_mode()
    def _answers(self, requests: list[Request], ids: list[list[int]]) -> list[Response]:
        sampling, started = self.settings.sampling, time.perf_counter()
        length = max(map(len, ids))
        pad = self.tokenizer.pad_token_id
        tokens = torch.tensor([[pad] * (length - len(row)) + row for row in ids], device=self.model.device)
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in ids], device=self.model.device)
        seeds = [sampling.seed_of(request.query, request.sample) for request in requests]
        draw = GumbelSampler(sampling, seeds, length, self.labels)
        stop = {"stop_strings": list(sampling.stop), "tokenizer": self.tokenizer} if sampling.stop else {}
        written = self.model.generate(
            tokens, attention_mask=mask, max_new_tokens=sampling.max_new_tokens, do_sample=False,
            logits_processor=[draw], **stop,
        )[:, length:].tolist()  # fmt: skip
        seconds = (time.perf_counter() - started) / len(requests)
        return [
            self._response(request, new, self._named(draw.first[i]), len(ids[i]), seconds)
            for i, (request, new) in enumerate(zip(requests, written, strict=True))
        ]

    def _named(self, first: Sequence[tuple[int, float]]) -> tuple[tuple[str, float], ...]:
        """With the texts of the tokens, or the labels, in the place of their numbers."""
        if self.labels:
            names = list(self.labels)
            return tuple((names[place], logprob) for place, logprob in first)
        for token, _ in first:
            if token not in self.texts:
                self.texts[token] = self.tokenizer.decode([token])
        return tuple((self.texts[token], logprob) for token, logprob in first)

    def _response(
        self, request: Request, new: list[int], first: tuple[tuple[str, float], ...], asked: int, seconds: float
    ) -> Response:
        ends = self.model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        count = next((i + 1 for i, token in enumerate(new) if token in ends), len(new))
        ended = count > 0 and new[count - 1] in ends
        text = self.tokenizer.decode(new[:count], skip_special_tokens=True)
        found = [place for place in map(text.find, self.settings.sampling.stop) if place >= 0]
        if found:
            text = text[: min(found)]
            while count and new[count - 1] == self.tokenizer.pad_token_id:  # what other rows of the batch waited for
                count -= 1
        return Response(
            query_id=request.query.id,
            candidate=request.candidate.name,
            sample=request.sample,
            text=text,
            finish_reason="stop" if ended or found else "length",
            margin=probability_margin(first),
            first_tokens=first,
            input_tokens=asked,
            output_tokens=count,
            cost=request.candidate.cost(asked, count),
            seconds=seconds,
        )


def _failed(request: Request, words: str) -> Response:
    return Response(request.query.id, request.candidate.name, request.sample, "", error=words)
