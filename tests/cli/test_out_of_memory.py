"""The command where the system gives no more memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="limits of POSIX")

ROOM_KIB = 3_000_000
"""Enough address space to load everything, and not for the vector that is asked for."""


def test_a_command_without_memory_ends_with_one_line():
    command = [sys.executable, "-m", "lnsim_gym", "bench", "environment", "--num-envs", "50000000"]
    limited = ["bash", "-c", f'ulimit -v {ROOM_KIB}; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: there is not enough memory: ask for less")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
