"""States that compiled code reaches by an address: owned, checked, and never copied with it."""

import copy
import os
import pickle
import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from lnsim_gym.backends.simulator import layout
from lnsim_gym.compiled import kernel
from lnsim_gym.compiled.binding import BoundState, reader


class Inner(NamedTuple):
    """A part of a state."""

    values: np.ndarray  # (rows, columns)
    factor: float


class State(NamedTuple):
    """A state."""

    inner: Inner
    marks: np.ndarray  # (rows,)
    count: int


LIKE = State(Inner(np.zeros((1, 1)), 1.0), np.zeros(1, np.int32), 1)
_read = reader(LIKE)


@kernel
def mark_rows(address, begin, end):
    """Set every mark of a range to what its row adds up to."""
    inner, marks = _read(address, "inner"), _read(address, "marks")
    for row in range(begin, end):
        marks[row] = np.int32(inner.factor * inner.values[row].sum()) + _read(address, "count")


def make_state(rows=3, columns=2):
    return State(Inner(np.arange(float(rows * columns)).reshape(rows, columns), 2.0), np.zeros(rows, np.int32), 100)


def test_compiled_code_reads_and_writes_the_arrays_of_the_state():
    bound = BoundState(make_state(), LIKE)
    mark_rows(bound.address, 1, 3)
    assert bound.state.marks.tolist() == [0, 110, 118]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (make_state()._replace(marks=np.zeros(3, np.int64)), "state.marks: expected an array with dtype = int32"),
        (make_state()._replace(marks=np.zeros((3, 1), np.int32)), "state.marks: expected an array with ndim = 1"),
        (make_state()._replace(marks=np.zeros(6, np.int32)[::2]), "state.marks: expected an array with C-contiguous"),
        (
            make_state()._replace(marks=np.zeros(13, np.uint8)[1:].view(np.int32)),
            "state.marks: expected an array with aligned = True",
        ),
        (make_state()._replace(count=1.5), "state.count: expected int, got float"),
        (make_state()._replace(inner=Inner([1], 1.0)), "state.inner.values: expected ndarray, got list"),
        (make_state()._replace(inner=(1, 2)), "state.inner: expected Inner, got tuple"),
    ],
)
def test_a_state_of_other_types_is_refused_by_the_name_of_the_field(state, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        BoundState(state, LIKE)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_address_is_neither_copied_nor_pickled(duplicate):
    with pytest.raises(TypeError, match="make a BoundState anew"):
        duplicate(BoundState(make_state(), LIKE))


@pytest.mark.parametrize("name", ["POLICY", "COMMITMENT", "LABEL", "ENTRY", "RECORD"])
def test_records_are_aligned_without_padding(name):
    record = getattr(layout, name)
    assert record.isalignedstruct
    assert record.itemsize == sum(record[field].itemsize for field in record.names)


WITHOUT_PRIVATE_PARTS = """
import sys, types
import numba.np.arrayobj as module

copy = types.ModuleType(module.__name__)
copy.__dict__.update(module.__dict__)
del copy.populate_array
sys.modules[module.__name__] = copy

from tests.compiled.test_binding import LIKE, BoundState, make_state, mark_rows

bound = BoundState(make_state(), LIKE)
mark_rows(bound.address, 1, 3)
print(bound.state.marks.tolist())
"""


def test_a_numba_without_its_private_parts_computes_the_same_and_warns_once(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", WITHOUT_PRIVATE_PARTS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 110, 118]\n"
    assert done.stderr.count("lacks a part that makes the simulator faster") == 1
