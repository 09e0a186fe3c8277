"""Several processes that train one net (DDP): they compute what one process does, and the first one writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.made_up import encoder_folder, table
from support.paths import CONF, ROOT

from zooter.commands import config
from zooter.commands import train as training
from zooter.commands.overrides import refuse_processes_in_jobs
from zooter.errors import ConfigError

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and an encoder without dropout, whose random numbers depend on how a batch is divided."""
    folder = tmp_path_factory.mktemp("processes")
    table(folder / "table.parquet")
    (folder / "zooter").write_text("from zooter.commands.cli import main; raise SystemExit(main())")
    settings = encoder_folder(folder / "encoder") / "config.json"
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **no_dropout}))
    return folder


def refusal(home: Path, *overrides: str) -> str:
    """Say why a run in two processes is refused, before any is started."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = [f"run_dir={home / 'refused'}", f"cache_dir={home / 'cache'}", *TWO, *overrides]
        values = OmegaConf.to_container(compose("train", given), resolve=True)
    assert isinstance(values, dict)
    with pytest.raises(ConfigError) as caught:
        training.run(config.build(values), values)
    return str(caught.value)


def test_a_net_on_stored_embeddings_is_trained_in_one_process(home: Path) -> None:
    message = refusal(home, f"records={home / 'table.parquet'}")
    assert "a net that trains its encoder, to train in 2 processes; found FrozenRecipe" in message


def test_what_costs_money_is_asked_in_one_process_before(home: Path) -> None:
    assert "expected a recorded table" in refusal(home, "experiment=zoo", "net=finetune")
    message = refusal(home, f"records={home / 'table.parquet'}", "net=finetune", "tagger=instag")
    assert "expected a tagger that asks nobody" in message


def test_a_sweep_has_one_process_for_each_job() -> None:
    refuse_processes_in_jobs({"trainer": {"strategy": "auto"}})
    with pytest.raises(ConfigError, match="expected one process for each job of a sweep"):
        refuse_processes_in_jobs({"trainer": {"strategy": "ddp_x"}})


def start(home: Path, program: list[str], name: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Train as a command line does, each time with a cache of its own."""
    arguments = [
        "experiment=recorded", "records=table.parquet", f"run_dir={name}", f"cache_dir={name}-cache", "net.epochs=2",
        "label.beta=0.3", f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]", "export.onnx=false", *overrides,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def train(home: Path, program: list[str], name: str, *overrides: str) -> tuple[np.ndarray[Any, Any], Any]:
    """Train; return the curves of both losses, and the report without what no two runs share."""
    done = start(home, program, name, *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = pyarrow.csv.read_csv(home / name / "metrics" / "metrics.csv")
    curves = [metrics[loss].drop_null().to_numpy() for loss in ("train/loss", "val/loss")]
    report = json.loads((home / name / "report.json").read_text())
    assert "epochs, validation loss" in (home / name / "train.log").read_text()
    return np.array(curves), {key: report[key] for key in ("test", "validation", "data", "chosen", "choices_by_tag")}


# A batch of 25 has a row more for the first process than for the second; the last one has 18.
FINETUNE = ("net=finetune", "net.dropout=0", "net.batch_size=25", "net.lr=1e-3")
PAPER = ("net=zooter", "net.batch_size=25", "net.lr=1e-3", "label.temperature=1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "program", "trainer"),
    [
        (FINETUNE, [*TORCHRUN, str(ROOT / "train.py")], ["trainer=ddp"]),
        ((*FINETUNE, "objective=bradley_terry", "folds=2"), [str(ROOT / "train.py")], TWO),
        (PAPER, ["zooter", "train"], TWO),
    ],
    ids=["torchrun", "Lightning", "zooter train"],
)
def test_two_processes_compute_what_one_does(home: Path, net: Any, program: Any, trainer: Any, request: Any) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    one, report = train(home, [str(ROOT / "train.py")], f"one-{name}", *net, "trainer=cpu")
    two, report_of_two = train(home, program, f"two-{name}", *net, *trainer)
    assert np.ptp(one[0]) > 1e-5, "a curve"
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert report_of_two["choices_by_tag"] == report["choices_by_tag"]
    for section in report:
        assert_close(report_of_two[section], report[section], section)


def assert_close(actual: Any, expected: Any, where: str) -> None:
    """Compare reports: floats within rounding, everything else exactly."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_close(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for i, value in enumerate(expected):
            assert_close(actual[i], value, f"{where}[{i}]")
    else:
        assert actual == (pytest.approx(expected, rel=1e-3, abs=1e-5) if isinstance(expected, float) else expected), (
            where
        )
