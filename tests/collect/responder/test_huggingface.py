"""Local candidates, compared with transformers called by hand, one query at a time."""

import asyncio
import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny import causal_folder
from transformers import AutoModelForCausalLM, AutoTokenizer

from zooter.collect.responder import huggingface
from zooter.collect.responder.huggingface import HuggingFaceResponder, LocalModel
from zooter.collect.responder.local.sampler import gumbel, label_tokens
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response
from zooter.errors import ConfigError

TEXTS = ["hi", "what is 1 + 1?", "a much longer query than all the others", "x", "Zoo?"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """More threads only wait for one another on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal_folder(tmp_path_factory.mktemp("tiny"))


def ask(
    folder: Path, texts: list[str], samples: int = 1, candidate: dict[str, Any] | None = None, **settings: Any
) -> list[Response]:
    """Responses in the order of the texts, sample after sample."""
    target = Candidate(name="tiny", model=str(folder), **(candidate or {}))
    requests = [Request(Query(text, text), target, sample) for sample in range(samples) for text in texts]

    async def collect() -> list[Response]:
        return [response async for response in HuggingFaceResponder(**settings).respond(requests)]

    by_cell = {(response.query_id, response.sample): response for response in asyncio.run(collect())}
    return [by_cell[request.query.text, request.sample] for request in requests]


def by_hand(folder: Path, text: str, steps: int) -> tuple[list[int], list[tuple[str, float]]]:
    """Greedy tokens and the ten likeliest first ones, without `generate`, padding or cache."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    new: list[int] = []
    first: list[tuple[str, float]] = []
    for step in range(steps):
        with torch.no_grad():
            probs = model(torch.tensor([ids + new])).logits[0, -1].softmax(-1)
        if step == 0:
            order = sorted(range(len(probs)), key=lambda token: -float(probs[token]))[:10]
            first = [(tokenizer.decode([token]), math.log(float(probs[token]))) for token in order]
        new.append(int(probs.argmax()))
        if new[-1] == 2:
            break
    return new, first


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_a_greedy_batch_gives_the_same_responses_as_single_queries(folder: Path, batch_size: int) -> None:
    responses = ask(folder, TEXTS, sampling=Sampling(temperature=0, max_new_tokens=12), batch_size=batch_size)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, response in zip(TEXTS, responses, strict=True):
        new, first = by_hand(folder, f"<user>{text}<a>", 12)
        assert response.text == tokenizer.decode(new, skip_special_tokens=True)
        assert response.first_tokens is not None
        assert [token for token, _ in response.first_tokens] == [token for token, _ in first]
        assert [logprob for _, logprob in response.first_tokens] == pytest.approx(
            [logprob for _, logprob in first], abs=1e-4
        )
        assert response.margin == pytest.approx(math.exp(first[0][1]) - math.exp(first[1][1]), abs=1e-5)
        assert response.output_tokens == len(new)
        assert response.input_tokens == len(f"<user>{text}<a>")
        assert response.finish_reason == ("stop" if new[-1] == 2 else "length")


def test_draws_depend_on_the_cell_alone_and_not_on_the_batch(folder: Path) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=12)
    whole = ask(folder, TEXTS, samples=3, sampling=sampling)
    assert [r.text for r in ask(folder, TEXTS, samples=3, sampling=sampling, batch_size=2)] == [r.text for r in whole]
    assert ask(folder, TEXTS[2:3], sampling=sampling)[0].text == whole[2].text
    assert len({response.text for response in whole}) == len(whole)
    other = ask(folder, TEXTS, samples=3, sampling=Sampling(temperature=1.0, max_new_tokens=12, seed=1))
    assert [r.text for r in other] != [r.text for r in whole]


