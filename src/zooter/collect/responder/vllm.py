"""Candidates in vLLM's offline engine: `pip install 'zooter[vllm]'` and a GPU.

Not run where it was written, for want of a GPU: tests hold it against a stand-in with the interface that vLLM documents
(`LLM.chat`, `LLM.generate`, `SamplingParams`, `RequestOutput`), and nothing else does.
"""

import gc
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zooter.collect.responder.client.completion import FIRST_TOKENS, likeliest_tokens, margin_of
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.model_files import candidate_fingerprint
from zooter.data.pool import Candidate
from zooter.data.types import Response
from zooter.errors import ConfigError


@dataclass(frozen=True)
class VllmResponder:
    """Gives whole batches to vLLM, which schedules them; one candidate after the other.

    Attributes:
        sampling: how candidates are asked.
        batch_size: requests given to the engine at a time; what a killed run has to ask again, at most.
        dtype: of the weights.
        engine: further arguments of `vllm.LLM`, such as {tensor_parallel_size: 2, gpu_memory_utilization: 0.9}.
        trust_remote_code: run Python code that comes with a model. Only for models whose code you have read.
    """

    sampling: Sampling = field(default_factory=Sampling)
    batch_size: int = 4_096
    dtype: str = "auto"
    engine: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {
            "responder": "vllm",
            "model": candidate_fingerprint(candidate),
            "template": candidate.template,
            "dtype": self.dtype,
            "quantization": self.engine.get("quantization"),
            "sampling": self.sampling.told(),
        }

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        of_candidate: dict[str, list[Request]] = {}
        for request in requests:
            of_candidate.setdefault(request.candidate.name, []).append(request)
        for group in of_candidate.values():
            model = self._load(group[0].candidate)
            for start in range(0, len(group), self.batch_size):
                for response in self._answers(model, group[start : start + self.batch_size]):
                    yield response
            del model
            gc.collect()  # the engine frees its GPU memory when it goes

    def _load(self, candidate: Candidate) -> Any:
        vllm = _vllm()
        return vllm.LLM(
            model=candidate.model or candidate.name, revision=candidate.revision, dtype=self.dtype,
            trust_remote_code=self.trust_remote_code, **self.engine,
        )  # fmt: skip

    def _answers(self, model: Any, requests: Sequence[Request]) -> Iterator[Response]:
        params = [self._params(request) for request in requests]
        template = requests[0].candidate.template
        started = time.perf_counter()
        if template is None:
            found = model.chat([self.sampling.messages(request.query) for request in requests], params, use_tqdm=False)
        else:
            found = model.generate([self.sampling.text(r.query, template) for r in requests], params, use_tqdm=False)
        seconds = (time.perf_counter() - started) / len(requests)
        for request, output in zip(requests, found, strict=True):
            yield self._response(request, output, seconds)

    def _params(self, request: Request) -> Any:
        sampling = self.sampling
        return _vllm().SamplingParams(
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            stop=list(sampling.stop) or None,
            seed=None if sampling.seed is None else sampling.seed_of(request.query, request.sample),
            logprobs=20 if sampling.labels else FIRST_TOKENS,
        )

    def _response(self, request: Request, output: Any, seconds: float) -> Response:
        written = output.outputs[0]
        first = written.logprobs[0] if written.logprobs else {}
        tokens = likeliest_tokens(
            [(one.decoded_token or "", one.logprob) for one in first.values()], self.sampling.labels
        )
        asked, count = len(output.prompt_token_ids), len(written.token_ids)
        return Response(
            query_id=request.query.id,
            candidate=request.candidate.name,
            sample=request.sample,
            text=written.text,
            finish_reason=written.finish_reason,
            margin=margin_of(tokens, self.sampling.labels),
            first_tokens=tokens or None,
            input_tokens=asked,
            output_tokens=count,
            cost=request.candidate.cost(asked, count),
            seconds=seconds,
        )


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            expected="vLLM, for responder=vllm",
            found=str(error),
            do="pip install 'zooter[vllm]', on a machine with a GPU",
        ) from error
    return vllm
