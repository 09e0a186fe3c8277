"""Files for deployment: they parse, fit one another and the server, and name metrics that exist."""

import argparse
import configparser
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner
from support.paths import ROOT
from yamllint import linter
from yamllint.config import YamlLintConfig

from zooter.commands import cli
from zooter.data.pool import pool_from_settings
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings

DEPLOY = ROOT / "deploy"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "zooter.yaml").read_text())
    return {document["kind"]: document for document in documents}


def settings(config: Path) -> ServeSettings:
    options = argparse.Namespace(
        export=Path("/export"), config=config, backup=None, pool_file=None, host=None, port=None, workers=None
    )
    return cli.serve_settings(options)


def metric_names() -> set[str]:
    metrics = Metrics().registry.collect()
    return {metric.name + suffix for metric in metrics for suffix in SUFFIXES[metric.type]}


def labels_of(expression: str) -> set[str]:
    """Return the labels by which an expression groups or selects."""
    groups = re.findall(r"by \(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",")} - {"le", "instance"}


def test_the_alerts_and_the_dashboard_name_metrics_and_labels_that_exist() -> None:
    alerts = [rule["expr"] for group in read("alerts.yaml")["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    expressions = alerts + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"zooter_\w+", expression)}
    assert used <= metric_names(), used - metric_names()
    assert len(expressions) > 30
    labels = {label for metric in vars(Metrics()).values() for label in getattr(metric, "_labelnames", ())}
    assert set().union(*map(labels_of, expressions)) <= labels
    shown = {
        re.sub("_(total|bucket)$", "", name) for name in re.findall(r"zooter_\w+", json.dumps(dashboard["panels"]))
    }
    assert {metric.name for metric in Metrics().registry.collect()} <= shown, "metrics that no panel shows"


def test_every_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    for rule in read("alerts.yaml")["groups"][0]["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_dashboards_panels_do_not_overlap() -> None:
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)


def test_the_image_holds_no_training_dependencies_and_does_not_run_as_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = text.split("\nFROM ")
    assert '".[serve,otel]"' in stages[1]
    assert not re.search(r"\btorch\b|\[train|\[dev", text)
    assert re.search(r"^USER [1-9]\d*$", stages[-1], re.MULTILINE)
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    command = json.loads(re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert entry == ["zooter", "serve", "/export"]
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)).split()
    assert all((ROOT / name).exists() for name in copied), copied
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]) <= set(copied)
    mounts = [volume.split(":")[-2] for volume in read("compose.yaml")["services"]["zooter"]["volumes"]]
    assert {"/export", command[1], command[3]} == set(mounts)


def test_compose_connects_the_server_its_candidates_and_prometheus() -> None:
    compose = read("compose.yaml")
    services = compose["services"]
    pool = pool_from_settings(read("pool.yaml")["candidates"])
    for candidate in pool.candidates:
        assert candidate.url == f"http://{candidate.name}:8000/v1"
        assert "8000" in services[candidate.name]["command"]
    assert len(pool.candidates) == 2
    serve = settings(DEPLOY / "serve.yaml")
    assert str(serve.keys_file) == "/run/secrets/keys"
    assert set(services["zooter"]["secrets"] + services["prometheus"]["secrets"]) == set(compose["secrets"])
    target = read("prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == [f"zooter:{serve.port}"]
    assert int(services["zooter"]["stop_grace_period"].removesuffix("s")) > serve.shutdown_timeout + 2


def test_the_pods_probes_fit_the_server_and_its_end_leaves_time_for_requests(tmp_path: Path) -> None:
    kinds = manifests()
    data = kinds["ConfigMap"]["data"]
    (tmp_path / "serve.yaml").write_text(data["serve.yaml"])
    serve = settings(tmp_path / "serve.yaml")
    assert pool_from_settings(yaml.safe_load(data["pool.yaml"])["candidates"]).names == ("small", "large")
    spec = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["ports"][0]["containerPort"] == serve.port
    probes = {name: container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert probes == {"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/healthz"}
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + serve.shutdown_timeout + 2
    assert spec["securityContext"]["runAsNonRoot"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert kinds["Service"]["spec"]["selector"] == kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert serve.sticky == "replay", "two replicas share no memory"


def test_the_systemd_unit_reloads_by_sighup_and_waits_for_requests() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "zooter.service")
    service = unit["Service"]
    assert service["ExecStart"].split()[0].endswith("/zooter")
    assert set(re.findall(r"--(\w+)", service["ExecStart"])) == {"pool", "config"}
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["TimeoutStopSec"]) > ServeSettings(Path("x")).shutdown_timeout + 2


def test_the_image_takes_less_than_400_megabytes_by_the_sizes_of_its_packages() -> None:
    script = runpy.run_path(str(DEPLOY / "image_size.py"))
    sizes = script["sizes"]()
    assert {"aiohttp", "fastapi", "numpy", "onnxruntime", "opentelemetry-sdk", "pyarrow", "tokenizers"} <= set(sizes)
    assert not {"torch", "transformers", "scipy"} & set(sizes)
    assert script["BASE"] + sum(kept for _, kept in sizes.values()) < 400.0
    for pattern in script["unused_patterns"]():
        listed = (path for package in sizes for path, _ in script["files"](package))
        assert any(fnmatch(path, pattern) for path in listed), f"nothing to delete: {pattern}"


WITHOUT_UNUSED = """
import sys
import numpy, onnxruntime, pyarrow
for module in (numpy, onnxruntime, pyarrow):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
import zooter.serve.open_telemetry, zooter.serve.server
from pathlib import Path
from zooter.serve import decision_log

decision_log.write_rows(Path(sys.argv[1]), [{"query": "q", "candidate": "c"}], 1_000_000)
session = onnxruntime.InferenceSession(sys.argv[2])
assert session.run(None, {"x": numpy.ones(2, "float32")})[0].tolist() == [2.0, 2.0]
"""


@pytest.mark.slow
def test_the_server_works_without_the_files_that_the_image_leaves_out(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    script = runpy.run_path(str(DEPLOY / "image_size.py"))
    patterns = script["unused_patterns"]()
    for package in ("numpy", "onnxruntime", "pyarrow", "uvloop"):
        for file in metadata.files(package) or ():
            path = tmp_path / file
            if ".." not in file.parts and not any(fnmatch(str(file), pattern) for pattern in patterns):
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), path)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "double.onnx").write_bytes(model.SerializeToString())
    command = [sys.executable, "-c", WITHOUT_UNUSED, str(tmp_path), str(tmp_path / "double.onnx")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_the_files_pass_yamllint(path: Path) -> None:
    rules = YamlLintConfig(file=str(DEPLOY / ".yamllint.yaml"))
    assert [str(problem) for problem in linter.run(path.read_text(), rules)] == []


def test_compose_fits_its_schema() -> None:
    options = ["--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = CliRunner().invoke(check_jsonschema.main, options)
    assert done.exit_code == 0, done.output
