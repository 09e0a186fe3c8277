"""Long and odd queries: `python benchmarks/odd.py RECORDS [--only cuts|kinds|filler|languages]`.

Cuts: what is read of a long query (its head, its tail, half of each; 128, 256 or 512 tokens) against the gap closed on
long queries and on all, 5 folds, by the default's start. Kinds: how well code, non-English, long and other kinds of
queries of the table are routed. Filler: short test queries of one fold with generated text before or after them.
Languages: generated questions, the same in several languages: how often the choice is that of the English one.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from change import scores
from numpy.typing import NDArray
from quality import load, quiet
from rich.console import Console
from rich.table import Table

from zooter.commands.train import Settings, TrainingData
from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics import baselines, routing
from zooter.router.encoder import Encoder
from zooter.router.net import encoder_and_text_features

CUTS = ("head", "tail", "ends")
TOKENS = (256, 512, 128)
LONG = 128  # tokens; longer queries are those that some cut changes
FILLED = 200  # queries that get filler
CODE = ("def ", "```", ">>>", "return ", "import ", "class ", "function")
NUMBERS = ((3, 17, 5), (12, 40, 7), (8, 25, 9), (6, 31, 4), (15, 22, 11), (9, 64, 3), (7, 19, 13), (21, 80, 6))
# The same three questions in each language: a sum in words, a request for code, and a question of fact.
QUESTIONS = {
    "English": (
        "A baker sells {0} trays of {1} rolls and keeps {2} rolls for herself. How many rolls does she bake?",
        "Write a Python function that returns the sum of all multiples of {0} below {1}, except {2}.",
        "Which chemical element has the atomic number {1}?",
    ),
    "German": (
        "Eine Bäckerin verkauft {0} Bleche mit je {1} Brötchen und behält {2} für sich. Wie viele Brötchen backt sie?",
        "Schreibe eine Python-Funktion, die die Summe aller Vielfachen von {0} unter {1} außer {2} zurückgibt.",
        "Welches chemische Element hat die Ordnungszahl {1}?",
    ),
    "French": (
        "Une boulangère vend {0} plaques de {1} petits pains et en garde {2} pour elle. Combien en cuit-elle ?",
        "Écris une fonction Python qui renvoie la somme des multiples de {0} inférieurs à {1}, sauf {2}.",
        "Quel élément chimique a le numéro atomique {1} ?",
    ),
    "Spanish": (
        "Una panadera vende {0} bandejas de {1} panecillos y se queda con {2}. ¿Cuántos panecillos hornea?",
        "Escribe una función en Python que devuelva la suma de los múltiplos de {0} menores que {1}, excepto {2}.",
        "¿Qué elemento químico tiene el número atómico {1}?",
    ),
    "Russian": (
        "Пекарь продаёт {0} противней по {1} булочек и оставляет себе {2}. Сколько булочек она печёт?",
        "Напиши функцию на Python, которая возвращает сумму всех чисел, кратных {0}, меньше {1}, кроме {2}.",
        "Какой химический элемент имеет атомный номер {1}?",
    ),
    "Chinese": (
        "面包师卖出{0}盘面包，每盘{1}个，自己留下{2}个。她一共烤了多少个面包？",
        "写一个Python函数，返回小于{1}的所有{0}的倍数之和，不包括{2}。",
        "原子序数为{1}的化学元素是什么？",
    ),
}


@dataclass(frozen=True)
class Cut(Encoder):
    """An encoder that reads the head, the tail, or half of each, of a text longer than `max_length` tokens."""

    keep: str = "head"

    @cached_property
    def fingerprint(self) -> str:
        return f"{Encoder(self.model, None, self.max_length, self.layers).fingerprint}-{self.keep}"

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        room = self.max_length - 2
        first = {"head": room, "tail": 0, "ends": room // 2}[self.keep]
        opening, closing = self.tokenizer("")["input_ids"]
        ids = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        cut = [row if len(row) <= room else row[:first] + row[len(row) - room + first :] for row in ids]
        return [[opening, *row, closing] for row in cut]


def with_embeddings(data: TrainingData, embeddings: NDArray[np.float32]) -> TrainingData:
    return replace(data, embeddings=embeddings, features=encoder_and_text_features(embeddings, data.records.queries))


def routed(data: TrainingData, given: Settings) -> Floats:
    """(n,) rewards of out-of-fold choices by the default's start, 5 folds."""
    rewards = data.records.rewards
    found = np.empty(len(rewards.values))
    for part in given.split.parts(data.records.queries, 5):
        rows = np.concatenate([part.train, part.val])
        seen = rewards.take(rows)
        preference = scores(data, given, rows, seen, part.test)
        found[part.test] = picked(preference, rewards.take(part.test), baselines.rank_by_mean_reward(seen))
    return found


