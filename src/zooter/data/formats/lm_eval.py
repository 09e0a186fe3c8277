"""Read samples of lm-evaluation-harness: `samples_TASK_DATE.jsonl` in a folder per model (`--log_samples`)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import list_files
from zooter.errors import RecordsError

# The date is that of `datetime.isoformat` with - for :, which may have no microseconds.
_FILE_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d[\d.]*\.jsonl(\.gz|\.zst)?")


def is_read(file: Path) -> bool:
    """Tell whether a file holds samples; the harness writes results beside them."""
    return _FILE_NAME.fullmatch(file.name) is not None


@dataclass(frozen=True)
class LmEval:
    """Read the samples of lm-evaluation-harness; the candidate is a file's folder, and the tag is its task.

    A document's text is that of the model that comes first, because chat templates differ: rows of one `doc_hash` are
    one query.

    Attributes:
        metric: the reward; None takes the first that the task lists.
        filter: the answer extraction whose rows count; None takes the task's first.
        query: key of the text in a sample, such as "doc.question"; None takes what the model was given
            (`arguments`), which holds the examples of few-shot tasks too.
    """

    name: ClassVar[str] = "lm-eval"
    metric: str | None = None
    filter: str | None = None
    query: str | None = None

    def recognises(self, preview: Preview) -> bool:
        """Tell whether a file is named as the harness names its samples."""
        return any(is_read(file) for file in list_files(preview.path))

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file of samples at the path; see `Format`."""
        files = [file for file in list_files(path) if is_read(file)]
        if not files:
            raise RecordsError(
                expected=f"samples_TASK_DATE.jsonl in a folder per model at {path}",
                found="no file of that name",
                do="run lm_eval with --log_samples and --output_path, and give that folder",
            )
        yield from to_batches(self._rows(files, note))

    def _rows(self, files: list[Path], note: Note) -> Iterator[dict[str, Any]]:
        text_of_document: dict[tuple[str, str], str] = {}
        choices: dict[tuple[str, str], str] = {}  # (task, "metric" or "filter") → what was chosen
        skipped: dict[str, int] = {}
        for file in files:
            match = _FILE_NAME.fullmatch(file.name)
            assert match is not None
            task = match["task"]
            for item in read_items(file):
                item.number("doc_id")  # every version writes it; a row without it is no sample
                chosen = self._choose(item, "filter", item.get("filter") or "none", self.filter, task, choices, note)
                if (item.get("filter") or "none") != chosen:
                    skipped[task] = skipped.get(task, 0) + 1
                    continue
                metric = self._choose(item, "metric", item.get("metrics"), self.metric, task, choices, note)
                document = task, str(item.get("doc_hash") or item.text("prompt_hash"))
                text = text_of_document.setdefault(document, _query(item, self.query))
                yield item.row({
                    "query": text, "query_id": f"{task}/{document[1]}", "candidate": file.parent.resolve().name,
                    "reward": _reward(item, metric),
                    "tags": [task], "response": _response(item), "reference": item.text_or_none("target"),
                })  # fmt: skip
        for task, count in skipped.items():
            note(f"{task}: {count:,} rows of other filters than {choices[task, 'filter']!r} are left out (filter=…)")

    def _choose(
        self, item: Item, what: str, present: Any, chosen: str | None, task: str,
        choices: dict[tuple[str, str], str], note: Note,
    ) -> str:  # fmt: skip
        """Choose the metric or filter of a task: the chosen one, or the first that is met."""
        if chosen is not None:
            choices[task, what] = chosen
        elif (task, what) not in choices:
            names = [present] if isinstance(present, str) else present
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise item.error(f"a list of names as '{what}s'", present, "use a later version of the harness")
            choices[task, what] = names[0]
            if what == "metric" and len(names) > 1:
                note(f"{task}: the reward is {names[0]!r}, the first of {names} (metric=… chooses another)")
        return choices[task, what]


def _reward(item: Item, metric: str) -> float | None:
    if metric not in item.values:
        raise item.error(f"the metric {metric!r}", item.get("metrics"), "choose one of these: metric=…")
    return item.as_number(item.values[metric], metric)


def _query(item: Item, key: str | None) -> str:
    if key is not None:
        return item.text(key)
    arguments = item.get("arguments")
    if isinstance(arguments, Mapping):
        text = item.get("arguments.gen_args_0.arg_0")
    else:  # as older versions and other loggers write them: a list per request
        text = arguments[0] if isinstance(arguments, list) and arguments else None
        text = text[0] if isinstance(text, list) and text else text
    if not isinstance(text, str) or not text.strip():
        raise item.error("the model's prompt as 'arguments.gen_args_0.arg_0'", arguments, "name its key: query=doc.…")
    return text


def _response(item: Item) -> str | None:
    """Take the generated text; None for log-likelihoods, which are no response."""
    value = item.get("resps")
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None
