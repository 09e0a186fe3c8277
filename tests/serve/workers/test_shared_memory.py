"""Memory that workers share."""

from pathlib import Path

import pytest

from zooter.errors import ConfigError
from zooter.serve.workers.shared_memory import SharedMemory


def test_one_name_is_the_same_memory_for_every_worker_and_another_is_not(tmp_path: Path) -> None:
    first, second = SharedMemory(tmp_path, 0, 2), SharedMemory(tmp_path, 1, 2)
    first.map("a", 8)[0] = 7
    assert (second.map("a", 8)[0], second.map("b", 8)[0]) == (7, 0)


def test_a_single_worker_keeps_its_memory_to_itself() -> None:
    SharedMemory().map("a", 8)[0] = 7
    assert SharedMemory().map("a", 8)[0] == 0


def test_memory_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 4611686018427387904 bytes for what the workers share"):
        SharedMemory(tmp_path, 0, 2).map("a", 2**62)
