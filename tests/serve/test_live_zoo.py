"""The server with a real export in front of two live models behind `transformers serve`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from support.paths import ZOO
from support.transformers_server import NEEDED, serve, wait_for
from support.upstreams import Front, running

from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.serve import server
from zooter.serve.settings import ServeSettings

for needed in NEEDED:
    pytest.importorskip(needed, reason="transformers[serving] is not installed")

pytestmark = pytest.mark.slow
MODELS = {"calculator": str(ZOO / "zoo-sage"), "poet": str(ZOO / "zoo-page")}  # the third candidate has no url
MARGIN = MarginSelector(order=("poet", "calculator"), threshold=EscalationThreshold(running=False, fixed=(0.5,)))
SUM, POEM, LAW = "please add sum plus digits", "please rhyme poem verse sonnet", "please judge court law"


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client of the models' own server."""
    with serve(tmp_path_factory.mktemp("served") / "log", []) as server:
        wait_for(server)
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            yield client


@pytest.fixture(scope="module")
def front(direct: openai.OpenAI, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    pool = tmp_path_factory.mktemp("pool") / "pool.yaml"
    urls = {name: {"url": str(direct.base_url), "model": model} for name, model in MODELS.items()}
    pool.write_text(yaml.safe_dump({"candidates": urls}))
    selectors = {"margin": MARGIN}
    with running(
        ServeSettings(export, pool, port=0, access_log=None, deadline=5.0, selectors=selectors), server.load
    ) as front:
        yield front


@pytest.fixture(scope="module")
def client(front: Front) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asked(model: str, text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12, **more}


def own(direct: openai.OpenAI, candidate: str, text: str) -> str:
    """What a candidate says when it is asked without our server."""
    answer = direct.chat.completions.create(**asked(MODELS[candidate], text))
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize(("text", "candidate"), [(SUM, "calculator"), (POEM, "poet")])
def test_the_routers_choice_answers_as_it_answers_when_asked_directly(
    direct: openai.OpenAI, client: openai.OpenAI, text: str, candidate: str
) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked("zooter", text))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == (candidate, "best")
    expected = {name: own(direct, name, text) for name in MODELS}
    assert expected["calculator"] != expected["poet"], "else this cannot tell who answered"
    assert raw.parse().choices[0].message.content == expected[candidate]


def test_a_stream_brings_the_same_text(direct: openai.OpenAI, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked("zooter", SUM, stream=True))
    pieces = [part.choices[0].delta.content or "" for part in raw.parse() if part.choices]
    assert raw.headers["x-zooter-candidate"] == "calculator"
    assert "".join(pieces) == own(direct, "calculator", SUM)
    assert len(pieces) > 2


def test_a_candidate_asked_for_by_name_answers_whatever_the_router_thinks(
    direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked("poet", SUM))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == ("poet", "asked for")
    assert raw.parse().choices[0].message.content == own(direct, "poet", SUM)


def test_the_best_candidate_that_has_a_url_answers_for_one_that_has_none(
    front: Front, direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    told = front.client.post("/route", json={"query": LAW}).json()
    raw = client.chat.completions.with_raw_response.create(**asked("zooter", LAW))
    candidate = max(MODELS, key=lambda name: told["probabilities"][name])
    assert max(told["probabilities"], key=told["probabilities"].get) == "lawyer"
    assert raw.headers["x-zooter-candidate"] == candidate
    assert raw.parse().choices[0].message.content == own(direct, candidate, LAW)


def test_a_cascade_by_margin_goes_on_where_the_server_tells_no_probabilities(
    direct: openai.OpenAI, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked("zooter:margin", POEM))
    assert (raw.headers["x-zooter-candidate"], raw.headers["x-zooter-why"]) == ("calculator", "margin: tier 2")
    assert raw.parse().choices[0].message.content == own(direct, "calculator", POEM)
