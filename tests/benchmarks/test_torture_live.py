"""Faults at random moments: each is noticed, repaired, and leaves nothing behind."""

import subprocess
import sys

import msgspec
import pytest

from lnsim_gym.benchmarks.torture import Fault, causes_and_outcomes, torture
from lnsim_gym.errors import ConfigError


@pytest.mark.lnd
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_faults_at_random_moments_are_noticed_and_repaired(lnd_binaries, tmp_path):
    out = tmp_path / "faults.jsonl"
    command = [sys.executable, "-m", "lnsim_gym", "torture", "--faults", "10", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1400, check=False)  # tells the seed
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(out.read_bytes().splitlines()) == 11


def a_fault(number, **fields):
    return Fault(number=number, cause="killed", victim="alice", after_s=1.0, **fields)


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path):
    out = tmp_path / "faults.jsonl"
    lines = [{"seed": 3}, a_fault(0), a_fault(1)]
    out.write_bytes(b"\n".join(map(msgspec.json.encode, lines)) + b'\n{"number":2,"cau')
    assert torture(3, 2, out) == lines[1:]
    with pytest.raises(ConfigError, match=r"to be of seed 4"):
        torture(4, 2, out)
    out.write_bytes(b"hello\n")
    with pytest.raises(ConfigError, match="name another file"):
        torture(4, 2, out)


def test_causes_are_told_with_their_outcomes():
    faults = [
        a_fault(0, outcome="truncated", noticed_s=2.0, repaired_s=1.0),
        a_fault(1, outcome="unharmed", noticed_s=0.0, repaired_s=3.0, wrong="x"),
    ]
    row = 2, 1, 1, 2.0, 2.0, 1
    assert causes_and_outcomes(faults) == [("killed: node", *row), ("all", *row)]
