"""Read battles of two models, as LMArena publishes them: a person saw both responses and chose one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.messages import parse_json, role_text
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import list_files

TIES = ("tie", "tie (bothbad)", "bothbad", "both_bad")
_REWARDS = {"model_a": (0.5, -0.5), "model_b": (-0.5, 0.5), **dict.fromkeys(TIES, (0.0, 0.0))}


@dataclass(frozen=True)
class Arena:
    """Read battles: the winner's reward is ½, the loser's −½, and both are 0 after a tie.

    A battle names model_a, model_b and who won; or `winner` and `loser`, with `tie` true where neither did.

    A mean of these rewards is half of (wins − losses) / battles, so it favours candidates that met weak opponents.
    """

    name: ClassVar[str] = "arena"

    def recognises(self, preview: Preview) -> bool:
        """Tell whether rows have two models and who won."""
        if preview.has("winner", "loser"):
            return True
        return preview.has("model_a", "model_b") and (preview.has("winner") or preview.has("winner_model_a"))

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file at the path; see `Format`."""
        for file in list_files(path):
            yield from to_batches(row for item in read_items(file) for row in _rows(item))
        note("rewards are ½ for the winner, −½ for the loser and 0 for ties; each battle rewards two candidates only")


def _rows(item: Item) -> Iterator[dict[str, Any]]:
    names, rewards = _outcome(item)
    text = item.get("prompt") or item.get("query")
    query = role_text(parse_json(item.get("conversation_a")), "user") or _joined(text)
    if not query.strip():
        raise item.error("the user's text in 'conversation_a', 'prompt' or 'query'", item.get("conversation_a"))
    tags = sorted(_categories(parse_json(item.get("category_tag")))) + ["code"] * (item.get("is_code") is True)
    for name, reward, side in zip(names, rewards, "ab", strict=True):
        response = role_text(parse_json(item.get(f"conversation_{side}")), "assistant")
        yield item.row({
            "query": query, "candidate": name, "reward": reward, "tags": tags or None,
            "response": response or _joined(item.get(f"response_{side}")) or None,
        })  # fmt: skip


def _outcome(item: Item) -> tuple[tuple[str, str], tuple[float, float]]:
    """Read both models and their rewards."""
    if item.get("loser") is not None:
        is_tie = bool(item.number_or_none("tie"))
        return (item.text("winner"), item.text("loser")), (0.0, 0.0) if is_tie else (0.5, -0.5)
    rewards = _REWARDS.get(_winner(item))
    if rewards is None:
        raise item.error(f"one of {list(_REWARDS)} as 'winner'", item.get("winner"))
    return (item.text("model_a"), item.text("model_b")), rewards


def _winner(item: Item) -> str:
    """Read the winner from `winner`, or from the columns winner_model_a, winner_model_b and winner_tie."""
    if item.get("winner") is not None:
        return str(item.get("winner"))
    for value, key in (("model_a", "winner_model_a"), ("model_b", "winner_model_b"), ("tie", "winner_tie")):
        if item.number(key):
            return value
    raise item.error("1 as winner_model_a, winner_model_b or winner_tie", "0 in all")


def _joined(value: Any) -> str:
    """Join turns, which are a text or a list of texts, perhaps written as JSON."""
    turns = parse_json(value)
    if isinstance(turns, list):
        return "\n".join(turn for turn in turns if isinstance(turn, str))
    return turns if isinstance(turns, str) else ""


def _categories(value: Any) -> set[str]:
    """Collect the keys that are true, at any depth."""
    if not isinstance(value, Mapping):
        return set()
    names = {str(name) for name, flag in value.items() if flag is True}
    return names.union(*(_categories(inner) for inner in value.values()))
