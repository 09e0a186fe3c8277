"""Listing and removing runs and caches: what is ours goes, everything else stays."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from zooter.commands import clean
from zooter.commands.clean import list_leftovers
from zooter.data.locks import exclusive
from zooter.errors import ConfigError, StoreError

HASH = "0123456789abcdef" * 2
REPORT = json.dumps({"data": {}, "settings": {}, "seconds": {}, "test": {}})


def write(folder: Path, **sizes: int) -> None:
    """Write files of these sizes in bytes; `__` in a name is a slash, `_DOT_` a dot."""
    for name, size in sizes.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def make_run(folder: Path) -> Path:
    write(folder, export__head_DOT_safetensors=3_000_000, plots__methods_DOT_png=10, report_DOT_html=3, train_DOT_log=5)
    (folder / "report.json").write_text(REPORT)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, a sweep of two jobs, one of them failed, a cache, and files of somebody else."""
    make_run(tmp_path / "runs" / "first")
    make_run(tmp_path / "runs" / "sweep" / "0")
    (tmp_path / "runs" / "sweep" / "1").mkdir()
    (tmp_path / "runs" / "sweep" / "1" / "failure.json").write_text('{"overrides": [], "reason": "β"}')
    write(tmp_path / "runs" / "sweep", sweep_DOT_csv=7, sweep_DOT_html=7, multirun_DOT_yaml=7)
    write(tmp_path / "runs" / "thesis", thesis_DOT_tex=10)
    for store in ("responses", f"embeddings/{HASH}"):
        write(tmp_path / "cache" / store, **{f"{HASH}_DOT_parquet": 1_000_000})
    write(tmp_path / "cache" / "graphs" / HASH, int8_DOT_onnx=10, manifest_DOT_json=10)
    write(tmp_path / "cache", **{"other_DOT_bin": 10})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOOTER_CACHE", raising=False)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(*paths: str, remove: bool = False) -> str:
    output = io.StringIO()
    clean.main([Path(path) for path in paths], remove, Console(file=output, width=120))
    return output.getvalue()


def test_runs_sweeps_and_parts_of_the_cache_are_listed_with_their_sizes(home: Path) -> None:
    before = files(home)
    listed = {str(item.folder): (item.kind, item.size) for item in list_leftovers([])}
    run_size = 3_000_018 + len(REPORT)
    assert listed == {
        "runs/first": ("run", run_size),
        "runs/sweep": ("sweep of 2 jobs", run_size + 21 + len('{"overrides": [], "reason": "β"}'.encode())),
        "cache/responses": ("cache: responses of candidates", 1_000_000),
        "cache/embeddings": ("cache: embeddings of queries", 1_000_000),
        "cache/graphs": ("cache: ONNX graphs of encoders", 20),
    }
    shown = run()
    assert "3.0 MB" in shown
    assert "8.0 MB in all" in shown
    assert "nothing was removed" in shown
    assert files(home) == before


def test_everything_is_removed_but_what_was_paid_for_and_what_is_of_somebody_else(home: Path) -> None:
    shown = run(remove=True)
    for name in ("runs/first", "runs/sweep", "cache/embeddings", "cache/graphs"):
        assert f"removed {name}, " in shown
        assert not Path(name).exists()
    assert "only removed by name: cache/responses" in shown
    assert files(home) == {f"cache/responses/{HASH}.parquet", "cache/other.bin", "runs/thesis/thesis.tex"}
    run("cache/responses", remove=True)
    assert files(home) == {"cache/other.bin", "runs/thesis/thesis.tex"}


def test_only_what_is_named_is_removed(home: Path) -> None:
    before = files(home)
    run("runs/first", remove=True)
    assert before - files(home) == {name for name in before if name.startswith("runs/first/")}


def test_files_and_links_of_somebody_else_stay_in_a_run(home: Path) -> None:
    first = home / "runs" / "first"
    (first / "notes.txt").write_text("mine")
    (first / "plots" / "mine.svg").write_text("mine")
    (home / "thesis").mkdir()
    (home / "thesis" / "report.json").write_text(REPORT)
    (first / "export" / "linked").symlink_to(home / "thesis")
    (first / "plots" / "linked.png").symlink_to(home / "thesis" / "report.json")
    assert "4 other files stay" in run("runs/first", remove=True)
    assert {name for name in files(first) if "linked" not in name} == {"notes.txt", "plots/mine.svg"}
    assert (home / "thesis" / "report.json").read_text() == REPORT
    (home / "runs" / "link").symlink_to(home / "thesis")
    assert "runs/link" not in {str(item.folder) for item in list_leftovers([])}


@pytest.mark.parametrize("report", ['{"settings": {}}', "[]", "no JSON", '{"data": 1, "seconds": 2}'])
def test_a_report_of_another_tool_makes_no_run(home: Path, report: str) -> None:
    (home / "runs" / "thesis" / "report.json").write_text(report)
    with pytest.raises(ConfigError, match=r"expected a run, a sweep or a cache of zooter in runs/thesis; found none"):
        run("runs/thesis", remove=True)
    assert (home / "runs" / "thesis" / "report.json").exists()


@pytest.mark.parametrize(("name", "held"), [("first", "first"), ("sweep", "sweep/0")])
def test_what_a_process_writes_into_is_not_removed(home: Path, name: str, held: str) -> None:
    before = files(home)
    with (
        exclusive(home / "runs" / held, "run folder"),
        pytest.raises(StoreError, match=f"found held by process {os.getpid()}"),
    ):
        run(f"runs/{name}", remove=True)
    assert files(home) == before


def test_an_empty_folder_has_nothing_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no run, sweep or cache here" in run(remove=True)
