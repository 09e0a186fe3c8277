"""Settings and start of the server."""

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support import upstreams
from support.paths import CONF, ROOT
from support.server_process import server_process

from zooter.commands import cli
from zooter.errors import ConfigError
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings

MESSAGES = [{"role": "user", "content": "hello"}]
ROUTER_TESTS = ("`test_no_more_is_tokenized_than_the_first_tokens_need`",)
IMPORT_WITHOUT_TRAINING = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if name in ("opentelemetry.sdk", "opentelemetry.exporter") or top in {
            "torch", "transformers", "lightning", "pytorch_lightning", "hydra", "omegaconf", "scipy", "sklearn",
            "matplotlib", "rich", "openai", "litellm",
        }:
            raise ImportError(f"{name} is not part of zooter[serve]")

sys.meta_path.insert(0, Refuse())
import zooter.commands.cli
import zooter.serve.litellm
import zooter.serve.server
from zooter.commands import config
from zooter.serve.metrics import Metrics

config.build({"_target_": "zooter.serve.settings.ServeSettings", "export": "some"})
"""


def test_the_server_imports_no_training_dependencies() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_WITHOUT_TRAINING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_reports_what_is_wrong_with_an_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(tmp_path)]) == 2
    assert "ExportError: expected an export in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("porrt: 80", r"found \['porrt'\]"),
        ("- port", "settings in"),
        ("port: [", "a YAML file at"),
        ("port: eighty", "port to be a valid integer"),
    ],
)
def test_the_command_refuses_a_wrong_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    assert cli.main(["serve", str(tmp_path), "--config", str(tmp_path / "serve.yaml")]) == 2
    message = capsys.readouterr().err
    assert re.search(words, message), message


def test_selectors_are_configured_as_for_an_evaluation(tmp_path: Path) -> None:
    margin = yaml.safe_load((CONF / "selector" / "margin.yaml").read_text())
    margin |= {"order": ["small", "large"]}
    margin["threshold"] |= {"online_threshold": False, "fixed": [0.5]}
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump({"selectors": {"margin": margin}, "port": 8081, "host": "127.0.0.1"}))
    options = argparse.Namespace(
        export=tmp_path, config=config, backup=None, pool_file=None, host="::1", port=None, workers=None
    )
    settings = cli.serve_settings(options)
    assert (settings.export, settings.port, settings.host) == (tmp_path, 8081, "::1")
    assert settings.selectors["margin"].threshold.fixed == (0.5,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"query_from": "some"},
        {"sticky": "yes"},
        {"port": -1},
        {"deadline": 0.0},
        {"switch_margin": 2.0},
        {"max_attempts": 0},
        {"watch": 0.0},
        {"retry_share": -1.0},
        {"largest_body": 0},
        {"idle": float("nan")},
        {"total": float("inf")},
        {"threads": True},
        {"batch": 2.5},
        {"connect": "2"},
        {"selectors": ["margin"]},
        {"precision": "int4"},
        {"log_text": "yes"},
        {"keys_file": 5, "host": "127.0.0.1"},
    ],
)
def test_a_setting_out_of_range_or_of_another_type_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"expected ServeSettings\.{next(iter(wrong))}(\.\w+)? to be"):
        ServeSettings(tmp_path, **wrong)  # type: ignore[arg-type]


def test_requests_that_outlast_the_shutdown_end_with_an_error_that_clients_understand(tmp_path: Path) -> None:
    async def stall(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        if body.get("stream"):
            writer.write(upstreams.STREAM_HEAD + upstreams.chunk(upstreams.sse_event("I am")))
        await asyncio.sleep(60)

    bodies = [{"model": "small", "stream": stream, "messages": MESSAGES} for stream in (False, True)]
    with upstreams.serve_upstream("small", stall) as upstream, ThreadPoolExecutor(2) as pool:
        (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": {"small": {"url": upstream.url}}}))
        settings = {"pool_file": str(tmp_path / "pool.yaml"), "shutdown_timeout": 0.5, "idle": 60.0}
        with server_process(tmp_path, **settings) as (process, url):

            def post(body: dict[str, Any]) -> httpx.Response:
                return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)

            answers = [pool.submit(post, body) for body in bodies]
            upstreams.wait_until(lambda: len(upstream.bodies) == 2)
            process.send_signal(signal.SIGTERM)
            whole, stream = (answer.result() for answer in answers)
            assert process.wait(15) in (0, -signal.SIGTERM)
    assert (whole.status_code, whole.headers["retry-after"]) == (503, "1")
    assert whole.json()["error"]["code"] == "shutting_down"
    assert stream.status_code == 200
    last_event = json.loads(stream.text.strip().rpartition("data: ")[2])
    assert (last_event["error"]["code"], last_event["error"]["message"]) == ("shutting_down", "the server shuts down")


def test_each_row_of_the_table_of_faults_names_a_test_and_metrics_that_exist() -> None:
    document = (ROOT / "docs" / "serving.md").read_text()
    table = document.partition("| fault |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    sources = "".join(path.read_text() for path in (ROOT / "tests" / "serve").rglob("test_*.py"))
    names = {metric.name for metric in Metrics().registry.collect()}
    assert len(rows) > 20
    for row in rows:
        assert f"def {row[-1].strip('`')}(" in sources or row[-1] in ROUTER_TESTS, row
        for word in re.findall("`([a-z_]+)`", row[-2]):
            assert f"zooter_{word}" in names or word in ("broken", "fault", "refused"), word
