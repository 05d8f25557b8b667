"""Machine code on disk: found again, renewed when any source changes, harmless when it cannot be kept."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import lnsim_gym
from lnsim_gym.compiled.cache import FINGERPRINT, KEEP_S, drop_old_folders

PART = """
    from lnsim_gym.compiled import {decorator}

    STEP = {step}

    @{decorator}
    def part(x):
        return x + STEP
"""
WHOLE = """
    import sys

    from lnsim_gym.compiled import kernel, ready
    from lnsim_gym.sample_part import part

    @kernel
    def whole(x):
        return 10 * part(x)

    @kernel
    def other(x):
        return part(x)

    if "ready" in sys.argv:
        ready((whole, (1,)), (other, (1,)))
    print(whole(1))
"""

COMPILED = Path(lnsim_gym.__file__).parent / "compiled"


class Project:
    """A copy of the package with two modules more, and runs of it in processes of their own."""

    def __init__(self, folder):
        self.folder, self.package, self.cache = folder, folder / "lnsim_gym", folder / "cache"
        self.shipped = self.package / "compiled" / "machine_code"

    def set_up(self):
        (self.package / "compiled").mkdir(parents=True)
        for source in ("errors.py", "paths.py", *(f"compiled/{path.name}" for path in COMPILED.glob("*.py"))):
            shutil.copy(COMPILED.parent / source, self.package / source)
        (self.package / "__init__.py").write_text("")
        (self.package / "sample_whole.py").write_text(textwrap.dedent(WHOLE))
        self.write(1)
        return self

    def write(self, step, decorator="outlined"):
        (self.package / "sample_part.py").write_text(textwrap.dedent(PART).format(step=step, decorator=decorator))

    def ship(self):
        """Make its machine code part of the package."""
        (self.cache / "kernels").rename(self.shipped)
        shutil.rmtree(self.cache)

    def start(self, *arguments, command=("-m", "lnsim_gym.sample_whole"), **variables):
        environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
        environment |= {"LNSIM_CACHE_DIR": str(self.cache), "PYTHONPATH": str(self.folder), **variables}
        pipe = subprocess.PIPE
        whole = [sys.executable, *command, *arguments]
        return subprocess.Popen(whole, env=environment, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments, **variables):
        out, err = self.start(*arguments, **variables).communicate()
        assert out, err
        return int(out), "compiling" in err


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project").set_up()


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("compiled") / "project").set_up()
    assert project.run("ready") == (20, True)
    return project


@pytest.fixture
def compiled(first_run, tmp_path):
    """A project that has run, in another place: what is kept does not depend on paths and times."""
    return Project(shutil.copytree(first_run.folder, tmp_path / "project", copy_function=shutil.copyfile))


def test_a_kernel_is_compiled_once_and_says_so(project):
    assert project.run() == (20, True)
    assert project.run() == (20, False)


@pytest.mark.slow
def test_kernels_that_are_made_ready_are_compiled_once(compiled):
    assert compiled.run("ready") == (20, False)
    assert compiled.run() == (20, False)


@pytest.mark.parametrize("decorator", ["outlined", "fused", "inlined"])
def test_a_change_in_another_file_of_the_package_is_noticed(compiled, decorator):
    compiled.write(2, decorator)
    assert compiled.run() == (30, True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [b"not machine code", b""])
def test_a_damaged_file_costs_only_the_time_to_compile(compiled, kind, damage):
    files = sorted(compiled.cache.rglob(kind))
    assert files
    for file in files:
        file.write_bytes(damage)
    assert compiled.run("ready") == (20, True)
    assert damage not in [file.read_bytes() for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.06, 0.9])
def test_machine_code_with_some_bytes_changed_is_never_run(compiled, share):
    for file in compiled.cache.rglob("*.nbc"):
        code = bytearray(file.read_bytes())
        first = int(share * len(code))
        code[first : first + 100] = bytes(byte ^ 0xFF for byte in code[first : first + 100])
        file.write_bytes(code)
    assert compiled.run("ready") == (20, True)
    assert compiled.run("ready") == (20, False)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"gone.nbc": 1}'])
def test_checksums_that_are_damaged_cost_only_the_time_to_compile(compiled, damage):
    (sums,) = compiled.cache.rglob("checksums.json")
    sums.write_text(damage)
    assert compiled.run("ready")[0] == 20


def test_a_folder_that_cannot_be_written_costs_only_the_time_to_compile_and_is_named(project):
    project.cache.write_text("")
    out, err = project.start("ready").communicate()
    assert int(out) == 20
    assert "compiling" in err
    assert err.count("set NUMBA_CACHE_DIR") == 1


def test_machine_code_that_an_installation_brings_is_loaded_and_kept_for_the_user(compiled):
    compiled.ship()
    assert compiled.run("ready") == (20, False)
    shutil.rmtree(compiled.shipped)
    assert compiled.run("ready") == (20, False)


def test_machine_code_that_an_installation_brings_is_loaded_where_nothing_can_be_written(compiled):
    compiled.ship()
    compiled.cache.write_text("")
    assert compiled.start("ready").communicate() == ("20\n", "")


def test_machine_code_that_an_installation_brings_for_another_source_is_not_used(compiled):
    compiled.ship()
    compiled.write(2)
    assert compiled.run("ready") == (30, True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc", "checksums.json"])
def test_damaged_machine_code_of_an_installation_costs_only_the_time_to_compile(compiled, kind):
    compiled.ship()
    for file in compiled.shipped.rglob(kind):
        file.write_bytes(b"not machine code")
    assert compiled.run("ready") == (20, True)


@pytest.mark.slow
def test_machine_code_for_another_processor_is_compiled_and_kept_beside(compiled):
    compiled.ship()
    assert compiled.run("ready", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == (20, True)
    assert compiled.run("ready", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == (20, False)
    assert compiled.run("ready") == (20, False)


def test_numbas_own_variable_for_the_folder_counts(project, tmp_path):
    project.run(NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert sorted((tmp_path / "mine" / "lnsim").rglob("*.nbi"))
    assert not project.cache.exists()


@pytest.mark.slow
def test_processes_that_start_together_compile_once(project):
    started = [project.start("ready") for _ in range(3)]
    results = [process.communicate() for process in started]
    assert [int(out) for out, _ in results] == [20] * 3
    assert sum("compiling" in err for _, err in results) == 1


WITHOUT_PRIVATE_NUMBA = """
import numba.core.caching
del numba.core.caching._CacheLocator
import lnsim_gym.sample_whole
"""


def test_without_what_numba_does_not_promise_to_keep_its_public_cache_keeps_machine_code(project):
    said = []
    for _ in range(2):
        out, err = project.start(command=("-c", WITHOUT_PRIVATE_NUMBA)).communicate()
        assert int(out) == 20
        assert "lacks a part" in err
        said.append("compiling" in err)
    assert said == [True, False]


def test_switching_compilation_off_is_one_clear_error(project):
    out, err = project.start(NUMBA_DISABLE_JIT="1").communicate()
    assert not out
    assert err.splitlines()[-1].startswith("lnsim_gym.errors.ConfigError: expected NUMBA_DISABLE_JIT unset")


def test_folders_of_versions_unused_for_a_month_are_dropped(tmp_path):
    own, old, young, strange = (tmp_path / name for name in (FINGERPRINT, "0" * 20, "1" * 20, "strange"))
    for folder in (own, old, young, strange):
        folder.mkdir()
    long_ago = time.time() - KEEP_S - 1
    for folder in (own, old, strange):
        os.utime(folder, (long_ago, long_ago))
    drop_old_folders(own)
    assert not old.exists()
    assert own.exists()
    assert young.exists()
    assert strange.exists()
