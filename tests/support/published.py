"""Made-up rows with the very columns of published data sets."""

from pathlib import Path
from typing import Any

ANSWERS = ["A", "B", "C", "D"]

JUDGED = ("alpaca_eval", "mt_bench", "flask")  # without a method: a judge rewards them
# Preset → rows with the published columns, the class labels among them, and a right answer to the first row.
PUBLISHED: dict[str, tuple[list[dict[str, Any]], dict[str, list[str]], str]] = {
    "gsm8k": (
        [{"question": "What is 2 + 2?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}, {"question": "?", "answer": "#### 1"}],
        {},
        "The answer is 4.",
    ),
    "mmlu": (
        [{"question": "Which is red?", "subject": "colours", "choices": ["sky", "blood", "sea", "snow"], "answer": 1}],
        {"answer": ANSWERS},
        "The answer to this question is B.",
    ),
    "math500": (
        [{"problem": "Halve 1.", "solution": "…", "answer": r"\frac{1}{2}", "subject": "Algebra", "level": 1,
          "unique_id": "test/algebra/1.json"}],
        {},
        r"\boxed{0.5}",
    ),
    "mmlu_pro": (
        [{"question_id": 1, "question": "Tenth?", "options": list("abcdefghij"), "answer": "J", "answer_index": 9,
          "cot_content": "", "category": "letters", "src": "made up"}],
        {},
        "(J)",
    ),
    "humaneval": (
        [{"task_id": "HumanEval/0", "prompt": "def double(x):\n", "canonical_solution": "    return 2 * x\n",
          "test": "def check(candidate):\n    assert candidate(2) == 4\n", "entry_point": "double"}],
        {},
        "```python\ndef double(x):\n    return 2 * x\n```",
    ),
    "alpaca_eval": (
        [{"dataset": "koala", "instruction": "Greet me.", "output": "Hello.", "generator": "text_davinci_003"}], {}, "",
    ),
    "sst2": (
        [{"idx": 0, "sentence": "a delight", "label": 1}, {"idx": 1, "sentence": "?", "label": -1}],
        {"label": ["negative", "positive"]},
        "Positive.",
    ),
    "mt_bench": (
        [{"prompt": ["Write a post.", "Shorten it."], "prompt_id": 1, "category": "writing", "reference": []}], {}, "",
    ),
    "flask": (
        [{"question_id": 1, "text": "Design a puzzle.", "task": "Self-instruct", "answer": "|6|1|",
          "domain_labeled": ["Math", "Coding"], "metrics": ["Comprehension"], "difficulty_labeled": "expert"}],
        {}, "",
    ),
    "isear": ([{"emotion": "guilt", "content": "I forgot her birthday."}], {}, "Guilt"),
    "fever": (
        [{"id": 1, "label": "REFUTES", "claim": "Rome is in Spain.", "evidence_annotation_id": 1, "evidence_id": 1,
          "evidence_wiki_url": "Rome", "evidence_sentence_id": 0}],
        {}, "REFUTES",
    ),
    "rt_polarity": ([{"text": "a delight", "label": 1}], {"label": ["neg", "pos"]}, "Positive."),
    "cr": ([{"text": "the battery is weak", "label": 0, "label_text": "negative"}], {}, "Negative"),
    "natural_questions": ([{"question": "who wrote it", "answer": ["Ann Lee", "A. Lee"]}], {}, "A. Lee"),
    "wikifact": ([{"template": "Ann Lee was born in", "result_names": ["Rome", "Roma"]}], {}, "Roma"),
    "babi": ([{"passage": "Ann is in the hall.", "question": "Where?", "answer": "hall", "task": 1}], {}, "hall"),
    "aime24": (
        [{"id": 60, "problem": "Find n.", "solution": "…", "answer": "204", "url": "https://", "year": "2024"}],
        {}, r"\boxed{204}",
    ),
    "date": (
        [{"idx": 0, "inputs": "Today is 6/18/2019. What was yesterday?", "targets": ["06/17/2019"],
          "multiple_choice_targets": ["06/17/2019", "06/16/2019"], "multiple_choice_scores": [1, 0]}],
        {}, r"\boxed{06/17/2019}",
    ),
    "mathbench": ([{"question": "Calculate 6 / 4.", "answer": "1.5"}], {}, r"\boxed{1.5}"),
    "openbookqa": (
        [{"id": "1", "question_stem": "What shines?", "choices": {"text": ["sun", "mud"], "label": ["A", "B"]},
          "answerKey": "A"}],
        {},
        "A. sun",
    ),
}  # fmt: skip


def save(folder: Path, rows: list[dict[str, Any]], labels: dict[str, list[str]], split: str = "test") -> Path:
    """Write rows as `save_to_disk` does."""
    import datasets

    table = datasets.Dataset.from_list(rows)
    for column, names in labels.items():
        table = table.cast_column(column, datasets.ClassLabel(names=names))
    datasets.DatasetDict({split: table}).save_to_disk(str(folder))
    return folder
