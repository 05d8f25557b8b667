"""A disk that can be filled and slowed down."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lnsim_gym.benchmarks.disk import OwnDisk

pytestmark = pytest.mark.skipif(not OwnDisk.is_possible(), reason="needs root, loop devices and blkio control groups")


def seconds_of_writes(path) -> float:
    began = time.monotonic()
    with path.open("wb", buffering=0) as file:
        for _ in range(10):
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
    return time.monotonic() - began


def test_a_disk_of_its_own_can_be_full_and_slow_and_leaves_nothing_behind():
    with OwnDisk() as disk:
        around = disk.folder.parent.parent
        with disk.full(), pytest.raises(OSError, match="No space left"):
            seconds_of_writes(disk.folder / "new")
        with disk.slow(os.getpid(), 20):
            assert seconds_of_writes(disk.folder / "slow") > 0.3
        assert seconds_of_writes(disk.folder / "new") < 0.3
    assert not around.exists()
    assert str(around) not in Path("/proc/mounts").read_text()
