"""Selectors asked for by name, on live candidates behind the server."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from support import upstreams
from support.upstreams import Behave, http, in_front, says

from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.selector.baseline.oracle import OracleSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.cascade.route_then_verify import RouteThenVerifySelector
from zooter.selector.routing.price_target import hashes
from zooter.selector.routing.routed import RoutedSelector
from zooter.selector.voting.consistency import ConsistencySelector

HELD = EscalationThreshold(running=False, fixed=(0.5,))
MARGIN = MarginSelector(order=("small", "large"), threshold=HELD)


def sure(margin: float, text: str = "", **more: Any) -> Behave:
    """Answers with first tokens whose probabilities are so far apart."""
    tops = [
        {"token": "a", "logprob": math.log((1 + margin) / 2)},
        {"token": "b", "logprob": math.log((1 - margin) / 2)},
    ]
    told = json.loads(upstreams.reply(text, **more))
    told["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": tops[0]["logprob"], "top_logprobs": tops}]}

    async def behave(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        told["choices"][0]["message"]["content"] = text or f"I am {upstream.name}"
        writer.write(http(json.dumps(told).encode()))

    return behave


@pytest.mark.parametrize(("margin", "answers", "asked"), [(0.8, "small", 0), (0.2, "large", 1)])
def test_a_margin_cascade_asks_the_larger_one_where_the_smaller_is_unsure(
    tmp_path: Path, margin: float, answers: str, asked: int
) -> None:
    behaves = {"small": sure(margin), "large": sure(0.9)}
    with in_front(tmp_path, behaves, selectors={"margin": MARGIN}) as front:  # type: ignore[arg-type]
        answer = front.chat("hello", model="zooter:margin", temperature=0.5, n=2)
        assert front.metric("escalations_total", selector="margin") == asked
        assert front.metric("tokens_total", candidate="small", kind="output") == 5
    assert answer.headers["x-zooter-candidate"] == answers
    assert answer.headers["x-zooter-why"] == f"margin: tier {asked + 1}"
    assert answer.json()["choices"][0]["message"]["content"] == f"I am {answers}"
    assert len(front.up["large"].bodies) == asked
    sent = front.up["small"].bodies[0]
    assert (sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (0.5, True, 10)
    assert "n" not in sent


def test_a_selectors_answer_can_be_streamed_with_its_tool_calls(tmp_path: Path) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    with (
        in_front(tmp_path, {"small": sure(0.9, "well", tool_calls=calls)}, selectors={"margin": MARGIN}) as front,
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
    assert "stream_options" not in front.up["small"].bodies[0]


def test_votes_over_samples_are_served(tmp_path: Path) -> None:
    selector = ConsistencySelector(order=("small", "large"), samples=3)
    answers = iter(["it is 4", "it is 5", "it is 4"] + ["it is 5"] * 3)

    async def sampled(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(http(upstreams.reply(next(answers))))

    with in_front(tmp_path, {"small": sampled, "large": sampled}, selectors={"consistency": selector}) as front:
        answer = front.chat("2 + 3?", model="zooter:consistency")
    assert answer.json()["choices"][0]["message"]["content"] == "it is 5"
    assert (len(front.up["small"].bodies), len(front.up["large"].bodies)) == (3, 3)


def test_the_exports_router_gives_the_order_where_a_selector_routes_first(tmp_path: Path) -> None:
    selectors = {
        "routed": RoutedSelector(),
        "routed_margin": RouteThenVerifySelector(
            then=MarginSelector(threshold=EscalationThreshold(running=False, fixed=(0.5,)))
        ),
    }
    behaves = {name: sure(0.1) for name in ("small", "large", "tiny")}
    with in_front(tmp_path, behaves, selectors=selectors) as front:  # type: ignore[arg-type]
        assert front.chat("one for tiny", model="zooter:routed").headers["x-zooter-candidate"] == "tiny"
    assert not front.up["small"].bodies


def test_one_fixed_threshold_serves_whichever_candidate_the_router_puts_first(tmp_path: Path) -> None:
    selector = RouteThenVerifySelector(then=MarginSelector(threshold=HELD))
    behaves = {"small": sure(0.1), "large": sure(0.9), "tiny": sure(0.9)}
    with in_front(tmp_path, behaves, selectors={"routed_margin": selector}) as front:  # type: ignore[arg-type]
        unsure, certain = (front.chat(f"one for {name}", model="zooter:routed_margin") for name in ("small", "tiny"))
    assert [answer.headers["x-zooter-candidate"] for answer in (unsure, certain)] == ["large", "tiny"]


def calibrated(folder: Path, order: Sequence[str], threshold: float) -> None:
    """An export whose cascade was calibrated to a threshold."""
    folder.mkdir()
    (folder / manifest.HEAD).write_bytes(b"weights")
    facts = {"data": {"sha256": {"table.parquet": "abc"}}}
    manifest.write(folder, facts)
    told = {"order": order, "thresholds": [threshold], "signal": "probability", "distinct": False}
    manifest.write_json(folder / manifest.MARGIN, {**told, "for": hashes(manifest.verify(folder))})
    manifest.write(folder, facts)


@pytest.mark.parametrize("given", [{}, {"margin": MarginSelector()}])
@pytest.mark.parametrize(("threshold", "answers"), [(0.3, "small"), (0.5, "large")])
def test_an_exports_calibrated_thresholds_serve_under_margin(
    tmp_path: Path, given: dict[str, MarginSelector], threshold: float, answers: str
) -> None:
    calibrated(tmp_path / "export", ["small", "large"], threshold)
    behaves = {"small": sure(0.4), "large": sure(0.9)}
    with in_front(tmp_path, behaves, selectors=given) as front:  # type: ignore[arg-type]
        assert "zooter:margin" in [model["id"] for model in front.client.get("/v1/models").json()["data"]]
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == answers


def test_a_cascade_of_the_settings_goes_before_the_exports(tmp_path: Path) -> None:
    calibrated(tmp_path / "export", ["tiny", "large"], 0.5)
    with in_front(tmp_path, {"small": sure(0.8)}, selectors={"margin": MARGIN}) as front:
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == "small"


def test_a_calibrated_cascade_whose_candidates_cannot_be_asked_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrated(tmp_path / "export", ["gone", "large"], 0.5)
    with in_front(tmp_path) as front:
        assert front.chat(model="zooter:margin").status_code == 404
    assert "zooter:margin is not offered: it asks ['gone']" in caplog.text


def test_a_failed_call_falls_to_the_next_candidate_of_the_selector(tmp_path: Path) -> None:
    behaves = {"small": None, "large": sure(0.9)}
    with in_front(tmp_path, behaves, selectors={"margin": MARGIN}) as front:  # type: ignore[arg-type]
        assert front.chat(model="zooter:margin").headers["x-zooter-candidate"] == "large"


def test_when_every_call_of_a_selector_fails_it_is_said_why(tmp_path: Path) -> None:
    wrong = json.dumps({"error": {"message": "too long"}}).encode()
    for behave, status in ((says(http(b"", 500)), 502), (says(http(wrong, 400)), 400)):
        with in_front(tmp_path, dict.fromkeys(("small", "large"), behave), selectors={"margin": MARGIN}) as front:
            answer = front.chat(model="zooter:margin")
        assert answer.status_code == status
        assert ("too long" if status == 400 else "small: HTTP 500") in answer.text


def test_an_unknown_selector_is_a_404_that_names_those_there_are(tmp_path: Path) -> None:
    with in_front(tmp_path, selectors={"margin": MARGIN}) as front:
        answer = front.chat(model="zooter:margins")
    assert answer.status_code == 404
    assert "'zooter:margin'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (MarginSelector(order=("smal", "large", "tiny"), threshold=HELD), "smal"),
        (OracleSelector(), "truths"),
        ({"order": ["small"]}, "a selector as selectors.one"),
        (SingleSelector("smal"), "smal"),
        (MarginSelector(), "2 or more different candidates"),
        (MarginSelector(order=("small", "large"), threshold=EscalationThreshold(running=False)), "1 fixed thresholds"),
    ],
)
def test_a_selector_that_cannot_be_served_is_refused_at_the_start(tmp_path: Path, selector: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words), in_front(tmp_path, selectors={"one": selector}):
        pass
