"""What is in an export, for people: `zooter inspect DIR`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zooter.router import manifest

FORMS = {
    manifest.ENCODER: "torch", manifest.ONNX: "ONNX", manifest.HUGGINGFACE: "Hugging Face",
}  # fmt: skip


def inspection(folder: Path) -> RenderableType:
    """Everything an export tells about itself, after checking that it is whole.

    Raises:
        ExportError: it is not an export, or a file is missing or changed.
    """
    facts = manifest.verify(folder)
    pool = manifest.read_json(folder / manifest.POOL, folder)["candidates"]
    reference = manifest.read_json(folder / manifest.REFERENCE, folder)
    return Group(
        Text(f"{folder}: whole and unchanged, {len(facts['files'])} files, {_size(folder)}"),
        _candidates(pool, reference),
        _facts(folder, facts, reference),
    )


def _candidates(pool: list[dict[str, Any]], reference: dict[str, Any]) -> Table:
    table = Table("candidate", title="candidates", title_justify="left")
    table.add_column("$ per million tokens", justify="right")
    table.add_column("chosen for training queries", justify="right")
    for row in pool:
        price = "–" if row["price"] is None else f"{row['price']:g}"
        table.add_row(Text(row["name"]), price, f"{reference['choices'].get(row['name'], 0.0):.1%}")
    return table


def _facts(folder: Path, facts: dict[str, Any], reference: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(folder, facts, reference):
        table.add_row(name, Text(value))
    return table


def _lines(folder: Path, facts: dict[str, Any], reference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    test, data = facts.get("test", {}), facts.get("data", {})
    if test:
        low, high = (_share(value) for value in test["gap_closed_ci"])
        yield "test", f"{test['queries']:,} queries: reward {test['routed']:.3f}, best single {test['best_single']:.3f}"
        yield "", f"({test['best_single_name']}), oracle {test['oracle']:.3f}"
        yield "gap closed", f"{_share(test['gap_closed'])} (95 % interval {low}…{high})"
    if data:
        yield (
            "data",
            f"{data['queries']:,} queries, {data['cells']:,} cells; {', '.join(data['sha256'].values())[:16]}…",
        )
    told, entropy = reference["characters"], reference["entropy_bits"]
    yield "reference", f"characters of a query {told['p5']:g}…{told['p95']:g}, median {told['p50']:g};"
    yield "", f"entropy of probabilities {entropy['p5']:.2f}…{entropy['p95']:.2f} bits"
    yield "tags", ", ".join(facts.get("tags", [])) or "–"
    yield "encoder", f"{facts['encoder']['model']}, {facts['encoder']['max_length']} tokens of each query are read"
    yield "labels", ", ".join(f"{key} {value}" for key, value in facts.get("label", {}).items())
    yield "forms", ", ".join(form for part, form in FORMS.items() if (folder / part).is_dir())
    for precision in manifest.WEIGHTS:
        found = facts.get("onnx", {}).get(precision)
        if found:
            changed, most = _share(found["changed_choices"]), found["largest_logit_difference"]
            yield f"ONNX {precision}", f"{changed} of {found['queries']:,} choices differ from torch's,"
            used = "; this is what serves" if facts["onnx"]["default"] == precision else ""
            yield "", f"logits by {most:.2g} at most{used}"
    student = facts.get("huggingface")
    if student:
        yield (
            "Hugging Face",
            f"a student: {_share(student['same_choice'])} of {student['queries']:,} choices are the router's,",
        )
        ours, theirs = (_share(student[f"{name}_gap_closed"]) for name in ("router", "student"))
        yield "", f"gap closed {theirs} against {ours}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.0f} MB"
