"""Both entry points as their users call them: in a process of their own, from another folder.

Each starts once as `python train.py` or `python infer.py`; further processes are forked with PyTorch loaded.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.made_up import CANDIDATES, encoder_folder, table
from support.paths import ROOT
from support.processes import PROCESSES, run_forked, run_script

from zooter.commands import calibrate
from zooter.errors import ExportError
from zooter.selector.routing.price_target import CalibrationTarget, load_price_calibration

QUERY = "please add ${oc.env:HOME}, 'sum' = {plus: [1, 2]} \\ \"digits\" ümlaut #?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    encoder_folder(folder / "encoder")
    table(folder / "table.parquet")
    return folder


def with_encoder(home: Path, script: str, *arguments: str) -> list[str]:
    encoder = [f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]", "export.onnx=false"]
    return [*arguments, *(encoder if script == "train.py" else [])]


def start(home: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / script), *with_encoder(home, script, *arguments)]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300, check=False)


def run(home: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(ROOT / script, with_encoder(home, script, *arguments), home)


@pytest.fixture(scope="module")
def trained(home: Path) -> str:
    done = start(home, "train.py", "experiment=recorded", "records=table.parquet", "run_dir=run", "label.beta=0.3")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_prints_the_table_and_where_everything_is(home: Path, trained: str) -> None:
    for name in ("routed (ours)", "random", "best single model", "kNN regression", "oracle"):
        assert name in trained
    assert f"report, plots and export: {home / 'run'}" in trained
    settings = json.loads((home / "run" / "report.json").read_text())["settings"]
    assert settings["label"]["beta"] == 0.3


def test_infer_routes_a_file(home: Path, trained: str) -> None:
    (home / "queries.jsonl").write_text('{"query": "please add sum", "query_id": "one"}\n{"query": "poem verse"}\n')
    done = start(home, "infer.py", "export=run/export", "queries=queries.jsonl", "out=out.jsonl")
    assert done.returncode == 0, done.stderr
    decisions = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert [row["query"] for row in decisions] == ["please add sum", "poem verse"]
    assert decisions[0]["query_id"] == "one"
    for row in decisions:
        assert set(row) == {"query_id", "query", "candidate", "probs"}
        assert set(row["probs"]) == set(CANDIDATES)
        assert sum(row["probs"].values()) == pytest.approx(1.0)
        assert row["candidate"] == max(row["probs"], key=row["probs"].get)
    assert [row["candidate"] for row in decisions] == ["calculator", "poet"]


def test_infer_takes_the_recorded_table_itself(home: Path, trained: str) -> None:
    done = run(home, "infer.py", "export=run/export", "queries=table.parquet", "out=all.jsonl")
    assert done.returncode == 0, done.stderr
    assert len((home / "all.jsonl").read_text().splitlines()) == 720


def test_infer_prints_one_query_whatever_is_in_it(home: Path, trained: str) -> None:
    done = run(home, "infer.py", "export=run/export", f"query={QUERY}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["query"] == QUERY


def test_evaluate_compares_selectors_and_leaves_every_decision(home: Path, trained: str) -> None:
    compare = ["mode=evaluate", "records=table.parquet", "call_prices={calculator: 0.001, poet: 0.002, lawyer: 0.003}"]
    done = run(home, "infer.py", *compare, "selectors=[per_tag_best]", "run_dir=compared")
    assert done.returncode == 0, done.stderr
    for name in ("oracle", "per_tag_best", "knn", "best_single", "random"):
        assert name in done.stdout
    assert "per_tag_best is better than the best single candidate" in done.stdout.replace("\n", " ")
    report = json.loads((home / "compared" / "report.json").read_text())
    assert report["selectors"]["per_tag_best"]["quality"]["mean"] > 0.8
    for name in ("report.md", "decisions.parquet", "plots/selectors.png", "plots/quality_price.png"):
        assert (home / "compared" / name).exists()
    done = run(home, "infer.py", *compare, "selectors=[margin]", "run_dir=lacking")
    assert done.returncode == 2
    assert "expected margins or first tokens of" in done.stderr
    assert not (home / "lacking" / "report.md").exists()
    done = run(home, "infer.py", "mode=evaluate", "records=nowhere.parquet", "run_dir=refused")
    assert done.returncode == 2
    assert not (home / "refused").exists(), "a refused command left a folder"


def test_calibrate_weighs_prices_for_a_target_and_only_on_the_table_of_the_training(home: Path, trained: str) -> None:
    shutil.copytree(home / "run" / "export", home / "weighed")
    prices = "call_prices={calculator: 0.001, poet: 0.002, lawyer: 0.003}"
    overrides = ["mode=calibrate", "export=weighed", "records=table.parquet", prices, "target.mean_price=0.0015"]
    done = run(home, "infer.py", *overrides)
    assert done.returncode == 0, done.stderr
    written = json.loads((home / "weighed" / "calibration.json").read_text())
    assert json.loads(done.stdout) == written
    assert 0.001 <= written["chosen_on"]["mean_price"] <= 0.0015
    assert written["held_out"]["kept"] == (written["held_out"]["mean_price"] <= 0.0015)
    calibration = load_price_calibration(home / "weighed")
    assert calibration is not None
    assert calibration.price_weight == written["price_weight"] > 0.0
    shutil.copy(home / "table.parquet", home / "other.parquet")
    with (home / "other.parquet").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ExportError, match=r"weighed was trained on"):
        calibrate.run(
            calibrate.CalibrateSettings(home / "weighed", home / "other.parquet", CalibrationTarget(mean_price=0.0015))
        )


def test_a_sweep_leaves_one_table_one_csv_and_one_plot(home: Path, trained: str) -> None:
    shards = sorted((home / "cache").rglob("*.parquet"))
    done = run(
        home, "train.py", "-m", "experiment=recorded", "records=table.parquet", "run_dir=sweep",
        "label.beta=0,1,2,0.3", "net.epochs=2",
    )  # fmt: skip
    assert done.returncode == 2, "β = 2 is out of range"
    assert "expected label.beta to be less than or equal to 1 or" in done.stderr
    rows = list(csv.DictReader((home / "sweep" / "sweep.csv").open()))
    assert [float(row["label.beta"]) for row in rows] == [0.0, 0.3, 1.0, 2.0]
    assert [bool(row["failure"]) for row in rows] == [False, False, False, True]
    assert rows[3]["failure"].startswith("job 2: FieldError: expected label.beta to be less than or equal to 1 or")
    assert all(float(row["validation_reward"]) > 0 for row in rows[:3])
    assert (home / "sweep" / "sweep.png").stat().st_size > 1_000
    assert "sweep in" in done.stdout
    assert not list((home / "sweep").glob("*/export")), "a job wrote an export that nobody asked for"
    assert sorted((home / "cache").rglob("*.parquet")) == shards, "embeddings were computed again"


def test_a_sweep_writes_exports_where_they_are_asked_for_or_needed(home: Path, trained: str) -> None:
    for name, wish in (("asked", "export.each_job=true"), ("needed", "selectors=[single]")):
        done = run(home, "train.py", "-m", "records=table.parquet", f"run_dir={name}", "net.epochs=1", wish)
        assert done.returncode == 0, done.stderr
        assert (home / name / "0" / "export" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["records=nothing.parquet"], "found nothing there"),
        ([], "expected either records=FILE or a reader=…; found neither"),
        (["records=table.parquet", "labell.beta=1"], "labell"),
        (["records=table.parquet", "prices={nobody: 1.0}"], "a price for 'nobody'"),
    ],
)
def test_bad_input_is_one_message_and_a_failure(home: Path, arguments: list[str], message: str) -> None:
    done = run(home, "train.py", "experiment=recorded", "run_dir=bad", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "bad" / "report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mode=drift", "export=nowhere", "queries=nothing.jsonl"], "found nothing there"),
        (["mode=drift", "export=nowhere", "query=hi"], "give mode=drift a file of them: queries=FILE"),
        (["exprot=nowhere", "query=hi"], "did you mean export=…?"),
        (["mode=evaluate", "selectors=[routed]", "records=x.parquet"], "add selectors.routed.export=RUN/export"),
    ],
)
def test_a_refused_mode_is_one_message_and_leaves_no_file(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run_forked(ROOT / "infer.py", arguments, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_damaged_export_is_one_message_and_leaves_an_earlier_answer(home: Path, trained: str) -> None:
    (home / "kept.jsonl").write_text("earlier\n")
    done = run(home, "infer.py", "export=nowhere", "queries=table.parquet", "out=kept.jsonl")
    assert done.returncode == 2
    assert "expected an export in nowhere; found no such folder" in done.stderr
    assert (home / "kept.jsonl").read_text() == "earlier\n"


def test_ctrl_c_leaves_no_half_written_file(home: Path, tmp_path: Path, trained: str) -> None:
    endless = ["records=table.parquet", "run_dir=cut", "net.epochs=100000", "net.patience=99999"]
    streams = tmp_path / "out", tmp_path / "err"
    arguments = with_encoder(home, "train.py", *endless)
    process = PROCESSES.Process(target=run_script, args=(ROOT / "train.py", arguments, home, streams))
    process.start()
    last = home / "cut" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    try:
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(60)
    finally:
        process.kill()
    errors = streams[1].read_text()
    assert process.exitcode == 130, errors
    assert "Traceback" not in errors
    assert not (home / "cut" / "report.json").exists()
    assert not (home / "cut" / "export").exists()
