"""Compiled code touches nothing but its arrays: the whole engine between guard zones, fences and bounds checks.

Guard zones show writes beside an array, and results that differ show reads. Fences kill the process at the very read
or write. numba's own bounds checks name the index; that they, and the others, work in functions compiled as here is
shown by accesses that are planted.
"""

import os
import random
import signal
import subprocess
import sys
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lnsim_gym.backends.simulator.engine import pay_batch
from lnsim_gym.backends.simulator.prepare import (
    compile_network,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
)
from lnsim_gym.compiled import kernel, memory, outlined
from lnsim_gym.compiled.binding import describe, reader
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import PaymentOptions
from tests.compiled.allocators import Guards
from tests.compiled.episodes import SETTINGS, assert_same, drive
from tests.oracle.scenarios import random_balances, random_payment, random_topology

CASES = [
    pytest.param(case, threads, id=f"{case}-{threads}", marks=[pytest.mark.slow] * ("task" in case))
    for case in SETTINGS
    for threads in (1, 3)
]


class Cells(NamedTuple):
    """A state of one array."""

    cells: Any


_read = reader(Cells(np.zeros(4, np.int64)))


@outlined
def _touch(cells, index, value):
    if value == 0:
        return cells[index]
    cells[index] = value
    return value


@kernel
def touch(address, index, value):
    """Write a value to an index, or read there when the value is 0."""
    return _touch(_read(address, "cells"), index, value)


def touch_beside(index, value):
    """Touch an array of four numbers at an index that may be none of them."""
    state = Cells(memory.zeros(4, np.int64))
    table = describe(state)
    return touch(table.ctypes.data, index, value)


@pytest.fixture
def guards(monkeypatch):
    guards = Guards()
    monkeypatch.setattr(memory, "allocate", guards)
    return guards


def run_python(code, *arguments, **variables):
    """Run code in a process of its own, with environment variables of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("index", [-9, 4, 100])
def test_guards_see_a_write_beside_an_array(guards, index):
    for inside in (0, 3):
        touch_beside(inside, 7)
    assert guards.broken() == []
    touch_beside(index, 7)
    assert guards.broken() == [((4,), np.dtype(np.int64))]


@pytest.mark.parametrize(("settings", "threads"), CASES)
def test_episodes_write_nothing_beside_their_arrays_and_read_nothing_there(monkeypatch, settings, threads):
    plain = drive(settings, threads=threads)
    guards = Guards()
    monkeypatch.setattr(memory, "allocate", guards)
    assert_same(drive(settings, threads=threads), plain)
    assert len(guards) > 80
    assert guards.broken() == []


@st.composite
def drawn_settings(draw):
    """Draw settings of an environment, many at their limits, on a network that may have leaves and islands."""
    rng = draw(st.randoms(use_true_random=False))
    topology = random_topology(rng, nodes=draw(st.integers(2, 27)))
    observation = draw(st.sampled_from(["balances", "flows", "averages", "dict"]))
    payment = {
        "max_parts": draw(st.sampled_from([1, 1, 2, 16])),
        "mission_control": draw(st.sampled_from(["per_payment", "per_episode"])),
        "timeout_seconds": draw(st.sampled_from([1, 30, 86_400])),
        "fee_limit_ppm": draw(st.sampled_from([0, 50_000, 1_000_000])),
    }
    kind = draw(st.sampled_from(["drift", "card", "classic", "simln"]))
    amounts = {"drift": {"median_amount_sat": 400_000}, "classic": {"max_amount_sat": 900_000}}
    return {
        "topology": msgspec.to_builtins(topology),
        "operation": draw(st.sampled_from(["push", "circular"])),
        "circular_max_hops": draw(st.sampled_from([3, 8])),
        "rebalance_fee_limit_ppm": draw(st.sampled_from([0, 1_000_000])),
        "observation": observation,
        "observation_history": draw(st.sampled_from([1, 4, 256])),
        "payments_per_step": draw(st.sampled_from([1, 7, 60])),
        "start_balances": draw(st.sampled_from(["topology", {"low": 0.0, "high": 1.0}])),
        "payment": payment,
        "traffic": {"kind": kind, **amounts.get(kind, {})},
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the topology is disconnected")
@hypothesis_settings(max_examples=150)
@given(settings=drawn_settings(), threads=st.sampled_from([1, 3]))
def test_episodes_of_any_settings_stay_within_their_arrays(settings, threads):
    try:
        plain = drive(settings, threads=threads)
    except ConfigError:  # no cycles to rebalance over, for instance
        reject()
    guards = Guards()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "allocate", guards)
        assert_same(drive(settings, threads=threads), plain)
    assert guards.broken() == []


@pytest.mark.parametrize("max_parts", [1, 2, 16])
@pytest.mark.parametrize("mission_control", ["per_payment", "per_episode"])
def test_payments_write_nothing_beside_their_arrays(guards, max_parts, mission_control):
    options = PaymentOptions(max_parts=max_parts, mission_control=mission_control)
    for seed in range(20):
        pay_some(random.Random(seed), options)
    assert guards.broken() == []


def pay_some(rng, options):
    """Make payments from Python on a random network, itself and its working space in arrays for compiled code."""
    topology = random_topology(rng)
    network = compile_network(topology)
    payments = np.array([random_payment(rng, topology)[:3] for _ in range(30)], np.int64).T
    limits_msat = options.fee_limit_msat(payments[2])
    columns = tuple(memory.copied(column) for column in (*payments, limits_msat, np.arange(30)))
    pay_batch(
        network,
        memory.copied(random_balances(rng, topology).ravel()),
        make_scratch(network, options),
        make_memory(network, options),
        make_settings(options),
        columns,
        make_outcomes(30, options.max_parts),
    )


BETWEEN_FENCES = """
import sys
from lnsim_gym.compiled import memory
from tests.compiled.allocators import Fences
from tests.compiled.test_memory import SETTINGS, drive, touch_beside

