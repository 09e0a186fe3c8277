"""Read judgments of MT-Bench (FastChat): single scores from 1 to 10, or comparisons of two models."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import kind, list_files
from zooter.errors import ConfigError, RecordsError

QUESTIONS = "question.jsonl"
_WINNERS = ("model_1", "model_2", "tie", "error")


def is_read(file: Path) -> bool:
    """Tell whether a file holds judgments or questions."""
    return kind(file) == "json lines"


@dataclass(frozen=True)
class MTBench:
    """Read `model_judgment/*.jsonl`, with the texts of `question.jsonl` beside or above it.

    A comparison is judged in both orders; as in FastChat, only a model that wins both wins. The winner's reward is ½,
    the loser's −½, and both are 0 after a tie.

    Attributes:
        turn: 1, or 2 for the second turn, whose query is both turns' texts.
        questions: the file of questions; None looks for it.
    """

    name: ClassVar[str] = "mt-bench"
    turn: int = 1
    questions: Path | None = None

    def recognises(self, preview: Preview) -> bool:
        """Tell whether judgments have a question, a judge, and a score or two winners."""
        has_score = preview.has("model", "score") or preview.has("model_1", "model_2", "g1_winner")
        return preview.has("question_id", "judge", "turn") and has_score

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file of judgments at the path; see `Format`."""
        if self.turn not in (1, 2):
            raise ConfigError(expected="turn=1 or turn=2", found=f"turn={self.turn}", do="correct it")
        file = self.questions or _find_questions(path)
        questions = {str(item.get("question_id")): item for item in read_items(file)}
        note(f"questions from {file}; judgments of turn {self.turn} (turn=… chooses the other)")
        files = [file for file in list_files(path) if is_read(file) and file.name != QUESTIONS]
        yield from to_batches(
            row
            for judgments in files
            for item in read_items(judgments)
            if item.number("turn") == self.turn
            for row in self._rows(item, questions)
        )

    def _rows(self, item: Item, questions: Mapping[str, Item]) -> Iterator[dict[str, Any]]:
        question = questions.get(str(item.get("question_id")))
        if question is None:
            raise item.error("a question_id of the file of questions", item.get("question_id"), "add questions=FILE")
        turns = question.get("turns")
        if not isinstance(turns, list) or len(turns) < self.turn or not all(isinstance(t, str) for t in turns):
            raise question.error(f"{self.turn} texts or more as 'turns'", turns)
        category = question.text_or_none("category")
        common = {"query": "\n".join(turns[: self.turn]), "tags": [category] if category else None}
        for name, reward in _rewards(item):
            yield item.row({**common, "candidate": name, "reward": reward})


def _rewards(item: Item) -> list[tuple[str, float | None]]:
    if item.get("model_1") is None:
        score = item.number("score")
        if score != -1 and not 0 <= score <= 10:
            raise item.error("a number from 0 to 10 as 'score' (-1 where the judge gave none)", score)
        return [(item.text("model"), None if score == -1 else score)]
    winners = [item.text(key) for key in ("g1_winner", "g2_winner")]
    unknown = [winner for winner in winners if winner not in _WINNERS]
    if unknown:
        raise item.error(f"one of {list(_WINNERS)} as winner", unknown[0])
    sign = 0.0 if winners[0] != winners[1] or winners[0] == "tie" else 0.5 if winners[0] == "model_1" else -0.5
    reward = None if "error" in winners else sign
    return [(item.text("model_1"), reward), (item.text("model_2"), None if reward is None else -reward)]


def _find_questions(path: Path) -> Path:
    """Look for the file of questions in the folder, and in two folders above it."""
    folder = path if path.is_dir() else path.parent
    for place in (folder, *folder.resolve().parents[:2]):
        if (place / QUESTIONS).is_file():
            return place / QUESTIONS
    raise RecordsError(
        expected=f"{QUESTIONS} beside or above {path}", found="none", do="give it as questions=FILE (FastChat has it)"
    )
