"""The server with a real export in front of two live models behind `transformers serve`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from support.paths import ZOO
from support.transformers_server import REQUIRED_PACKAGES, serve, wait_until_ready
from support.upstreams import RunningServer, run_server

from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.serve import server
from zooter.serve.settings import ServeSettings

for package in REQUIRED_PACKAGES:
    pytest.importorskip(package, reason="transformers[serving] is not installed")

pytestmark = pytest.mark.slow
MODELS = {"calculator": str(ZOO / "zoo-sage"), "poet": str(ZOO / "zoo-page")}  # the third candidate has no url
MARGIN = MarginSelector(
    order=("poet", "calculator"), threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,))
)
SUM, POEM, LAW = "please add sum plus digits", "please rhyme poem verse sonnet", "please judge court law"


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Client of the models' own server."""
    with serve(tmp_path_factory.mktemp("served") / "log", []) as server:
        wait_until_ready(server)
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            yield client


@pytest.fixture(scope="module")
def front(direct: openai.OpenAI, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    pool = tmp_path_factory.mktemp("pool") / "pool.yaml"
    urls = {name: {"url": str(direct.base_url), "model": model} for name, model in MODELS.items()}
    pool.write_text(yaml.safe_dump({"candidates": urls}))
    selectors = {"margin": MARGIN}
    with run_server(
        ServeSettings(export, pool, port=0, access_log=None, deadline=5.0, selectors=selectors), server.load_router
    ) as front:
        yield front


@pytest.fixture(scope="module")
def client(front: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def chat_body(model: str, text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12, **more}


def direct_answer(direct: openai.OpenAI, candidate: str, text: str) -> str:
    """Ask a candidate without zooter's server."""
    answer = direct.chat.completions.create(**chat_body(MODELS[candidate], text))
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize(("text", "candidate"), [(SUM, "calculator"), (POEM, "poet")])
def test_the_routers_choice_answers_as_it_answers_when_asked_directly(
    direct: openai.OpenAI, client: openai.OpenAI, text: str, candidate: str
) -> None:
    raw = client.chat.completions.with_raw_response.create(**chat_body("zooter", text))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == (candidate, "best")
    expected = {name: direct_answer(direct, name, text) for name in MODELS}
    assert expected["calculator"] != expected["poet"], "else this cannot tell who answered"
    assert raw.parse().choices[0].message.content == expected[candidate]


def test_a_stream_has_the_same_text_as_a_whole_response(direct: openai.OpenAI, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**chat_body("zooter", SUM, stream=True))
    pieces = [part.choices[0].delta.content or "" for part in raw.parse() if part.choices]
    assert raw.headers["x-zooter-candidate"] == "calculator"
    assert "".join(pieces) == direct_answer(direct, "calculator", SUM)
    assert len(pieces) > 2


def test_a_candidate_asked_for_by_name_answers_whatever_the_router_predicts(
    direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(**chat_body("poet", SUM))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == ("poet", "asked for")
    assert raw.parse().choices[0].message.content == direct_answer(direct, "poet", SUM)


def test_the_best_candidate_that_has_a_url_answers_for_one_that_has_none(
    front: RunningServer, direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    decision = front.client.post("/route", json={"query": LAW}).json()
    raw = client.chat.completions.with_raw_response.create(**chat_body("zooter", LAW))
    candidate = max(MODELS, key=lambda name: decision["probabilities"][name])
    assert max(decision["probabilities"], key=decision["probabilities"].get) == "lawyer"
    assert raw.headers["x-zooter-candidate"] == candidate
    assert raw.parse().choices[0].message.content == direct_answer(direct, candidate, LAW)


def test_a_margin_cascade_escalates_where_the_server_sends_no_probabilities(
    direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(**chat_body("zooter:margin", POEM))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == ("calculator", "margin: tier 2")
    assert raw.parse().choices[0].message.content == direct_answer(direct, "calculator", POEM)