def test_draws_follow_the_models_distribution(folder: Path) -> None:
    """The first token of 4,000 samples against the softmax at temperature 0.5, within 4 standard errors."""
    n, temperature = 4_000, 0.5
    responses = ask(folder, ["q"], samples=n, sampling=Sampling(temperature=temperature, max_new_tokens=1))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("<user>q<a>", return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        probs = (model(ids).logits[0, -1] / temperature).softmax(-1)
    for token in probs.topk(3).indices.tolist():
        p, seen = float(probs[token]), sum(response.text == tokenizer.decode([token]) for response in responses) / n
        assert abs(seen - p) < 4 * (p * (1 - p) / n) ** 0.5


def test_top_p_draws_from_the_likeliest_only(folder: Path) -> None:
    greedy = ask(folder, TEXTS, sampling=Sampling(temperature=0, max_new_tokens=6))
    narrow = ask(folder, TEXTS, sampling=Sampling(temperature=1.0, top_p=1e-6, max_new_tokens=6))
    assert [response.text for response in narrow] == [response.text for response in greedy]


def test_the_noise_is_standard_gumbel_and_differs_by_seed_position_and_token() -> None:
    noise = gumbel(torch.arange(1_000), 0, 1_000)
    assert torch.isfinite(noise).all()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(1.6449, abs=0.02)
    assert (noise == gumbel(torch.arange(1_000), 0, 1_000)).all()
    assert (
        float(torch.corrcoef(torch.stack([noise.ravel(), gumbel(torch.arange(1_000), 1, 1_000).ravel()]))[0, 1]) < 0.005
    )


def test_a_response_ends_before_a_stop_text(folder: Path) -> None:
    (free,) = ask(folder, ["hi"], sampling=Sampling(temperature=0, max_new_tokens=12))
    stop = free.text[3:5]
    (cut, _) = ask(
        folder, ["hi", "a much longer query"], sampling=Sampling(temperature=0, max_new_tokens=12, stop=(stop,))
    )
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.output_tokens == free.text.index(stop) + len(stop)


def test_a_candidates_template_replaces_the_tokenizers(folder: Path, tmp_path: Path) -> None:
    plain = causal_folder(tmp_path / "plain", chat=None)
    sampling = Sampling(temperature=0, max_new_tokens=4, system="S", message="Q {query}")
    (with_system,) = ask(plain, ["hi"], sampling=sampling)
    assert with_system.input_tokens == len("S\n\nQ hi")
    (own,) = ask(folder, ["hi"], candidate={"template": "{system} USER: {query} ASSISTANT:"}, sampling=sampling)
    assert own.input_tokens == len("S USER: Q hi ASSISTANT:")


def test_a_query_longer_than_the_context_fails_alone(folder: Path) -> None:
    responses = ask(folder, ["hi", "x" * 500], sampling=Sampling(max_new_tokens=4))
    assert responses[0].error is None
    assert responses[1].error == "the query has 509 tokens and the model reads 128"


def test_margins_over_labels_look_at_their_first_tokens_only(folder: Path) -> None:
    (response,) = ask(folder, ["hi"], sampling=Sampling(temperature=0, max_new_tokens=1, labels=("yes", "no")))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        probs = model(tokenizer("<user>hi<a>", return_tensors="pt")["input_ids"]).logits[0, -1].softmax(-1)
    y, n = (float(probs[tokenizer.convert_tokens_to_ids(letter)]) for letter in "yn")
    assert response.margin == pytest.approx(abs(y - n), abs=1e-6)
    by_label = sorted([("yes", math.log(y)), ("no", math.log(n))], key=lambda pair: -pair[1])
    assert [name for name, _ in response.first_tokens or ()] == [name for name, _ in by_label]
    assert [logprob for _, logprob in response.first_tokens or ()] == pytest.approx(
        [logprob for _, logprob in by_label], abs=1e-4
    )


def test_first_tokens_are_those_before_temperature_and_top_p(folder: Path) -> None:
    (plain,) = ask(folder, ["hi"], sampling=Sampling(temperature=0, max_new_tokens=1))
    (warm,) = ask(folder, ["hi"], sampling=Sampling(temperature=3.0, top_p=0.1, max_new_tokens=1))
    assert len(plain.first_tokens or ()) == 10
    assert warm.first_tokens == plain.first_tokens


def test_labels_that_share_their_first_token_are_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"labels that differ in their first token; found 'no' and 'none', which share 'n'"
    ):
        label_tokens(AutoTokenizer.from_pretrained(folder), ["no", "none"])