side, index, value = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
memory.allocate = Fences(side)
touch_beside(0, value)
touch_beside(3, value)
print("inside", flush=True)
if index:
    touch_beside(index, value)
else:
    for settings in SETTINGS:
        drive(settings, networks=3, threads=2)
print("done")
"""


def between_fences(*arguments):
    return run_python(BETWEEN_FENCES, *map(str, arguments))


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize(("side", "index"), [("after", 4), ("before", -5)])
def test_a_fence_stops_a_read_and_a_write_beside_an_array(side, index, value):
    done = between_fences(side, index, value)
    assert (done.stdout, done.returncode) == ("inside\n", -signal.SIGSEGV), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("side", ["after", "before"])
def test_episodes_read_and_write_nothing_outside_their_arrays(side):
    done = between_fences(side, 0, 7)
    assert (done.stdout, done.returncode) == ("inside\ndone\n", 0), done.stderr


WITH_BOUNDS_CHECKS = """
import random
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import PaymentOptions
from tests.compiled.test_memory import SETTINGS, drive, pay_some, touch_beside

touch_beside(3, 7)
for index, value in ((4, 7), (4, 0), (-5, 7)):
    try:
        touch_beside(index, value)
    except IndexError:
        print("refused")
for seed in range(20):
    for parts, remembering in ((1, "per_payment"), (16, "per_episode")):
        pay_some(random.Random(seed), PaymentOptions(max_parts=parts, mission_control=remembering))
for settings in SETTINGS:
    if settings.get("task") != "operator":  # whose kernels take many minutes to be compiled with checks
        drive(settings, networks=3, threads=2)
print("done")
"""


@pytest.mark.slow
def test_numba_finds_no_index_out_of_bounds(tmp_path):
    done = run_python(WITH_BOUNDS_CHECKS, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.stdout, done.returncode) == (3 * "refused\n" + "done\n", 0), done.stderr
