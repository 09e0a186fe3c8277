"""Measure routing on unusual queries.

`python benchmarks/out_of_distribution.py RECORDS [--only cuts|kinds|filler|languages]`

Cuts: what the encoder reads of a long query (its head, its tail, half of each; 128, 256 or 512 tokens) against the
gap closed on long queries and on all, 5 folds, by the initial fit. Kinds: how well code, non-English, long and other
kinds of queries of the table are routed. Filler: short test queries of one fold with generated text before or after
them. Languages: generated questions, the same in several languages: how often the choice is that of the English one.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from new_task import expected_rewards
from numpy.typing import NDArray
from quality import limit_output, load_data
from rich.console import Console
from rich.table import Table

from zooter.commands.train_settings import TrainSettings
from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics import baselines, routing
from zooter.router.encoder import Encoder
from zooter.router.net import encoder_and_text_features
from zooter.training.method import TrainingData

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
    """Encoder that reads the head, the tail, or half of each, of texts longer than `max_length` tokens."""

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


def cut(encoder: Encoder, tokens: int, keep: str) -> Cut:
    """Make an encoder of the same model that reads so many tokens."""
    return Cut(encoder.model, None, tokens, encoder.layers, precision=encoder.precision, keep=keep)


def with_embeddings(data: TrainingData, embeddings: NDArray[np.float32]) -> TrainingData:
    """Replace the embeddings, and the features that are made of them."""
    return replace(data, embeddings=embeddings, features=encoder_and_text_features(embeddings, data.records.queries))


def route_out_of_fold(data: TrainingData, settings: TrainSettings) -> Floats:
    """Compute (n,) rewards of out-of-fold choices by the initial fit, 5 folds."""
    rewards = data.records.rewards
    obtained = np.empty(len(rewards.values))
    for part in settings.split.parts(data.records.queries, 5):
        rows = np.concatenate([part.train, part.val])
        train_rewards = rewards.take(rows)
        preference = expected_rewards(data, settings, rows, train_rewards, part.test)
        obtained[part.test] = chosen_rewards(
            preference, rewards.take(part.test), baselines.rank_by_mean_reward(train_rewards)
        )
    return obtained


def chosen_rewards(preference: Floats, test: Rewards, order: Ints) -> Floats:
    """Look up (n,) rewards of the most preferred observed candidates."""
    return test.values[np.arange(len(preference)), routing.best_candidates(preference, test.observed, order)]


def gap_with_interval(obtained: Floats, data: TrainingData, rows: Ints) -> tuple[float, str]:
    """Compute the share of the gap closed on some queries, in percent, and its interval."""
    rewards = data.records.rewards
    single = rewards.values[rows, baselines.rank_by_mean_reward(rewards)[0]]
    columns = np.stack([obtained, single, np.nanmax(rewards.values[rows], axis=1)])
    low, high = routing.paired_bootstrap(columns, lambda *means: routing.gap_closed(*means)[None])
    point = float(routing.gap_closed(*columns.mean(axis=1)))
    return 100 * point, f"{100 * low[0]:.1f}…{100 * high[0]:.1f}"


def cuts_table(data: TrainingData, settings: TrainSettings, length: Ints, only: Sequence[str] = ()) -> Table:
    """Compare the gap closed by what is read of long queries, on them and on all; in brackets the paired difference.

    Args:
        only: such as "256 ends"; empty for all.
    """
    groups = {f"> {limit} tokens": np.flatnonzero(length > limit) for limit in (LONG, 256)}
    groups["all"] = np.arange(len(length))
    view = Table(title="what is read: gap closed, % (paired difference from the head of 256 tokens)")
    for heading in ("tokens", *(f"{name} ({len(rows):,})" for name, rows in groups.items())):
        view.add_column(heading, justify="right")
    rewards = data.records.rewards
    single, oracle = rewards.values[:, baselines.rank_by_mean_reward(rewards)[0]], np.nanmax(rewards.values, axis=1)
    base = route_out_of_fold(data, settings)
    for tokens, keep in [(tokens, keep) for tokens in TOKENS for keep in CUTS]:
        if only and f"{tokens} {keep}" not in only:
            continue
        rows = np.flatnonzero(length > min(tokens, 256))  # all others are read as they were
        encoder = cut(settings.encoder, tokens, keep)
        embeddings = data.embeddings.copy()
        if (tokens, keep) != (256, "head"):
            embeddings[rows] = encoder.embed([data.records.queries[i] for i in rows], settings.cache_dir)
        obtained = route_out_of_fold(with_embeddings(data, embeddings), settings)
        cells = []
        for members in groups.values():
            columns = np.stack([x[members] for x in (obtained, base, single, oracle)])
            low, high = routing.paired_bootstrap(columns, lambda g, b, s, o: ((g - b) / (o - s))[None])
            cells.append(
                f"{gap_with_interval(obtained[members], data, members)[0]:.1f} "
                f"({100 * low[0]:+.1f}…{100 * high[0]:+.1f})"
            )
        view.add_row(f"{tokens} {keep}", *cells)
        Console(stderr=True).print(tokens, keep, cells)
    return view


def kinds_table(data: TrainingData, settings: TrainSettings, length: Ints) -> Table:
    """Measure routing on kinds of queries in the table."""
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
    obtained = route_out_of_fold(data, settings)
    view = Table(title="kinds of queries")
    for heading in ("kind", "queries", "best single", "routed", "oracle", "gap closed, %", "95 %"):
        view.add_column(heading, justify="left" if heading == "kind" else "right")
    for name, members in groups.items():
        rows = np.flatnonzero(members)
        if len(rows) < 50:
            view.add_row(name, f"{len(rows):,}", *["–"] * 5)
            continue
        point, interval = gap_with_interval(obtained[rows], data, rows)
        means = (
            rewards.values[rows, baselines.rank_by_mean_reward(rewards)[0]],
            obtained[rows],
            np.nanmax(rewards.values[rows], axis=1),
        )
        view.add_row(name, f"{len(rows):,}", *(f"{x.mean():.3f}" for x in means), f"{point:.1f}", interval)
    return view


def prose(words: int, seed: int) -> str:
    """Generate sentences that are unrelated to any question."""
    rng = np.random.default_rng(seed)
    things, places = (
        ("crates", "parcels", "letters", "barrels"),
        ("the north depot", "the pier", "hall four", "the yard"),
    )
    generated: list[str] = []
    while len(generated) < words:
        line = f"Entry {rng.integers(1000)}: {rng.choice(places)} passed {rng.integers(2, 90)} {rng.choice(things)} on."
        generated += line.split()
    return " ".join(generated)


def filler_table(data: TrainingData, settings: TrainSettings, length: Ints) -> Table:
    """Measure routing of short test queries, bare and with 300 generated words before or after, by what is read."""
    part = settings.split.parts(data.records.queries, 5)[0]
    rows, rewards = np.concatenate([part.train, part.val]), data.records.rewards
    test = part.test[length[part.test] <= 100]
    test = np.sort(np.random.default_rng(0).permutation(test)[:FILLED])
    bare = [data.records.queries[i] for i in test]
    variants = {
        "bare": bare,
        "filler first": [f"{prose(300, i)}\n\n{text}" for i, text in zip(test, bare, strict=True)],
        "filler last": [f"{text}\n\n{prose(300, i)}" for i, text in zip(test, bare, strict=True)],
    }
    train_rewards = rewards.take(rows)
    view = Table(title=f"{len(test)} queries with filler: gap closed, %, by what is read of 256 tokens")
    for heading in ("", *CUTS):
        view.add_column(heading, justify="left" if not heading else "right")
    for name, texts in variants.items():
        cells = []
        for keep in CUTS:
            encoder = cut(settings.encoder, 256, keep)
            features = encoder_and_text_features(encoder.embed(texts, settings.cache_dir), texts)
            preference = _expected_of_texts(data, settings, rows, train_rewards, features.numpy())
            point, interval = gap_with_interval(
                chosen_rewards(preference, rewards.take(test), baselines.rank_by_mean_reward(train_rewards)), data, test
            )
            cells.append(f"{point:.1f} ({interval})")
        view.add_row(name, *cells)
    return view


def languages_table(data: TrainingData, settings: TrainSettings, length: Ints) -> Table:
    """Compare the choices for generated questions in several languages with those for the English ones."""
    part = settings.split.parts(data.records.queries, 5)[0]
    rows = np.concatenate([part.train, part.val])
    train_rewards = data.records.rewards.take(rows)
    view = Table(title=f"the same questions, {len(NUMBERS)} of each kind: choices as for the English one")
    for heading in ("language", "sum", "code", "fact", "all"):
        view.add_column(heading, justify="left" if heading == "language" else "right")
    choices = {}
    for language, questions in QUESTIONS.items():
        texts = [question.format(*numbers) for question in questions for numbers in NUMBERS]
        features = encoder_and_text_features(settings.encoder.embed(texts, settings.cache_dir), texts)
        preference = _expected_of_texts(data, settings, rows, train_rewards, features.numpy())
        choices[language] = preference.argmax(axis=1).reshape(len(questions), len(NUMBERS))
        same = choices[language] == choices["English"]
        view.add_row(language, *(f"{share:.0%}" for share in [*same.mean(axis=1), same.mean()]))
    return view


def _expected_of_texts(
    data: TrainingData, settings: TrainSettings, rows: Ints, train_rewards: Rewards, others: NDArray[np.float32]
) -> Floats:
    """Predict (k, m) rewards for texts with features (k, d) that are not in the table."""
    both = replace(data, features=torch.cat([data.features, torch.from_numpy(others)]))
    return expected_rewards(both, settings, rows, train_rewards, np.arange(len(data.features), len(both.features)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    sections: dict[str, Callable[[TrainingData, TrainSettings, Ints], Table]] = {
        "cuts": cuts_table, "kinds": kinds_table, "filler": filler_table, "languages": languages_table,
    }  # fmt: skip
    parser.add_argument("--only", choices=sections)
    parser.add_argument("--cuts", nargs="*", default=[], help='such as "256 ends"; all when none is given')
    arguments = parser.parse_args()
    sections["cuts"] = partial(cuts_table, only=arguments.cuts)
    limit_output()
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(arguments.records.resolve(), Path(folder), "0")
        ids = settings.encoder.tokenizer(list(data.records.queries), verbose=False)["input_ids"]
        length = np.array([len(row) for row in ids])
        for name, make in sections.items():
            if arguments.only in (None, name):
                Console(width=140).print(make(data, settings, length))


if __name__ == "__main__":
    main()
