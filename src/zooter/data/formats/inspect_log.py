"""Read logs of Inspect: `.eval` archives, and JSON logs."""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.messages import role_text
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import damaged, kind, list_files

# Inspect's own values of letters (`value_to_float`): correct, partial, incorrect, no answer.
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
ATTACHMENT = "attachment://"
ZSTD = 93  # the archives' compression, which Python reads since 3.14 only


@dataclass(frozen=True)
class InspectLog:
    """Read Inspect's logs; the candidate is the log's model, the tag its task, and an epoch is a sample.

    Attributes:
        metric: the scorer whose value is the reward, or "scorer.key" where it gives several; None takes the first.
    """

    name: ClassVar[str] = "inspect"
    metric: str | None = None

    def recognises(self, preview: Preview) -> bool:
        """Tell whether a file is an archive, or a JSON log with the specification of an evaluation."""
        if kind(preview.file) == "archive":
            return True
        spec = preview.first.get("eval")
        return preview.has("version", "eval", "samples") and isinstance(spec, Mapping) and "model" in spec

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every log at the path; see `Format`."""
        scorers: dict[str, str] = {}
        for file in list_files(path):
            for log, samples in _logs(file):
                if log.get("status") not in (None, "success"):
                    note(f"{file.name}: the evaluation ended with {log.get('status')!r}; its samples so far are read")
                yield from to_batches(self._row(log, sample, scorers, note) for sample in samples)

    def _row(self, log: Item, sample: Item, scorers: dict[str, str], note: Note) -> dict[str, Any]:
        task, model = log.text("eval.task"), log.text("eval.model")
        content = sample.get("input")
        query = _attached(sample, content if isinstance(content, str) else role_text(content, "user"))
        if not query.strip():
            raise sample.error("a text, or messages with a user's text, as 'input'", content)
        target = sample.get("target")
        choice = next(sample.items_or_none("output.choices"), None)
        usage = sample.inner("model_usage").values.get(model)  # the key may have points
        tokens = Item(sample.path, sample.place, usage if isinstance(usage, Mapping) else {})
        return sample.row({
            "query": query, "query_id": f"{task}/{sample.get('id')}", "candidate": model, "tags": [task],
            "sample": (sample.count_or_none("epoch") or 1) - 1,
            "reward": None if sample.get("error") else self._reward(sample, task, scorers, note),
            "response": _attached(sample, sample.text_or_none("output.completion") or "") or None,
            "reference": target if isinstance(target, str) else None,
            "finish_reason": choice.text_or_none("stop_reason") if choice else None,
            "input_tokens": tokens.count_or_none("input_tokens"), "cost": tokens.number_or_none("total_cost"),
            "output_tokens": tokens.count_or_none("output_tokens"), "seconds": sample.number_or_none("total_time"),
        })  # fmt: skip

    def _reward(self, sample: Item, task: str, scorers: dict[str, str], note: Note) -> float | None:
        scores = sample.get("scores")
        if not scores:  # an evaluation that was not scored yet
            return None
        if not isinstance(scores, Mapping):
            raise sample.error("an object as 'scores'", scores)
        if self.metric is None and task not in scorers:
            scorers[task] = next(iter(scores))
            if len(scores) > 1:
                note(f"{task}: the reward is that of {scorers[task]!r}, the first of {list(scores)} (metric=…)")
        name, _, key = (self.metric or scorers[task]).partition(".")
        if name not in scores:
            raise sample.error(f"a score of {name!r}", list(scores), "choose one of these: metric=…")
        value = scores[name].get("value") if isinstance(scores[name], Mapping) else scores[name]
        if isinstance(value, Mapping):
            if key not in value:
                raise sample.error(f"one value of the scorer {name!r}", list(value), f"choose one: metric={name}.KEY")
            value = value[key]
        if isinstance(value, str) and (value in LETTERS or value.lower() in LETTERS):
            return LETTERS[value if value in LETTERS else value.lower()]
        return sample.as_number(value, f"scores.{name}.value")


def _attached(sample: Item, text: str) -> str:
    """Replace a reference to an attachment, as Inspect keeps long texts, by its text."""
    if not text.startswith(ATTACHMENT):
        return text
    attached = sample.inner("attachments").values.get(text.removeprefix(ATTACHMENT))
    if not isinstance(attached, str):
        raise sample.error("the text of an attachment", text)
    return attached


def _logs(file: Path) -> Iterator[tuple[Item, Iterator[Item]]]:
    """Yield a file's log, without its samples, and its samples."""
    if kind(file) == "archive":
        yield _archive_header(file), _archive_samples(file)
        return
    for item in read_items(file):
        item.text("eval.model")  # another JSON file has no samples either
        yield item, item.items_or_none("samples")


def _archive_header(file: Path) -> Item:
    with _open(file) as archive:
        names = archive.namelist()
        # An evaluation that was interrupted has no header yet.
        name = next((n for n in ("header.json", "_journal/start.json") if n in names), None)
        if name is None:
            raise damaged(file, f"no header.json, but {names[:5]}")
        return Item(file, name, _load(file, archive, name))


def _archive_samples(file: Path) -> Iterator[Item]:
    with _open(file) as archive:
        for name in archive.namelist():
            if name.startswith("samples/") and name.endswith(".json"):
                yield Item(file, name, _load(file, archive, name))


def _open(file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError) as error:
        raise damaged(file, error) from error


def _load(file: Path, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        value = json.loads(_content(archive, archive.getinfo(name)))
    except (ValueError, RecursionError, OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise damaged(file, error, name) from error
    if not isinstance(value, dict):
        raise damaged(file, f"{type(value).__name__} instead of a JSON object", name)
    return value


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except NotImplementedError:
        if info.compress_type != ZSTD or archive.fp is None:
            raise zipfile.BadZipFile(f"compression {info.compress_type}") from None
    stream: IO[bytes] = archive.fp
    stream.seek(info.header_offset + 26)  # lengths of the name and the extra field, before the content
    stream.seek(sum(struct.unpack("<HH", stream.read(4))), 1)
    data = pa.input_stream(pa.BufferReader(stream.read(info.compress_size)), compression="zstd").read()
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"bad checksum of {info.filename}")
    return bytes(data)
