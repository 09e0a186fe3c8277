"""Starting the server: from the command line, with nothing of what trains routers."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.paths import CONF

from zooter.commands import cli
from zooter.errors import ConfigError
from zooter.serve.settings import ServeSettings

WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "lightning", "pytorch_lightning", "hydra", "omegaconf",
                                  "scipy", "sklearn", "matplotlib", "rich", "openai", "litellm"}:
            raise ImportError(f"{name} is not part of zooter[serve]")

sys.meta_path.insert(0, Refuse())
import zooter.commands.cli
import zooter.serve.litellm
import zooter.serve.server
from zooter.commands import config
from zooter.serve.settings import Settings

config.bind(Settings, {"export": "some"}, "the settings")
"""


def test_the_server_needs_nothing_of_what_trains_routers() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_says_what_is_wrong_with_an_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(tmp_path)]) == 2
    assert "ExportError: expected an export in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("porrt: 80", r"found \['porrt'\]"),
        ("- port", "settings in"),
        ("port: [", "a YAML file at"),
        ("port: eighty", "of type int"),
    ],
)
def test_the_command_refuses_a_wrong_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    assert cli.main(["serve", str(tmp_path), "--config", str(tmp_path / "serve.yaml")]) == 2
    told = capsys.readouterr().err
    assert re.search(words, told), told


def test_selectors_are_settings_like_those_of_an_evaluation(tmp_path: Path) -> None:
    margin = yaml.safe_load((CONF / "selector" / "margin.yaml").read_text())
    margin |= {"order": ["small", "large"]}
    margin["threshold"] |= {"running": False, "fixed": [0.5]}
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump({"selectors": {"margin": margin}, "port": 8081, "host": "127.0.0.1"}))
    given = argparse.Namespace(export=tmp_path, config=config, pool_file=None, host="::1", port=None)
    settings = cli.settings(given)
    assert (settings.export, settings.port, settings.host) == (tmp_path, 8081, "::1")
    assert settings.selectors["margin"].threshold.fixed == (0.5,)


@pytest.mark.parametrize(
    "wrong",
    [{"reads": "some"}, {"sticky": "yes"}, {"port": -1}, {"deadline": 0.0}, {"sure": 2.0}, {"tries": 0}, {"watch": 0.0},
     {"retry_share": -1.0}, {"largest_body": 0}],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}:"):
        ServeSettings(tmp_path, **wrong)  # type: ignore[arg-type]