def test_costs_follow_the_candidates_prices(folder: Path) -> None:
    prices = {"input_price": 2.0, "output_price": 3.0}
    (response,) = ask(folder, ["hi"], candidate=prices, sampling=Sampling(temperature=0, max_new_tokens=4))
    assert response.cost == pytest.approx(
        (2.0 * (response.input_tokens or 0) + 3.0 * (response.output_tokens or 0)) / 1e6
    )


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="a causal language model that transformers can load for 'tiny'"):
        ask(tmp_path, ["hi"])


def test_the_identity_depends_on_the_files_and_not_on_their_folder(folder: Path, tmp_path: Path) -> None:
    identity = HuggingFaceResponder().identity(Candidate("a", model=str(folder)))
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in folder.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    settings = HuggingFaceResponder(batch_size=1, device="cpu", batch_tokens=1)
    assert settings.identity(Candidate("b", model=str(moved), price=3.0)) == identity
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert HuggingFaceResponder().identity(Candidate("a", model=str(moved))) != identity


def test_a_batch_that_does_not_fit_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_batch, sizes = huggingface.LocalModel._generate_batch, []

    def small_memory(self: Any, requests: list[Request], token_rows: list[list[int]]) -> list[Response]:
        sizes.append(len(requests))
        if len(requests) > 2 or "much longer" in requests[0].query.text:
            raise torch.OutOfMemoryError
        return generate_batch(self, requests, token_rows)

    monkeypatch.setattr(huggingface.LocalModel, "_generate_batch", small_memory)
    responses = ask(folder, TEXTS, sampling=Sampling(temperature=0, max_new_tokens=2))
    assert sizes[0] == 5
    assert [response.error is None for response in responses] == [True, True, False, True, True]
    assert "out of memory" in (responses[2].error or "")


def test_candidates_stay_loaded_between_calls_up_to_keep_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = huggingface.LocalModel.load

    def counted(candidate: Candidate, settings: HuggingFaceResponder) -> huggingface.LocalModel:
        loads.append(candidate.name)
        return load(candidate, settings)

    monkeypatch.setattr(huggingface.LocalModel, "load", counted)
    first, second = Candidate("one", model=str(folder)), Candidate("two", model=str(causal_folder(tmp_path, 1)))
    size = load(first, HuggingFaceResponder()).bytes

    async def run(keep_bytes: float) -> list[str]:
        """One, two, one and two again, for two queries each, inside `connections`; then two once more outside it."""
        responder = HuggingFaceResponder(Sampling(temperature=0, max_new_tokens=2), keep_bytes=keep_bytes)
        loads.clear()
        texts = []
        async with responder.connections():
            for candidate in (first, second, first, second):
                requests = [Request(Query(text, text), candidate) for text in TEXTS[:2]]
                texts.append([response.text async for response in responder.respond(requests)])
        assert texts[:2] == texts[2:]
        assert responder.model_cache.models == {}
        assert responder == HuggingFaceResponder(responder.sampling, keep_bytes=keep_bytes)
        async for _ in responder.respond([Request(Query("hi", "hi"), second)]):
            pass
        assert responder.model_cache.models == {}
        return list(loads)

    assert asyncio.run(run(2 * size)) == ["one", "two", "two"]
    assert asyncio.run(run(2 * size - 1)) == ["one", "two", "one", "two", "two"]


def test_weights_of_four_bits_are_smaller_and_another_cell(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder = causal_folder(tmp_path, hidden=64)  # bitsandbytes quantises blocks of 64
    plain, small = HuggingFaceResponder(device="cpu"), HuggingFaceResponder(device="cpu", four_bit=True)
    target = Candidate(name="tiny", model=str(folder))
    assert plain.identity(target) != small.identity(target)
    model = LocalModel.load(target, small)
    assert model.bytes < LocalModel.load(target, plain).bytes
    [response] = model.respond([Request(Query("1", "hello"), target)])
    assert response.error is None


def test_without_the_library_four_bits_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"bitsandbytes and accelerate.*zooter\[4bit\]"):
        LocalModel.load(Candidate(name="tiny", model=str(folder)), HuggingFaceResponder(device="cpu", four_bit=True))


def test_the_identity_of_full_weights_is_that_of_older_versions(folder: Path) -> None:
    identity = HuggingFaceResponder().identity(Candidate(name="tiny", model=str(folder)))
    assert set(identity) == {"responder", "model", "template", "dtype", "sampling"}
