"""Count what a recorded table covers: cells, repeats, ties, and what would keep it from training a router."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zooter.data.split import normalise_text
from zooter.data.types import Floats, Ints

COMPARABLE = 0.9  # share of the queries of another candidate, below which plain means are hardly comparable
CONNECTED_LIMIT = 2_000  # more candidates than this are not tested for shared queries


@dataclass(frozen=True)
class Coverage:
    """What n queries and m candidates of a table have.

    Attributes:
        candidates: (m,) names in alphabetical order.
        rows: number of rows.
        queries: n.
        rewards: (m,) queries on which a candidate has a reward.
        means: (m,) mean reward over these; NaN without any.
        wins: (m,) queries with two rewards or more on which no other candidate has a larger one.
        compared: queries with rewards of two candidates or more.
        complete: queries with a reward of every candidate.
        missing: cells of the n × m without a reward.
        duplicates: rows whose query, candidate and sample came before, with the same reward.
        conflicts: such rows with another reward.
        ties: queries of `compared` on which two candidates or more share the largest reward.
        equal: queries of `compared` on which all rewards are equal.
        lowest: the smallest reward; NaN without any.
        highest: the largest one.
        groups: candidates that share queries with each other, directly or through others; one group in a sound table.
        leaks: queries in more than one part of the column `split`, apart from case and blanks.
    """

    candidates: tuple[str, ...]
    rows: int
    queries: int
    rewards: Ints
    means: Floats
    wins: Ints
    compared: int
    complete: int
    missing: int
    duplicates: int
    conflicts: int
    ties: int
    equal: int
    lowest: float
    highest: float
    groups: tuple[tuple[str, ...], ...]
    leaks: int

    def warnings(self) -> list[str]:
        """Describe what a router trained on this table would suffer from, the gravest first."""
        m = len(self.candidates)
        lines = []
        if m == 1:
            lines.append(f"There is one candidate, {self.candidates[0]!r}: nothing to route between.")
        if not self.rewards.sum():
            lines.append("No row has a reward: reward the responses before training.")
        elif (self.rewards == 0).any():
            names = [name for name, count in zip(self.candidates, self.rewards, strict=True) if not count]
            lines.append(f"Candidates without any reward: {names}.")
        elif m > 1 and self.lowest == self.highest:
            lines.append(f"All rewards are equal ({self.lowest:g}): nothing to learn.")
        elif m > 1 and not self.compared:
            lines.append("No query was answered by two candidates: their rewards cannot be compared.")
        elif len(self.groups) > 1:
            groups = "; ".join(", ".join(group[:4]) + (" …" if len(group) > 4 else "") for group in self.groups[:4])
            lines.append(f"Candidates that never answered the same queries are compared by their means only: {groups}.")
        elif m > 1 and self.rewards.min() < COMPARABLE * self.rewards.max():
            least, most = self.candidates[int(self.rewards.argmin())], self.candidates[int(self.rewards.argmax())]
            lines.append(
                f"Mean rewards are over different queries ({least!r} has {self.rewards.min():,}, {most!r} "
                f"{self.rewards.max():,}): `zooter analyze` adjusts for it, training compares plain means."
            )
        if m > 1 and self.compared and self.lowest != self.highest:
            winner = int(self.wins.argmax())
            if self.wins[winner] == self.compared:
                lines.append(f"{self.candidates[winner]!r} is best on every query: routing can only save its price.")
        if self.conflicts:
            lines.append(
                f"{self.conflicts:,} rows repeat a cell with another reward: they are kept as further samples."
            )
        if self.leaks:
            lines.append(
                f"{self.leaks:,} queries are in more than one part of `split`; zooter divides by their texts instead."
            )
        return lines


@dataclass
class CoverageCounter:
    """Accumulate batches of a recorded table as numbers: 22 bytes a row, and 9 more for the parts of a split."""

    codes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    cells: list[tuple[NDArray[np.uint64], NDArray[np.int16], NDArray[np.int32], Floats]] = field(default_factory=list)
    parts: list[tuple[NDArray[np.uint64], NDArray[np.int8]]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows with the columns query, candidate, sample, reward and split.

        Args:
            batch: of a recorded table; its other columns are ignored.
        """
        texts = batch["query"].dictionary_encode()
        names = batch["candidate"].dictionary_encode()
        hashes = np.array([_hash(text) for text in texts.dictionary.to_pylist()], dtype=np.uint64)
        codes = np.array([self.codes.setdefault(name, len(self.codes)) for name in names.dictionary.to_pylist()])
        reward = batch["reward"].to_numpy(zero_copy_only=False)
        self.cells.append(
            (
                hashes[texts.indices.to_numpy(zero_copy_only=False)],
                codes[names.indices.to_numpy(zero_copy_only=False)].astype(np.int16),
                pc.fill_null(batch["sample"], 0).to_numpy(zero_copy_only=False).astype(np.int32),
                reward,
            )
        )
        if batch["split"].null_count < len(batch):
            self._add_splits(batch)

    def _add_splits(self, batch: pa.RecordBatch) -> None:
        """Add the distinct pairs of normalised text and part."""
        pairs = (
            pa.table([batch["query"], batch["split"]], ["query", "split"]).group_by(["query", "split"]).aggregate([])
        )
        pairs = pairs.filter(pc.is_valid(pairs["split"]))
        texts = [_hash(normalise_text(text)) for text in pairs["query"].to_pylist()]
        codes = [self.splits.setdefault(name, len(self.splits)) for name in pairs["split"].to_pylist()]
        self.parts.append((np.array(texts, dtype=np.uint64), np.array(codes, dtype=np.int8)))

    def _leaks(self) -> int:
        """Number of texts in more than one part."""
        if not self.parts:
            return 0
        text, code = (np.concatenate(arrays) for arrays in zip(*self.parts, strict=True))
        order = np.lexsort((code, text))
        text, code = text[order], code[order]
        changes = (text[1:] == text[:-1]) & (code[1:] != code[:-1])
        return len(np.unique(text[1:][changes]))

    def free_samples(self) -> NDArray[np.int64] | None:
        """Number the samples of repeated cells anew.

        Returns:
            (rows,) sample numbers in which every (query, candidate, sample) occurs once: a row that repeats one gets
            the next number after the largest of its cell. None if no row does.
        """
        query, candidate, sample, _ = self._arrays()
        order = np.lexsort((sample, candidate, query))  # stable: of equal ones the earlier row comes first
        q, c, s = query[order], candidate[order], sample[order]
        same_cell = np.concatenate([[False], (q[1:] == q[:-1]) & (c[1:] == c[:-1])])
        repeats = same_cell & np.concatenate([[False], s[1:] == s[:-1]])
        if not repeats.any():
            return None
        starts = np.flatnonzero(~same_cell)
        cell = np.cumsum(~same_cell) - 1
        largest = np.maximum.reduceat(s, starts)
        before = np.cumsum(repeats) - np.cumsum(repeats)[starts][cell]  # a cell's first row never repeats
        numbers = np.empty(len(s), dtype=np.int64)
        numbers[order] = np.where(repeats, largest[cell] + before, s)
        return numbers

    def summarise(self) -> Coverage:
        """Count everything.

        Raises:
            ValueError: no row was added.
        """
        query, candidate, sample, reward = self._arrays()
        names = sorted(self.codes)
        column = np.empty(len(names), dtype=np.int64)
        column[[self.codes[name] for name in names]] = np.arange(len(names))
        duplicates, conflicts = _repeats(query, candidate, sample, reward)
        _, row = np.unique(query, return_inverse=True)
        n, m = int(row.max()) + 1, len(names)
        cells, means = _cell_means(row * m + column[candidate], reward)
        q, c = cells // m, cells % m
        per_query = np.bincount(q, minlength=n)
        best, worst = np.full(n, -np.inf), np.full(n, np.inf)
        np.maximum.at(best, q, means)
        np.minimum.at(worst, q, means)
        is_best = (means == best[q]) & (per_query[q] > 1)
        best_count = np.bincount(q[is_best], minlength=n)
        rewards = np.bincount(c, minlength=m)
        totals = np.bincount(c, weights=means, minlength=m)
        has_reward = bool(len(means))
        return Coverage(
            tuple(names), len(query), n, rewards,
            np.divide(totals, rewards, out=np.full(m, np.nan), where=rewards > 0),
            np.bincount(c[is_best], minlength=m),
            compared=int((per_query > 1).sum()), complete=int((per_query == m).sum()), missing=n * m - len(cells),
            duplicates=duplicates, conflicts=conflicts,
            ties=int((best_count > 1).sum()), equal=int(((per_query > 1) & (best == worst)).sum()),
            lowest=float(np.nanmin(reward)) if has_reward else float("nan"),
            highest=float(np.nanmax(reward)) if has_reward else float("nan"),
            groups=_groups(q, c, tuple(names)), leaks=self._leaks(),
        )  # fmt: skip

    def _arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.int16], NDArray[np.int32], Floats]:
        if not self.cells:
            raise ValueError("no row was added")
        if len(self.cells) > 1:
            columns = tuple(np.concatenate(arrays) for arrays in zip(*self.cells, strict=True))
            self.cells[:] = [columns]  # type: ignore[list-item]
        return self.cells[0]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _cell_means(cell: Ints, reward: Floats) -> tuple[Ints, Floats]:
    """Average the rewards of equal cells: the distinct cells with a reward, and their means."""
    has_reward = ~np.isnan(reward)
    cells, index = np.unique(cell[has_reward], return_inverse=True)
    counts = np.bincount(index, minlength=len(cells))
    return cells, np.bincount(index, weights=reward[has_reward], minlength=len(cells)) / counts


