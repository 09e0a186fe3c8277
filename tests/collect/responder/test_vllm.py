"""The offline engine, against a stand-in with the interface that vLLM documents: the engine itself needs a GPU."""

import asyncio
import math
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.tiny import causal_folder

from zooter.collect.responder.local.model_cache import keep_last_model
from zooter.collect.responder.protocol import Request, Sampling
from zooter.collect.responder.vllm import VllmResponder
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response
from zooter.errors import ConfigError


@dataclass
class Logprob:
    logprob: float
    decoded_token: str


class FakeEngine:
    """Answer in capitals, and record how the engine was built and the sizes of its batches."""

    made: list[dict[str, Any]] = []  # noqa: RUF012
    sizes: list[int] = []  # noqa: RUF012

    def __init__(self, **arguments: Any) -> None:
        self.made.append(arguments)

    def chat(self, messages: list[list[dict[str, str]]], params: list[Any], use_tqdm: bool) -> list[Any]:
        self.sizes.append(len(messages))
        return [self._output(chat[-1]["content"].upper(), param) for chat, param in zip(messages, params, strict=True)]

    def generate(self, texts: list[str], params: list[Any], use_tqdm: bool) -> list[Any]:
        return [self._output(f"<{text}>", param) for text, param in zip(texts, params, strict=True)]

    def _output(self, text: str, params: Any) -> Any:
        first = {1: Logprob(math.log(0.6), "A"), 2: Logprob(math.log(0.1), "B")}
        written = types.SimpleNamespace(text=text, token_ids=[1, 2, 3], finish_reason="stop", logprobs=[first])
        return types.SimpleNamespace(outputs=[written], prompt_token_ids=[1] * 5)


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEngine.made, FakeEngine.sizes = [], []
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeEngine, types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)


def ask(candidate: Candidate, n: int, **settings: Any) -> list[Response]:
    async def collect() -> list[Response]:
        requests = [Request(Query(str(i), f"q{i}"), candidate) for i in range(n)]
        return [response async for response in VllmResponder(**settings).respond(requests)]

    return asyncio.run(collect())


@pytest.mark.usefixtures("fake_vllm")
def test_batches_go_to_one_engine_and_come_back_whole() -> None:
    responses = ask(Candidate("a", model="org/a", price=1.0), 5, batch_size=2, engine={"tensor_parallel_size": 2})
    assert [response.text for response in responses] == [f"Q{i}" for i in range(5)]
    assert FakeEngine.sizes == [2, 2, 1]
    assert [made["tensor_parallel_size"] for made in FakeEngine.made] == [2]
    assert (responses[0].margin, responses[0].input_tokens, responses[0].output_tokens) == (pytest.approx(0.5), 5, 3)
    assert responses[0].first_tokens == (("A", math.log(0.6)), ("B", math.log(0.1)))
    assert responses[0].cost == pytest.approx(8e-6)


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize(("keeps", "loaded"), [(False, "aab"), (True, "ab")])
def test_an_actor_keeps_its_engine_from_shard_to_shard_until_another_candidate_comes(
    keeps: bool, loaded: str, request: pytest.FixtureRequest
) -> None:
    keep_last_model(keeps)
    request.addfinalizer(lambda: keep_last_model(False))
    responder = VllmResponder()

    async def ask_once(name: str) -> None:
        async for response in responder.respond([Request(Query("1", "q"), Candidate(name))]):
            assert response.text == "Q"

    for name in "aab":
        asyncio.run(ask_once(name))
    assert [made["model"] for made in FakeEngine.made] == list(loaded)
    assert len(responder.model_cache.models) == keeps


@pytest.mark.usefixtures("fake_vllm")
def test_a_candidates_own_template_is_given_as_it_is() -> None:
    (response,) = ask(Candidate("a", template="Q {query} A"), 1)
    assert response.text == "<Q q0 A>"


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"pip install 'zooter\[vllm\]'"):
        ask(Candidate("a"), 1)


def test_the_identity_is_known_without_vllm(tmp_path: Path) -> None:
    candidate = Candidate("a", model=str(causal_folder(tmp_path)))
    assert VllmResponder().identity(candidate) == VllmResponder(batch_size=1).identity(candidate)
    assert VllmResponder().identity(candidate) != VllmResponder(Sampling(top_p=0.5)).identity(candidate)