def picked(preference: Floats, test: Rewards, order: Ints) -> Floats:
    return test.values[np.arange(len(preference)), routing.choose(preference, test.observed, order)]


def closed(got: Floats, data: TrainingData, rows: Ints) -> tuple[float, str]:
    """Share of the gap closed on some queries, in %, and its interval."""
    rewards = data.records.rewards
    single = rewards.values[rows, baselines.rank_by_mean_reward(rewards)[0]]
    columns = np.stack([got, single, np.nanmax(rewards.values[rows], axis=1)])
    low, high = routing.paired_bootstrap(columns, lambda *means: routing.gap_closed(*means)[None])
    point = float(routing.gap_closed(*columns.mean(axis=1)))
    return 100 * point, f"{100 * low[0]:.1f}…{100 * high[0]:.1f}"


def cuts(data: TrainingData, given: Settings, length: Ints, chosen: Sequence[str] = ()) -> Table:
    """What is read of long queries → gap closed on them and on all; in brackets the interval of the difference.

    Args:
        chosen: such as "256 ends"; none are all.
    """
    groups = {f"> {limit} tokens": np.flatnonzero(length > limit) for limit in (LONG, 256)}
    groups["all"] = np.arange(len(length))
    shown = Table(title="what is read: gap closed, % (paired difference from the head of 256 tokens)")
    for heading in ("tokens", *(f"{name} ({len(rows):,})" for name, rows in groups.items())):
        shown.add_column(heading, justify="right")
    rewards = data.records.rewards
    single, oracle = rewards.values[:, baselines.rank_by_mean_reward(rewards)[0]], np.nanmax(rewards.values, axis=1)
    base = routed(data, given)
    for tokens, keep in [(tokens, keep) for tokens in TOKENS for keep in CUTS]:
        if chosen and f"{tokens} {keep}" not in chosen:
            continue
        rows = np.flatnonzero(length > min(tokens, 256))  # all others are read as they were
        encoder = Cut(given.encoder.model, None, tokens, given.encoder.layers, keep=keep)
        embeddings = data.embeddings.copy()
        if (tokens, keep) != (256, "head"):
            embeddings[rows] = encoder.embed([data.records.queries[i] for i in rows], given.cache_dir)
        got = routed(with_embeddings(data, embeddings), given)
        cells = []
        for of in groups.values():
            columns = np.stack([x[of] for x in (got, base, single, oracle)])
            low, high = routing.paired_bootstrap(columns, lambda g, b, s, o: ((g - b) / (o - s))[None])
            cells.append(f"{closed(got[of], data, of)[0]:.1f} ({100 * low[0]:+.1f}…{100 * high[0]:+.1f})")
        shown.add_row(f"{tokens} {keep}", *cells)
        Console(stderr=True).print(tokens, keep, cells)
    return shown


def kinds(data: TrainingData, given: Settings, length: Ints) -> Table:
    """How well the kinds of queries that the table holds are routed."""
    texts, rewards = data.records.queries, data.records.rewards
    foreign = [sum(not c.isascii() for c in text) / len(text) for text in texts]
    code = np.array([any(mark in text for mark in CODE) for text in texts])
    groups = {
        "all": np.ones(len(texts), dtype=bool),
        "code": code,
        "no code": ~code,
        "10 % digits or more": np.array([sum(c.isdigit() for c in text) / len(text) >= 0.1 for text in texts]),
        "some character beyond ASCII": np.array(foreign) > 0,
        "5 % beyond ASCII or more": np.array(foreign) >= 0.05,
        f"more than {LONG} tokens": length > LONG,
        "more than 256 tokens": length > 256,
        "10 tokens or fewer": length <= 10,
    }
    got = routed(data, given)
    shown = Table(title="kinds of queries")
    for heading in ("kind", "queries", "best single", "routed", "oracle", "gap closed, %", "95 %"):
        shown.add_column(heading, justify="left" if heading == "kind" else "right")
    for name, of in groups.items():
        rows = np.flatnonzero(of)
        if len(rows) < 50:
            shown.add_row(name, f"{len(rows):,}", *["–"] * 5)
            continue
        point, interval = closed(got[rows], data, rows)
        means = (
            rewards.values[rows, baselines.rank_by_mean_reward(rewards)[0]],
            got[rows],
            np.nanmax(rewards.values[rows], axis=1),
        )
        shown.add_row(name, f"{len(rows):,}", *(f"{x.mean():.3f}" for x in means), f"{point:.1f}", interval)
    return shown


