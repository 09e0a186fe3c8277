"""Logs that Inspect writes, read here and by Inspect's own reader: both must agree. Skipped without inspect-ai."""

from pathlib import Path
from typing import Any

import pytest
from support.evaluations import read_rows

pytest.importorskip("inspect_ai")
from inspect_ai.dataset import Sample
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalSample,
    EvalSpec,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput, ModelUsage
from inspect_ai.scorer import Score, value_to_float

MODEL = "openai/gpt-4o-mini"
INPUTS = [
    Sample(input="What is 1 + 1?", target="2"),
    Sample(
        input=[ChatMessageSystem(content="Be brief."), ChatMessageUser(content="long text " * 400)], target=["a", "b"]
    ),
]
VALUES = ["C", "I", "P", "N", 0.25, True, 1]


def sample(number: int) -> EvalSample:
    """Make the sample of one epoch, with the next of all kinds of scores."""
    given = INPUTS[number % len(INPUTS)]
    output = ModelOutput.from_content(MODEL, f"answer {number}")
    usage = ModelUsage(input_tokens=3 + number, output_tokens=2, total_tokens=5 + number)
    return EvalSample(
        id=number % len(INPUTS), epoch=1 + number // len(INPUTS), input=given.input, target=given.target,
        output=output, scores={"match": Score(value=VALUES[number]), "other": Score(value=0)},
        model_usage={MODEL: usage}, total_time=0.5,
    )  # fmt: skip


def expected(item: EvalSample) -> dict[str, Any]:
    text = item.input if isinstance(item.input, str) else item.input[-1].text
    assert item.scores is not None
    return {
        "query": text, "candidate": MODEL, "tags": ["sums"], "sample": item.epoch - 1,
        "reward": value_to_float()(item.scores["match"].value), "response": item.output.completion,
        "input_tokens": item.model_usage[MODEL].input_tokens, "seconds": item.total_time,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".eval", ".json"])
def test_both_readers_agree_on_a_log_that_inspect_wrote(tmp_path: Path, suffix: str) -> None:
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00", task="sums", model=MODEL, dataset=EvalDataset(name="d", samples=2),
        config=EvalConfig(epochs=4),
    )  # fmt: skip
    path = tmp_path / f"log{suffix}"
    log = EvalLog(eval=spec, status="success", samples=[sample(i) for i in range(len(VALUES))])
    write_eval_log(log, str(path))
    rows = read_rows(tmp_path)
    samples = read_eval_log(str(path)).samples
    assert samples is not None

    def place(row: dict[str, Any]) -> tuple[str, int]:
        return row["query"], row["sample"]

    ours = sorted(rows, key=place)
    theirs = sorted(map(expected, samples), key=place)
    assert [{key: row[key] for key in theirs[0]} for row in ours] == theirs
