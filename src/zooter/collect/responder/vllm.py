"""Run candidates in vLLM's offline engine: `pip install 'zooter[vllm]'` and a GPU.

Tested only against a stand-in with the interface that vLLM documents (`LLM.chat`, `LLM.generate`, `SamplingParams`,
`RequestOutput`); not run with vLLM itself, which needs a GPU.
"""

import gc
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from pydantic import PositiveInt

from zooter.collect.responder.client.completion import (
    FIRST_TOKENS,
    Completion,
    first_token_margin,
    likeliest_tokens,
)
from zooter.collect.responder.local.model_cache import ModelCache
from zooter.collect.responder.protocol import Request, Sampling, group_by_candidate
from zooter.data.component import component
from zooter.data.model_files import candidate_fingerprint
from zooter.data.pool import Candidate
from zooter.data.types import Response
from zooter.errors import ConfigError


@component
class VllmResponder:
    """Pass whole batches to vLLM, which schedules them; one candidate after the other.

    Attributes:
        sampling: how candidates are asked.
        batch_size: requests passed to the engine at a time; a killed run asks again for one batch at most.
        dtype: of the weights.
        engine: further arguments of `vllm.LLM`, such as {tensor_parallel_size: 2, gpu_memory_utilization: 0.9}.
        trust_remote_code: run Python code that comes with a model. Only for models whose code you have read.
        model_cache: the engine that is loaded.
    """

    sampling: Sampling = field(default_factory=Sampling)
    batch_size: PositiveInt = 4_096
    dtype: str = "auto"
    engine: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False
    model_cache: ModelCache[Any] = field(default_factory=ModelCache, init=False, repr=False, compare=False)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        """Describe a candidate by its weights, template, number format and sampling."""
        return {
            "responder": "vllm",
            "model": candidate_fingerprint(candidate),
            "template": candidate.template,
            "dtype": self.dtype,
            "quantization": self.engine.get("quantization"),
            "sampling": self.sampling.to_dict(),
        }

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        """Load each candidate in turn and generate its responses, batch by batch.

        Args:
            requests: of any candidates; one model is loaded at a time.

        Raises:
            ConfigError: vLLM is not installed, or two labels share their first token.
        """
        for group in group_by_candidate(requests):
            candidate = group[0].candidate
            source = candidate.model or candidate.name, candidate.revision
            model = self.model_cache.get(source, partial(self._load, candidate))
            for start in range(0, len(group), self.batch_size):
                for response in self._generate(model, group[start : start + self.batch_size]):
                    yield response
            del model
            self.model_cache.drop()
            gc.collect()  # the engine frees its GPU memory when it is collected

    def _load(self, candidate: Candidate) -> Any:
        vllm = _import_vllm()
        return vllm.LLM(
            model=candidate.model or candidate.name, revision=candidate.revision, dtype=self.dtype,
            trust_remote_code=self.trust_remote_code, **self.engine,
        )  # fmt: skip

    def _generate(self, model: Any, requests: Sequence[Request]) -> Iterator[Response]:
        sampling, params = self.sampling, [self._params(request) for request in requests]
        template = requests[0].candidate.template
        start = time.perf_counter()
        if template is None:
            outputs = model.chat([sampling.messages(request.query) for request in requests], params, use_tqdm=False)
        else:
            texts = [sampling.text(request.query, template) for request in requests]
            outputs = model.generate(texts, params, use_tqdm=False)
        seconds = (time.perf_counter() - start) / len(requests)
        for request, output in zip(requests, outputs, strict=True):
            yield self._completion(output).as_response(request, seconds)

    def _params(self, request: Request) -> Any:
        sampling = self.sampling
        return _import_vllm().SamplingParams(
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            stop=list(sampling.stop) or None,
            seed=None if sampling.seed is None else sampling.seed_of(request.query, request.sample),
            logprobs=20 if sampling.labels else FIRST_TOKENS,
        )

    def _completion(self, output: Any) -> Completion:
        completion = output.outputs[0]
        logprobs = completion.logprobs[0] if completion.logprobs else {}
        first_tokens = likeliest_tokens(
            [(token.decoded_token or "", token.logprob) for token in logprobs.values()], self.sampling.labels
        )
        return Completion(
            text=completion.text,
            finish_reason=completion.finish_reason,
            margin=first_token_margin(first_tokens, self.sampling.labels),
            first_tokens=first_tokens or None,
            input_tokens=len(output.prompt_token_ids),
            output_tokens=len(completion.token_ids),
        )


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            expected="vLLM, for responder=vllm",
            found=str(error),
            do="pip install 'zooter[vllm]', on a machine with a GPU",
        ) from error
    return vllm