def prose(words: int, seed: int) -> str:
    """Generated sentences that have nothing to do with any question."""
    rng = np.random.default_rng(seed)
    things, places = (
        ("crates", "parcels", "letters", "barrels"),
        ("the north depot", "the pier", "hall four", "the yard"),
    )
    made: list[str] = []
    while len(made) < words:
        line = f"Entry {rng.integers(1000)}: {rng.choice(places)} passed {rng.integers(2, 90)} {rng.choice(things)} on."
        made += line.split()
    return " ".join(made)


def filler(data: TrainingData, given: Settings, length: Ints) -> Table:
    """Short test queries of one fold, bare and with 300 generated words before or after them, by what is read."""
    part = given.split.parts(data.records.queries, 5)[0]
    rows, rewards = np.concatenate([part.train, part.val]), data.records.rewards
    test = part.test[length[part.test] <= 100]
    test = np.sort(np.random.default_rng(0).permutation(test)[:FILLED])
    bare = [data.records.queries[i] for i in test]
    variants = {
        "bare": bare,
        "filler first": [f"{prose(300, i)}\n\n{text}" for i, text in zip(test, bare, strict=True)],
        "filler last": [f"{text}\n\n{prose(300, i)}" for i, text in zip(test, bare, strict=True)],
    }
    seen = rewards.take(rows)
    shown = Table(title=f"{len(test)} queries with filler: gap closed, %, by what is read of 256 tokens")
    for heading in ("", *CUTS):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, texts in variants.items():
        cells = []
        for keep in CUTS:
            encoder = Cut(given.encoder.model, None, 256, given.encoder.layers, keep=keep)
            seen_as = encoder_and_text_features(encoder.embed(texts, given.cache_dir), texts)
            preference = _judged(data, given, rows, seen, seen_as.numpy())
            point, interval = closed(
                picked(preference, rewards.take(test), baselines.rank_by_mean_reward(seen)), data, test
            )
            cells.append(f"{point:.1f} ({interval})")
        shown.add_row(name, *cells)
    return shown


def languages(data: TrainingData, given: Settings, length: Ints) -> Table:
    """Generated questions in several languages: choices beside those of the English ones."""
    part = given.split.parts(data.records.queries, 5)[0]
    rows = np.concatenate([part.train, part.val])
    seen = data.records.rewards.take(rows)
    shown = Table(title=f"the same questions, {len(NUMBERS)} of each kind: choices as for the English one")
    for heading in ("language", "sum", "code", "fact", "all"):
        shown.add_column(heading, justify="left" if heading == "language" else "right")
    choices = {}
    for language, questions in QUESTIONS.items():
        texts = [question.format(*numbers) for question in questions for numbers in NUMBERS]
        preference = _judged(
            data, given, rows, seen, encoder_and_text_features(given.encoder.embed(texts), texts).numpy()
        )
        choices[language] = preference.argmax(axis=1).reshape(len(questions), len(NUMBERS))
        same = choices[language] == choices["English"]
        shown.add_row(language, *(f"{share:.0%}" for share in [*same.mean(axis=1), same.mean()]))
    return shown


def _judged(data: TrainingData, given: Settings, rows: Ints, seen: Rewards, others: NDArray[np.float32]) -> Floats:
    """(k, m) rewards expected of texts with features (k, d) that are not of the table."""
    both = replace(data, features=torch.cat([data.features, torch.from_numpy(others)]))
    return scores(both, given, rows, seen, np.arange(len(data.features), len(both.features)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    every: dict[str, Callable[[TrainingData, Settings, Ints], Table]] = {
        "cuts": cuts, "kinds": kinds, "filler": filler, "languages": languages,
    }  # fmt: skip
    parser.add_argument("--only", choices=every)
    parser.add_argument("--cuts", nargs="*", default=[], help='such as "256 ends"; all when none is given')
    told = parser.parse_args()
    every["cuts"] = partial(cuts, chosen=told.cuts)
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        data, given = load(told.records.resolve(), Path(folder), "0")
        ids = given.encoder.tokenizer(list(data.records.queries), verbose=False)["input_ids"]
        length = np.array([len(row) for row in ids])
        for name, make in every.items():
            if told.only in (None, name):
                Console(width=140).print(make(data, given, length))


if __name__ == "__main__":
    main()
