"""Summarise an export for people: `zooter inspect DIR`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zooter.router import manifest
from zooter.router.choices import describe_choices
from zooter.router.ngrams import NGRAMS

FORMAT_NAMES = {
    manifest.ENCODER: "torch", manifest.ONNX: "ONNX", manifest.HUGGINGFACE: "Hugging Face",
}  # fmt: skip


def describe(folder: Path) -> RenderableType:
    """Check that an export is whole, and describe its candidates, data, labels, formats and versions.

    Args:
        folder: an export of any form.

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
    for lines in (
        _measurements(facts),
        _training(facts, reference),
        describe_choices(facts.get("chosen", {})),
        [("forms", ", ".join(name for part, name in FORMAT_NAMES.items() if (folder / part).is_dir()))],
        _onnx(facts),
        _student(facts),
        [("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items()))],
    ):
        for name, value in lines:
            table.add_row(name, Text(value))
    return table


def _measurements(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    test, data = facts.get("test", {}), facts.get("data", {})
    if test:
        low, high = (_percent(value) for value in test["gap_closed_ci"])
        yield "test", f"{test['queries']:,} queries: reward {test['routed']:.3f}, best single {test['best_single']:.3f}"
        yield "", f"({test['best_single_name']}), oracle {test['oracle']:.3f}"
        yield "gap closed", f"{_percent(test['gap_closed'])} (95 % interval {low}…{high})"
    if data:
        digests = ", ".join(data["sha256"].values())
        yield "data", f"{data['queries']:,} queries, {data['cells']:,} cells; {digests[:16]}…"


def _training(facts: dict[str, Any], reference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    characters, entropy = reference["characters"], reference["entropy_bits"]
    low, median, high = (f"{characters[percentile]:g}" for percentile in ("p5", "p50", "p95"))
    yield "reference", f"characters of a query {low}…{high}, median {median};"
    yield "", f"entropy of probabilities {entropy['p5']:.2f}…{entropy['p95']:.2f} bits"
    yield "tags", ", ".join(facts.get("tags", [])) or "–"
    encoder = facts["encoder"]
    length, unit = encoder.get("max_length"), "tokens"
    if encoder["model"] == NGRAMS:
        length, unit = encoder["max_characters"], "characters"
    yield "encoder", f"{encoder['model']}, {length} {unit} of each query are read"
    yield "head", facts.get("head", "–")
    yield "labels", ", ".join(f"{key} {value}" for key, value in facts.get("label", {}).items())


def _onnx(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for precision in manifest.WEIGHTS:
        parity = facts.get("onnx", {}).get(precision)
        if parity:
            changed, difference = _percent(parity["changed_choices"]), parity["largest_logit_difference"]
            yield f"ONNX {precision}", f"{changed} of {parity['queries']:,} choices differ from torch's,"
            if precision == "int8" and "reward_difference" in parity:
                low, high = parity["reward_difference_ci"]
                yield "", f"which changes their reward by {parity['reward_difference']:+.4f} ({low:+.4f}…{high:+.4f}),"
            default = "; this is what serves" if facts["onnx"]["default"] == precision else ""
            yield "", f"logits by {difference:.2g} at most{default}"


def _student(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    report = facts.get("huggingface")
    if report:
        same = f"{_percent(report['same_choice'])} of {report['queries']:,} choices are the router's,"
        yield "Hugging Face", f"a student: {same}"
        router, student = (_percent(report[f"{name}_gap_closed"]) for name in ("router", "student"))
        yield "", f"gap closed {student} against {router}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.0f} MB"
