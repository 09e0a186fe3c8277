"""Sweeps whose jobs run in other processes: the table is complete, and a job that failed is named."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from support.made_up import encoder_folder, table
from support.paths import ROOT

pytestmark = pytest.mark.slow
LAUNCHERS = {
    "hydra_plugins.hydra_joblib_launcher": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "hydra_plugins.hydra_ray_launcher": [
        "hydra/launcher=ray",
        "hydra.launcher.ray.init.address=local",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false",
    ],
    "hydra_plugins.hydra_submitit_launcher": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"],
}


@pytest.mark.parametrize("plugin", LAUNCHERS)
def test_a_sweep_over_processes_leaves_one_complete_table(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(plugin)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the home folder
    encoder_folder(tmp_path / "encoder")
    table(tmp_path / "table.parquet")
    arguments = [
        "-m", "experiment=recorded", "records=table.parquet", "run_dir=sweep", "label.beta=2,1,0", "net.epochs=1",
        f"encoder.model={tmp_path / 'encoder'}", "encoder.layers=[1,2]", "export.onnx=false",
    ]  # fmt: skip
    # Not forked: joblib's processes do not end in a process that was.
    command = [sys.executable, str(ROOT / "train.py"), *arguments, *LAUNCHERS[plugin]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").open()))
    assert [float(row["label.beta"]) for row in rows] == [0.0, 1.0, 2.0], done.stderr
    assert [bool(row["failure"]) for row in rows] == [False, False, True]
    assert rows[2]["failure"].startswith("job 0: FieldError: expected label.beta to be less than or equal to 1 or")
    assert done.returncode == 2, "a job failed"
