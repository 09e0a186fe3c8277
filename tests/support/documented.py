"""Find the commands and Python examples of the documentation, and make a folder in which they run offline."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from support.fake_server import Reply, chat
from support.made_up import encoder_folder
from support.paths import ROOT
from support.processes import run_forked

DOCS = ROOT / "docs"
# The log tells what was tried once, and benchmarks/ writes papers.md.
PAGES = (
    ROOT / "README.md", ROOT / "data" / "README.md",
    *sorted(path for path in DOCS.glob("*.md") if path.stem not in ("log", "papers")),
)  # fmt: skip
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"\s+# needs (.+)$", re.MULTILINE)  # what no test has: the hub, a GPU, a key
VARIABLES = re.compile(r"^(?:[A-Z_]+=\S+ )+")  # of the environment, before a command
ENTRY = "import sys\nfrom zooter.commands.cli import main\nsys.exit(main())\n"  # what the program `zooter` does


def blocks(page: Path, language: str) -> Iterator[tuple[str, str]]:
    """Yield each block of a language on a page, and what the page shows that it prints, or ""."""
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        if match[1] == language:
            yield match[2], match[3] or ""


def commands(page: Path) -> list[str]:
    """List the lines of a page's commands, except those that show an error."""
    return [line for block, shown in blocks(page, "bash") if not shown for line in block.splitlines()]


def tiny_encoder(folder: Path) -> list[str]:
    """Settings of a training run with a random encoder of two layers, which takes a second."""
    return [f"encoder.model={folder / 'encoder'}", "encoder.layers=[1,2]", "trainer=cpu", "net.lr=1e-3"]


def write_folder(folder: Path, url: str) -> None:
    """Write the files that the pages' commands name, and train the first router.

    Args:
        folder: an empty one.
        url: of a server that answers as every candidate.
    """
    shutil.copytree(DOCS / "examples", folder / "docs" / "examples")
    (folder / "data").symlink_to(ROOT / "data")  # the embedded candidates
    (folder / "zooter_entry.py").write_text(ENTRY, encoding="utf-8")
    encoder_folder(folder / "encoder")
    candidates = {name: {"url": url, "price": price} for name, price in zip(NAMES, (0.1, 0.5, 1.0), strict=True)}
    (folder / "pool.yaml").write_text(yaml.safe_dump({"candidates": candidates}), encoding="utf-8")
    run(folder, ["import", "auto", "docs/examples/evals.csv", "out=records.parquet"])
    _add_costs_and_margins(folder / "records.parquet")
    texts = sorted(set(pq.read_table(folder / "records.parquet")["query"].to_pylist()))
    for name in ("queries.jsonl", "new.jsonl"):
        rows = [{"query": text, "reference": str(i % 2)} for i, text in enumerate(texts[:120])]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _write_decisions(folder / "decisions", texts[:120])
    for name in ("decisions.parquet", "logged.parquet"):
        run(folder, ["import", "long", "decisions", f"out={name}"])
    (folder / "tables").mkdir()
    shutil.copy(folder / "records.parquet", folder / "tables")
    run(folder, ["train", "records.parquet", "run_dir=runs/first", *tiny_encoder(folder)])
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "second")


NAMES = ("model-a", "model-b", "model-c")


def run_command(command: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a page; with variables of the environment before it, in a process of its own."""
    script, words = with_shortened_run(command, folder, url)
    match = VARIABLES.match(command)
    if match is None:
        return run_forked(script, words, folder)
    variables = dict(word.split("=", 1) for word in match[0].split())
    variables["PYTHONPATH"] = os.pathsep.join([variables.get("PYTHONPATH", ""), *sys.path])
    return subprocess.run(
        [sys.executable, str(script), *words], cwd=folder, env={**os.environ, **variables}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def run(folder: Path, arguments: list[str]) -> None:
    """Run `zooter` in a folder."""
    done = run_forked(folder / "zooter_entry.py", arguments, folder)
    assert done.returncode == 0, done.stderr


def _add_costs_and_margins(path: Path) -> None:
    """Add what a table of live candidates has, and evaluations as a rule have not."""
    table = pq.read_table(path)
    rng = np.random.default_rng(0)
    costs = [0.0005 * (1 + NAMES.index(name)) for name in table["candidate"].to_pylist()]
    for name, values in (("cost", costs), ("margin", rng.random(len(table)))):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, path)


def _write_decisions(folder: Path, texts: list[str]) -> None:
    """Write a log as `zooter serve` does with decisions=FOLDER: one response a query, and no reward."""
    folder.mkdir()
    columns = {
        "query": texts, "candidate": [NAMES[i % 3] for i in range(len(texts))], "response": ["1"] * len(texts),
        "reward": pa.nulls(len(texts), pa.float64()), "why": ["best"] * len(texts),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "decisions-0.parquet")


def answer(body: dict[str, Any], number: int) -> Reply:
    """Answer as a candidate, with 0 or 1 and its first token's probabilities, or as the judge of an answer."""
    text = body["messages"][-1]["content"]
    if "impartial judge" in text:
        return chat(json.dumps({"reward": 1 + len(text) % 10}))
    token = str((len(text) + len(body["model"])) % 2)
    likely = [{"token": token, "logprob": -0.1, "bytes": None}, {"token": "x", "logprob": -2.5, "bytes": None}]
    return chat(token, logprobs={"content": [{**likely[0], "top_logprobs": likely}]})


def with_shortened_run(command: str, folder: Path, url: str) -> tuple[Path, list[str]]:
    """Split a command into its script and arguments, with settings that make it quick and keep it offline.

    Args:
        command: a line of a page.
        folder: of `write_folder`.
        url: as there.
    """
    program, *words = shlex.split(VARIABLES.sub("", command))
    script = ROOT / words.pop(0) if program == "python" else folder / "zooter_entry.py"
    if script.name == "train.py" or words[0] in ("train", "sweep"):
        pretrained = "compare_encoder" if "encoder=ngrams" in words else "encoder"
        words += [setting.replace("encoder.", f"{pretrained}.", 1) for setting in tiny_encoder(folder)]
        words += ["export.onnx=false"]
    if "experiment=zoo" in words:
        words += ["reader.count=200"]
    if "rewarder=judge" in words:
        words += [f"rewarder.candidate.url={url}", "rewarder.candidate.key_env=null"]
    return script, words
