"""The plug-ins for LiteLLM, alone and inside LiteLLM where it is installed."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from support import upstreams
from support.fake_router import FakeRouter

from zooter.errors import ConfigError
from zooter.serve.litellm import ClassifierPlugin, RoutingPlugin

MODELS = {"small": "openai/small-v1", "large": "openai/large-v1"}


def context(text: Any, models: list[str]) -> Any:
    messages = [{"role": "user", "content": text}]
    return SimpleNamespace(structured_messages=messages, raw_messages=messages, candidate_models=models, signals={})


def run(plugin: RoutingPlugin, text: Any, models: list[str]) -> Any:
    return asyncio.run(plugin.run(context(text, models)))


def test_the_models_are_narrowed_to_the_most_probable_one(tmp_path: Path) -> None:
    plugin = RoutingPlugin(tmp_path, models=MODELS, router=FakeRouter(tmp_path))
    result = run(plugin, "one for large", ["openai/small-v1", "openai/large-v1", "tiny"])
    assert result.candidate_models == ["openai/large-v1"]
    assert result.signals["zooter"]["probabilities"] == {"small": 0.3, "large": 0.6, "tiny": 0.1}
    assert run(plugin, "one for large", ["openai/small-v1", "tiny"]).candidate_models == ["openai/small-v1"]
    assert run(plugin, "one for tiny", ["openai/small-v1", "tiny"]).candidate_models == ["tiny"]
    assert run(plugin, "one for tiny", ["another", "and another"]).candidate_models == ["another", "and another"]


@pytest.mark.parametrize(
    ("text", "fault"), [("", "no text"), ([], "no text"), ("broken", "failed"), ("slow", "deadline")]
)
def test_without_a_decision_the_models_are_unchanged(tmp_path: Path, text: Any, fault: str) -> None:
    plugin = RoutingPlugin(tmp_path, models=MODELS, router=FakeRouter(tmp_path))
    result = run(plugin, text, ["openai/small-v1", "openai/large-v1"])
    assert result.candidate_models == ["openai/small-v1", "openai/large-v1"]
    assert result.signals["zooter"] == {"fault": fault}


def test_the_tier_with_the_largest_probability_is_returned(tmp_path: Path) -> None:
    router = FakeRouter(tmp_path)
    plugin = ClassifierPlugin(tmp_path, tiers={"small": "SIMPLE", "tiny": "SIMPLE", "large": "COMPLEX"}, router=router)
    assert asyncio.run(plugin.classify(context("one for large", []))) == "COMPLEX"
    assert asyncio.run(plugin.classify(context("unsure", []))) == "SIMPLE"  # 0.45 + 0.05 against 0.5: the first named
    assert asyncio.run(plugin.classify(context("one for tiny", []))) == "SIMPLE"
    assert asyncio.run(plugin.classify(context("broken", []))) is None


def test_a_candidate_that_the_export_does_not_have_is_refused(tmp_path: Path) -> None:
    plugin = RoutingPlugin(tmp_path, models={"smal": "openai/small-v1"}, router=FakeRouter(tmp_path))
    with pytest.raises(ConfigError, match=r"found \['smal'\]"):
        run(plugin, "hello", [])


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import LiteLLM without its download of a price list."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    module = pytest.importorskip("litellm", reason="zooter[litellm] is not installed")
    assert tuple(int(part) for part in version("litellm").split(".")[:2]) >= (1, 109)
    return module


def test_litellms_own_router_routes_with_the_plugin(tmp_path: Path, litellm: Any) -> None:
    from litellm.types.router import ClassifierPlugin as ClassifierInterface
    from litellm.types.router import RoutingPlugin as RoutingInterface

    plugin = RoutingPlugin(tmp_path, models=MODELS, router=FakeRouter(tmp_path))
    assert isinstance(plugin, RoutingInterface)
    assert isinstance(ClassifierPlugin(tmp_path), ClassifierInterface)
    deployments = [
        {"model_name": "any", "litellm_params": {"model": model, "api_key": "none", "mock_response": f"I am {name}"}}
        for name, model in MODELS.items()
    ]
    router = litellm.Router(model_list=deployments, plugins=[plugin])

    async def ask(text: str) -> str:
        answer = await router.acompletion(model="any", messages=[{"role": "user", "content": text}])
        return str(answer.choices[0].message.content)

    async def all_of_them() -> list[str]:
        return [await ask(text) for text in ["one for large", "one for small"] * 3]

    assert asyncio.run(all_of_them()) == ["I am large", "I am small"] * 3


def test_litellms_complexity_router_takes_the_tier_of_the_plugin(tmp_path: Path, litellm: Any) -> None:
    plugin = ClassifierPlugin(tmp_path, tiers={"small": "SIMPLE", "large": "COMPLEX"}, router=FakeRouter(tmp_path))
    named = {"cheap": "I am small", "dear": "I am large"}
    deployments: list[dict[str, Any]] = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": text}}
        for name, text in named.items()
    ]
    config = {
        "tiers": {"SIMPLE": "cheap", "MEDIUM": "cheap", "COMPLEX": "dear", "REASONING": "dear"},
        "classifier_type": "custom",
        "classifier_plugin": plugin,
    }
    deployments.append(
        {
            "model_name": "auto",
            "litellm_params": {
                "model": "auto_router/complexity_router",
                "complexity_router_config": config,
                "complexity_router_default_model": "cheap",
            },
        }
    )
    router = litellm.Router(model_list=deployments)

    async def ask(text: str) -> str:
        answer = await router.acompletion(model="auto", messages=[{"role": "user", "content": text}])
        return str(answer.choices[0].message.content)

    async def both() -> list[str]:
        return [await ask("one for large"), await ask("one for small")]

    assert asyncio.run(both()) == ["I am large", "I am small"]


def test_litellms_proxy_routes_as_its_configuration_file_says(tmp_path: Path, litellm: Any) -> None:
    pytest.importorskip("litellm.proxy.proxy_server", reason="litellm[proxy] is not installed", exc_type=ImportError)
    (tmp_path / "routing.py").write_text(
        "from pathlib import Path\nfrom fake_router import FakeRouter\nfrom zooter.serve.litellm import RoutingPlugin\n"
        f"plugin = RoutingPlugin('.', models={MODELS}, router=FakeRouter(Path('.')), deadline=5.0)\n"
    )
    port, key = upstreams.free_port(), f"sk-{secrets.token_hex(32)}"
    with ExitStack() as stack:
        upstreams_by_name = {
            name: stack.enter_context(upstreams.serve_upstream(name, upstreams.respond_normally)) for name in MODELS
        }
        deployments = [
            {
                "model_name": "any",
                "litellm_params": {"model": MODELS[name], "api_base": upstream.url, "api_key": "none"},
            }
            for name, upstream in upstreams_by_name.items()
        ]
        config = {"model_list": deployments, "router_settings": {"plugins": ["routing.plugin"]}}
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        proxy = subprocess.Popen(
            [sys.executable, "-c", "import litellm; litellm.run_server()", "--config=config.yaml", f"--port={port}"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LITELLM_MASTER_KEY": key}, cwd=tmp_path,
        )  # fmt: skip
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))

        def alive() -> bool:
            assert proxy.poll() is None
            try:
                return client.get("/health/liveliness").status_code == 200
            except httpx.TransportError:
                return False

        upstreams.wait_until(alive, 120)
        for text, name in (("one for large", "large"), ("one for small", "small")) * 3:
            body = {"model": "any", "messages": [{"role": "user", "content": text}]}
            answer = client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
            assert answer.json()["choices"][0]["message"]["content"] == f"I am {name}"