def _repeats(
    query: NDArray[np.uint64], candidate: NDArray[np.int16], sample: NDArray[np.int32], reward: Floats
) -> tuple[int, int]:
    """Count the rows that repeat a (query, candidate, sample): with the reward of the row before, and with another."""
    order = np.lexsort((sample, candidate, query))
    before, after = order[:-1], order[1:]
    repeated = np.ones(len(before), dtype=bool)
    for values in (query, candidate, sample):
        repeated &= values[before] == values[after]
    first, second = reward[before[repeated]], reward[after[repeated]]
    same = int(((first == second) | (np.isnan(first) & np.isnan(second))).sum())
    return same, int(repeated.sum()) - same


def _groups(query: Ints, candidate: Ints, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Group the candidates with rewards that share queries, directly or through others."""
    m = len(names)
    if m > CONNECTED_LIMIT or not len(query):
        return ()
    # Neighbours of one query in order: a chain of links connects all its candidates.
    order = np.lexsort((candidate, query))
    q, c = query[order], candidate[order]
    chained = q[1:] == q[:-1]
    links = np.unique(c[:-1][chained] * m + c[1:][chained])
    group = list(range(m))

    def root(j: int) -> int:
        """Return the representative of a candidate's group (union-find)."""
        while group[j] != j:
            j = group[j]
        return j

    for link in links.tolist():
        group[root(link // m)] = root(link % m)
    members: dict[int, list[str]] = {}
    for j in np.unique(candidate).tolist():
        members.setdefault(root(j), []).append(names[j])
    return tuple(sorted((tuple(group) for group in members.values()), key=lambda names: (-len(names), names)))
