"""A disk of its own for a network, which can be filled, and be slow for some processes: for root on Linux only.

It is an ext4 filesystem in a file. A hard end of the program leaves it mounted, as ``mount`` shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from lnsim_gym.backends.lnd.nodes.folders import state_root

__all__ = ["OwnDisk"]

_SIZE_BYTES: Final = 1_500_000_000
_THROTTLES: Final = Path("/sys/fs/cgroup/blkio")
"""Control group (version 1) of what processes may ask of block devices."""
_WRITES_PER_S: Final = "blkio.throttle.write_iops_device"


class OwnDisk:
    """A filesystem at ``folder`` while it is entered."""

    folder: Path

    @staticmethod
    def is_possible() -> bool:
        """Whether this machine lets this user have one."""
        tools = all(map(shutil.which, ("mkfs.ext4", "mount", "umount")))
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return root and tools and Path("/dev/loop-control").exists() and os.access(_THROTTLES / _WRITES_PER_S, os.W_OK)

    def __enter__(self) -> OwnDisk:
        with ExitStack() as undo:
            around = Path(tempfile.mkdtemp(prefix="lnsim-disk-", dir=state_root().parent))
            undo.callback(shutil.rmtree, around, ignore_errors=True)
            image, mounted = around / "image", around / "mounted"
            mounted.mkdir()
            with image.open("wb") as file:
                file.truncate(_SIZE_BYTES)
            # The rest of what root may use beyond others is none, so that a full disk is full.
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            undo.callback(_unmount, mounted)
            self.folder = mounted / "networks"
            self.folder.mkdir(mode=0o700)
            number = self.folder.stat().st_dev
            self._device = f"{os.major(number)}:{os.minor(number)}"
            self._slow = _THROTTLES / around.name
            self._slow.mkdir()
            undo.callback(self._leave_group)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self._undo.close()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room for anything meanwhile."""
        filler = self.folder.parent / "filler"
        with filler.open("wb", buffering=0) as file:
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.folder).free)
            with suppress(OSError):
                while file.write(bytes(4096)):
                    pass
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def slow(self, pid: int, writes_per_s: int) -> Iterator[None]:
        """Let a process write as seldom meanwhile.

        Args:
            pid: The process.
            writes_per_s: Writes to the disk per second, at most.
        """
        limit = self._slow / _WRITES_PER_S
        limit.write_text(f"{self._device} {writes_per_s}")
        with suppress(ProcessLookupError):
            (self._slow / "cgroup.procs").write_text(str(pid))
        try:
            yield
        finally:
            limit.write_text(f"{self._device} 0")

    def _leave_group(self) -> None:
        """Remove the control group; processes in it go back to where all are."""
        for pid in (self._slow / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (_THROTTLES / "cgroup.procs").write_text(pid)
        self._slow.rmdir()


def _unmount(folder: Path) -> None:
    """Unmount a disk, as soon as nobody uses it any more."""
    subprocess.run(["umount", "--lazy", folder], check=True)
