"""What a training is resumed from: a checkpoint of its own settings, and no other file."""

from pathlib import Path

import pytest
import torch

from zooter.errors import ConfigError
from zooter.training.checkpoint import KEY, check_checkpoint, state_to_save

EXPECTED = "expected ckpt_path to be a checkpoint of zooter"


@pytest.mark.parametrize("content", [b"not a checkpoint", b"", b"PK\x03\x04 broken", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=EXPECTED):
        check_checkpoint(tmp_path / "last.ckpt", {})


def test_a_missing_file_a_folder_and_another_tools_checkpoint_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    for name, found in (("none.ckpt", "no such file"), ("", "a folder"), ("foreign.ckpt", "one that does not carry")):
        with pytest.raises(ConfigError, match=rf"{EXPECTED}: .*; found {found}"):
            check_checkpoint(tmp_path / name, {})


def test_every_setting_that_differs_is_named(tmp_path: Path) -> None:
    torch.save({KEY: state_to_save({"seed": 0, "net": "Frozen", "net.width": 8})}, tmp_path / "last.ckpt")
    check_checkpoint(tmp_path / "last.ckpt", {"seed": 0, "net": "Frozen", "net.width": 8})
    with pytest.raises(
        ConfigError, match=r"found seed was 0 and is 1; net was Frozen and is Full; net.width was 8 and is None"
    ):
        check_checkpoint(tmp_path / "last.ckpt", {"seed": 1, "net": "Full"})
