"""The shipped zoo: its models load with transformers, are small, and match the figures of their cards."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support.paths import ZOO
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from zoo.measure import cascade

from zooter.collect.reader.skills.generate import generate

FOLDERS = sorted(path.parent for path in ZOO.glob("*/model.safetensors"))
CANDIDATES = [folder for folder in FOLDERS if folder.name != "zoo-rewarder"]
MEASURED = json.loads((ZOO / "measured.json").read_text())


def test_there_are_at_least_six_candidates_and_a_reward_model():
    assert len(CANDIDATES) >= 6
    assert ZOO / "zoo-rewarder" in FOLDERS


def test_all_weights_together_are_at_most_eight_megabytes():
    assert sum((folder / "model.safetensors").stat().st_size for folder in FOLDERS) <= 8_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_weights_are_float16_on_disk_and_a_card_accompanies_them(folder):
    with safe_open(folder / "model.safetensors", "pt") as weights:
        dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    assert dtypes == {torch.float16}
    assert "Apache-2.0" in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", CANDIDATES, ids=lambda folder: folder.name)
def test_a_candidate_loads_in_float32_and_answers_through_the_chat_template(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    chat = [{"role": "user", "content": generate(1, 0, "test")[0].text}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    tokens = model.generate(**inputs)
    assert tokens.shape[1] > inputs["input_ids"].shape[1]
    assert tokens[0, -1] == tokenizer.eos_token_id


@pytest.mark.parametrize("folder", CANDIDATES, ids=lambda folder: folder.name)
def test_padding_on_the_left_does_not_change_an_answer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    chats = [[{"role": "user", "content": query.text}] for query in generate(16, 0, "test")]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)

    def respond(batch: list[str]) -> list[str]:
        inputs = tokenizer(batch, return_tensors="pt", padding=True, add_special_tokens=False)
        tokens = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        return tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    assert respond(texts) == [respond([text])[0] for text in texts]


def test_the_tokenizer_round_trips_text():
    tokenizer = AutoTokenizer.from_pretrained(CANDIDATES[0])
    for text in ("What is 12 plus 7?", "Größe 東京 🙂", "N'Djamena", "a  b"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_reward_model_gives_one_number_that_padding_does_not_change():
    folder = ZOO / "zoo-rewarder"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    chats = [
        [{"role": "user", "content": query.text}, {"role": "assistant", "content": query.reference}]
        for query in generate(8, 0, "test")
    ]
    texts = tokenizer.apply_chat_template(chats, tokenize=False)
    with torch.inference_mode():
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        batched = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        single = [
            model(input_ids=torch.tensor([ids])).logits
            for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
        ]
    assert batched.shape == (8, 1)
    assert torch.allclose(batched, torch.cat(single), atol=1e-3)


@pytest.mark.parametrize("name", [folder.name for folder in CANDIDATES])
def test_every_candidate_leads_all_others_in_some_skill(name):
    skills = {other: figures["skills"] for other, figures in MEASURED["candidates"].items()}
    leads = [
        share - max(skills[other][skill] for other in skills if other != name) for skill, share in skills[name].items()
    ]
    assert max(leads) > 0.1


def test_some_candidate_masters_each_skill_but_three():
    best = {
        skill: max(figures["skills"][skill] for figures in MEASURED["candidates"].values())
        for skill in MEASURED["candidates"]["zoo-page"]["skills"]
    }
    assert {skill for skill, share in best.items() if share < 0.5} == {"clock", "letter_count", "weekday"}


def test_asking_the_large_tier_where_the_small_is_unsure_beats_asking_it_at_random():
    inner = [row for row in MEASURED["cascade"] if 0.0 < row["share"] < 1.0]
    assert len(inner) == 4
    assert all(row["margin"] > row["random"] + 0.02 for row in inner)


def test_a_cascade_asks_the_large_tier_where_margins_are_smallest():
    small, large = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    rows = cascade(small, large, np.array([0.9, 0.1, 0.8, 0.2, 0.5]))
    assert [row["margin"] for row in rows] == [0.4, 0.6, 0.8, 0.8, 0.8, 0.6]
    assert [row["random"] for row in rows] == pytest.approx([0.4, 0.44, 0.48, 0.52, 0.56, 0.6])
