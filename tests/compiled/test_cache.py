"""Machine code on disk: found again, renewed when any part of the source changes, harmless when it cannot be kept."""

import os
import subprocess
import sys
import textwrap

import pytest

from lnsim_gym.compiled.cache import fingerprint

PART = """
    from lnsim_gym.compiled import {decorator}

    STEP = {step}

    @{decorator}
    def part(x):
        return x + STEP
"""
WHOLE = """
    from lnsim_gym.compiled import kernel
    from part_of_kernel import part

    @kernel
    def whole(x):
        return 10 * part(x)

    if __name__ == "__main__":
        print(whole(1))
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a kernel of two modules; ``run`` runs it with its cache in ``tmp_path / "cache"``."""

    def write(step, decorator="outlined"):
        (tmp_path / "part_of_kernel.py").write_text(textwrap.dedent(PART).format(step=step, decorator=decorator))
        (tmp_path / "whole_kernel.py").write_text(textwrap.dedent(WHOLE))

    def run(cache=None):
        environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
        environment["LNSIM_CACHE_DIR"] = str(cache or tmp_path / "cache")
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), os.getcwd()])
        done = subprocess.run(
            [sys.executable, str(tmp_path / "whole_kernel.py")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout), "compiling" in done.stderr

    write(1)
    return write, run, tmp_path


def test_a_kernel_is_compiled_once_and_says_so(project):
    _, run, _ = project
    assert run() == (20, True)
    assert run() == (20, False)


@pytest.mark.parametrize("decorator", ["outlined", "fused", "inlined"])
def test_a_change_in_another_file_of_the_kernel_is_noticed(project, decorator):
    write, run, _ = project
    write(1, decorator)
    assert run() == (20, True)
    write(2, decorator)
    assert run() == (30, True)


def test_a_damaged_file_is_replaced(project):
    _, run, folder = project
    run()
    files = sorted((folder / "cache" / "kernels").glob("*.nb[ci]"))
    assert files
    for file in files:
        file.write_bytes(b"not machine code")
    assert run() == (20, True)


def test_a_folder_that_cannot_be_written_costs_only_the_time_to_compile(project):
    _, run, folder = project
    (folder / "in_the_way").write_text("")
    assert run(cache=folder / "in_the_way") == (20, True)


def test_a_fingerprint_does_not_depend_on_where_the_source_lies():
    def one(x):
        return x + 1

    def moved(x):
        return x + 1

    moved.__qualname__ = one.__qualname__
    assert fingerprint(one) == fingerprint(moved)
