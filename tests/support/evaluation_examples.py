"""A small example of each format of evaluations, in its published form."""

from pathlib import Path
from typing import Any

from support.evaluations import write_json, write_lines

DATE = "2024-05-20T12-34-56.789012"
TURN = [{"role": "user", "content": "q"}]
# Format → file → its first row, or the document: no more than what it is recognised by.
FILES: dict[str, tuple[str, Any]] = {
    "lm-eval": (f"org__m/samples_gsm8k_{DATE}.jsonl", {"doc_id": 0, "doc": {}, "filter": "none", "doc_hash": "d",
                                                       "metrics": ["acc"], "acc": 1, "arguments": [["q", ""]]}),
    "inspect": ("log.json", {"version": 2, "eval": {"task": "t", "model": "m"}, "samples": []}),
    "helm": ("runs/s/mmlu:model=m/scenario_state.json", {"request_states": []}),
    "every-eval-ever": ("a_samples.jsonl", {"model_id": "m", "evaluation_name": "e", "sample_id": "1",
                                            "evaluation": {"score": 1}, "input": {"raw": "q"}}),
    "alpaca-eval": ("m/annotations.json", [{"instruction": "q", "generator_1": "r", "output_1": "", "output_2": "",
                                            "generator_2": "m", "preference": 2.0}]),
    "mt-bench": ("gpt-4_single.jsonl", {"question_id": 1, "model": "m", "judge": [], "score": 7, "turn": 1}),
    "arena": ("battles.jsonl", {"model_a": "a", "model_b": "b", "winner": "tie", "conversation_a": TURN, "turn": 1}),
    "litellm": ("log.jsonl", {"call_type": "completion", "model": "m", "messages": TURN, "response_cost": 0.1,
                              "response": "x", "status": "success"}),
    "opentelemetry": ("traces.json", {"resourceSpans": []}),
    "langfuse": ("observations.jsonl", {"id": "o", "traceId": "t", "type": "GENERATION", "model": "m", "input": "q",
                                        "output": "r"}),
    "long": ("records.jsonl", {"query": "q", "candidate": "m", "response": "r", "reward": None, "why": "routed"}),
    "wide": ("table.jsonl", {"prompt": "q", "eval_name": "e", "a": 1.0, "b": 0.5}),
}  # fmt: skip


SPAN = {
    "spanId": "s", "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    "attributes": [
        {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
        {"key": "gen_ai.input.messages", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
            {"key": "role", "value": {"stringValue": "user"}}, {"key": "content", "value": {"stringValue": "q"}},
        ]}}]}}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "5"}},
    ],
    "events": [{"name": "gen_ai.evaluation.result", "attributes": [
        {"key": "gen_ai.evaluation.name", "value": {"stringValue": "ok"}},
        {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 1.0}},
    ]}],
}  # fmt: skip
INSPECT_SAMPLE = {
    "id": 1, "epoch": 1, "input": TURN, "target": "4", "scores": {"match": {"value": "C"}}, "error": None,
    "output": {"completion": "r", "choices": [{"stop_reason": "stop"}]}, "attachments": {}, "total_time": 1.0,
    "model_usage": {"m": {"input_tokens": 1, "output_tokens": 1, "total_cost": 0.5}},
}  # fmt: skip
HELM_STATE = {
    "instance": {"input": {"text": "q"}, "id": "1", "references": [{"output": {"text": "r"}, "tags": ["correct"]}]},
    "train_trial_index": 0, "result": {"completions": [{"text": "r"}], "request_time": 0.5},
}  # fmt: skip
LANGFUSE = {**FILES["langfuse"][1], "usageDetails": {"input": 1}, "latency": 0.5, "tags": ["a"], "input": TURN}
LITELLM = {**FILES["litellm"][1], "response": {"choices": [{"message": {"content": "r"}, "finish_reason": "stop"}]}}
# Every file of a whole example, with all that is read of it.
WHOLE: dict[str, dict[str, Any]] = {
    **{name: dict([FILES[name]]) for name in ("lm-eval", "alpaca-eval", "arena", "long", "wide")},
    "every-eval-ever": {"a.jsonl": {**FILES["every-eval-ever"][1], "output": {"raw": ["r"]}, "token_usage": {}}},
    "mt-bench": {"g.jsonl": FILES["mt-bench"][1], "question.jsonl": {"question_id": 1, "turns": ["q"]}},
    "inspect": {"log.json": {**FILES["inspect"][1], "status": "success", "samples": [INSPECT_SAMPLE]}},
    "helm": {
        "r/scenario_state.json": {"request_states": [HELM_STATE]},
        "r/run_spec.json": {"name": "mmlu:model=m", "adapter_spec": {"model": "m"}},
        "r/per_instance_stats.json": [{"instance_id": "1", "train_trial_index": 0,
                                       "stats": [{"name": {"name": "exact_match"}, "mean": 1.0}]}],
    },
    "opentelemetry": {"t.jsonl": {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}},
    "langfuse": {"o.jsonl": LANGFUSE, "s.jsonl": {"id": "s", "traceId": "t", "name": "ok", "value": 1}},
    "litellm": {"l.jsonl": LITELLM},
}  # fmt: skip


def write_all(folder: Path, files: dict[str, Any]) -> None:
    for file, content in files.items():
        (write_lines if file.endswith(".jsonl") else write_json)(folder / file, content)
