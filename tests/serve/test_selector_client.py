"""Selectors behind the server."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from support import upstreams
from support.upstreams import Behaviour, http_response, respond_with, running_server

from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.cascade.route_then_verify import RouteThenVerifySelector
from zooter.selector.routing.price_target import source_hashes
from zooter.selector.routing.routed import RoutedSelector
from zooter.selector.voting.consistency import ConsistencySelector

FIXED_THRESHOLD = EscalationThreshold(online_threshold=False, fixed=(0.5,))
MARGIN = MarginSelector(order=("small", "large"), threshold=FIXED_THRESHOLD)


def respond_with_margin(margin: float, text: str = "", **more: Any) -> Behaviour:
    """Return a behaviour that answers with this margin between its first tokens' probabilities."""
    tops = [
        {"token": "a", "logprob": math.log((1 + margin) / 2)},
        {"token": "b", "logprob": math.log((1 - margin) / 2)},
    ]
    content = json.loads(upstreams.completion_body(text, **more))
    content["choices"][0]["logprobs"] = {
        "content": [{"token": "a", "logprob": tops[0]["logprob"], "top_logprobs": tops}]
    }

    async def behaviour(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        content["choices"][0]["message"]["content"] = text or f"I am {upstream.name}"
        writer.write(http_response(json.dumps(content).encode()))

    return behaviour


@pytest.mark.parametrize(("margin", "answers", "asked"), [(0.8, "small", 0), (0.2, "large", 1)])
def test_a_margin_cascade_asks_the_larger_one_where_the_smaller_is_unsure(
    tmp_path: Path, margin: float, answers: str, asked: int
) -> None:
    behaviours = {"small": respond_with_margin(margin), "large": respond_with_margin(0.9)}
    with running_server(tmp_path, behaviours, selectors={"margin": MARGIN}) as front:  # type: ignore[arg-type]
        answer = front.chat("hello", model="zooter:margin", temperature=0.5, n=2)
        assert front.metric("escalations_total", selector="margin") == asked
        assert front.metric("tokens_total", candidate="small", kind="output") == 5
    assert answer.headers["x-zooter-candidate"] == answers
    assert answer.headers["x-zooter-why"] == f"margin: tier {asked + 1}"
    assert answer.json()["choices"][0]["message"]["content"] == f"I am {answers}"
    assert len(front.upstreams["large"].bodies) == asked
    sent = front.upstreams["small"].bodies[0]
    assert (sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (0.5, True, 10)
    assert "n" not in sent


def test_a_selectors_answer_can_be_streamed_with_its_tool_calls(tmp_path: Path) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    with (
        running_server(
            tmp_path, {"small": respond_with_margin(0.9, "well", tool_calls=calls)}, selectors={"margin": MARGIN}
        ) as front,
        openai.OpenAI(base_url=f"{front.url}/v1", api_key="none") as client,
    ):
        assert "zooter:margin" in [model.id for model in client.models.list()]
        stream = client.chat.completions.create(
            model="zooter:margin", messages=[{"role": "user", "content": "hello"}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        parts = [part.choices[0].delta for part in stream]
    assert "".join(part.content or "" for part in parts) == "well"
    assert parts[0].tool_calls
    assert parts[0].tool_calls[0].function
    assert parts[0].tool_calls[0].function.name == "look"
    assert "stream_options" not in front.upstreams["small"].bodies[0]


def test_a_consistency_cascade_is_served(tmp_path: Path) -> None:
    selector = ConsistencySelector(order=("small", "large"), samples=3)
    answers = iter(["it is 4", "it is 5", "it is 4"] + ["it is 5"] * 3)

    async def sampled(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(http_response(upstreams.completion_body(next(answers))))

    with running_server(tmp_path, {"small": sampled, "large": sampled}, selectors={"consistency": selector}) as front:
        answer = front.chat("2 + 3?", model="zooter:consistency")
    assert answer.json()["choices"][0]["message"]["content"] == "it is 5"
    assert (len(front.upstreams["small"].bodies), len(front.upstreams["large"].bodies)) == (3, 3)


def test_the_exports_router_gives_the_order_where_a_selector_routes_first(tmp_path: Path) -> None:
    selectors = {
        "routed": RoutedSelector(),
        "routed_margin": RouteThenVerifySelector(
            then=MarginSelector(threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,)))
        ),
    }
    behaviours = {name: respond_with_margin(0.1) for name in ("small", "large", "tiny")}
    with running_server(tmp_path, behaviours, selectors=selectors) as front:  # type: ignore[arg-type]
        assert front.chat("one for tiny", model="zooter:routed").headers["x-zooter-candidate"] == "tiny"
    assert not front.upstreams["small"].bodies


def test_one_fixed_threshold_serves_whichever_candidate_the_router_puts_first(tmp_path: Path) -> None:
    selector = RouteThenVerifySelector(then=MarginSelector(threshold=FIXED_THRESHOLD))
    behaviours = {
        "small": respond_with_margin(0.1),
        "large": respond_with_margin(0.9),
        "tiny": respond_with_margin(0.9),
    }
    with running_server(tmp_path, behaviours, selectors={"routed_margin": selector}) as front:  # type: ignore[arg-type]
        unsure, certain = (front.chat(f"one for {name}", model="zooter:routed_margin") for name in ("small", "tiny"))
    assert [answer.headers["x-zooter-candidate"] for answer in (unsure, certain)] == ["large", "tiny"]


def calibrated(folder: Path, order: Sequence[str], threshold: float) -> None:
    """Write an export whose cascade is calibrated to a threshold."""
    folder.mkdir()
    (folder / manifest.HEAD).write_bytes(b"weights")
    facts = {"data": {"sha256": {"table.parquet": "abc"}}}
    manifest.write(folder, facts)
    content = {"order": order, "thresholds": [threshold], "signal": "probability", "distinct": False}
    manifest.write_json(folder / manifest.MARGIN, {**content, "for": source_hashes(manifest.verify(folder))})
    manifest.write(folder, facts)


@pytest.mark.parametrize("selectors", [{}, {"margin": MarginSelector()}])
@pytest.mark.parametrize(("threshold", "answers"), [(0.3, "small"), (0.5, "large")])
def test_an_exports_calibrated_thresholds_serve_under_margin(
    tmp_path: Path, selectors: dict[str, MarginSelector], threshold: float, answers: str
) -> None:
    calibrated(tmp_path / "export", ["small", "large"], threshold)
    behaviours = {"small": respond_with_margin(0.4), "large": respond_with_margin(0.9)}
    with running_server(tmp_path, behaviours, selectors=selectors) as front:  # type: ignore[arg-type]
        assert "zooter:margin" in [model["id"] for model in front.client.get("/v1/models").json()["data"]]
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == answers


def test_a_cascade_of_the_settings_takes_precedence_over_the_exports(tmp_path: Path) -> None:
    calibrated(tmp_path / "export", ["tiny", "large"], 0.5)
    with running_server(tmp_path, {"small": respond_with_margin(0.8)}, selectors={"margin": MARGIN}) as front:
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == "small"


def test_a_calibrated_cascade_whose_candidates_cannot_be_asked_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrated(tmp_path / "export", ["gone", "large"], 0.5)
    with running_server(tmp_path) as front:
        assert front.chat(model="zooter:margin").status_code == 404
    assert "zooter:margin is not offered: it asks ['gone']" in caplog.text


def test_after_a_failed_call_the_selector_asks_its_next_candidate(tmp_path: Path) -> None:
    behaviours = {"small": None, "large": respond_with_margin(0.9)}
    with running_server(tmp_path, behaviours, selectors={"margin": MARGIN}) as front:  # type: ignore[arg-type]
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == "large"


def test_when_every_call_of_a_selector_fails_the_error_says_why(tmp_path: Path) -> None:
    wrong = json.dumps({"error": {"message": "too long"}}).encode()
    for behaviour, status in (
        (respond_with(http_response(b"", 500)), 502),
        (respond_with(http_response(wrong, 400)), 400),
    ):
        with running_server(
            tmp_path, dict.fromkeys(("small", "large"), behaviour), selectors={"margin": MARGIN}
        ) as front:
            answer = front.chat(model="zooter:margin")
        assert answer.status_code == status
        assert ("too long" if status == 400 else "small: HTTP 500") in answer.text


def test_an_unknown_selector_is_a_404_that_lists_the_known_ones(tmp_path: Path) -> None:
    with running_server(tmp_path, selectors={"margin": MARGIN}) as front:
        answer = front.chat(model="zooter:margins")
    assert answer.status_code == 404
    assert "'zooter:margin'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (MarginSelector(order=("smal", "large", "tiny"), threshold=FIXED_THRESHOLD), "smal"),
        (OracleSelector(), "truths"),
        ({"order": ["small"]}, "a selector as selectors.one"),
        (SingleSelector("smal"), "smal"),
        (MarginSelector(), "2 or more different candidates"),
        (
            MarginSelector(order=("small", "large"), threshold=EscalationThreshold(online_threshold=False)),
            "1 fixed thresholds",
        ),
    ],
)
def test_a_selector_that_cannot_be_served_is_refused_at_the_start(tmp_path: Path, selector: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words), running_server(tmp_path, selectors={"one": selector}):
        pass
