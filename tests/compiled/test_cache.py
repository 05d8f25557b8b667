"""Machine code on disk: found again, renewed when any source changes, harmless when it cannot be kept."""

import functools
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

WITHOUT_MACHINE_CODE = functools.partial(shutil.copytree, ignore=shutil.ignore_patterns("machine_code", "__pycache__"))


class Project:
    """A copy of the package with two modules more, and runs of it in processes of their own."""

    def __init__(self, folder):
        self.folder, self.cache = folder, folder / "cache"
        for name in ("compiled", "errors.py", "paths.py"):
            source = Path(lnsim_gym.__file__).parent / name
            copy = WITHOUT_MACHINE_CODE if source.is_dir() else shutil.copy
            copy(source, folder / "lnsim_gym" / name)
        (folder / "lnsim_gym" / "__init__.py").write_text("")
        (folder / "lnsim_gym" / "sample_whole.py").write_text(textwrap.dedent(WHOLE))
        self.write(1)

    def write(self, step, decorator="outlined"):
        text = textwrap.dedent(PART).format(step=step, decorator=decorator)
        (self.folder / "lnsim_gym" / "sample_part.py").write_text(text)

    def start(self, *arguments, **variables):
        environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
        environment |= {"LNSIM_CACHE_DIR": str(self.cache), "PYTHONPATH": str(self.folder), **variables}
        command = [sys.executable, "-m", "lnsim_gym.sample_whole", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments, **variables):
        out, err = self.start(*arguments, **variables).communicate()
        assert out, err
        return int(out), "compiling" in err

    def ship(self):
        """Make its machine code part of the package."""
        self.run("ready")
        (made,) = (self.cache / "kernels").iterdir()
        made.rename(self.shipped / made.name)
        shutil.rmtree(self.cache)

    @property
    def shipped(self):
        folder = self.folder / "lnsim_gym" / "compiled" / "machine_code"
        folder.mkdir(exist_ok=True)
        return folder

    def move(self):
        """Install it elsewhere: other paths, other times of change."""
        for file in self.folder.rglob("*.py"):
            os.utime(file, (1, 1))
        self.folder = self.folder.rename(self.folder.with_name("elsewhere"))
        self.cache = self.folder / "cache"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "lnsim_gym").mkdir(parents=True)
    return Project(folder)


@pytest.mark.parametrize("arguments", [(), ("ready",)])
def test_a_kernel_is_compiled_once_and_says_so(project, arguments):
    assert project.run(*arguments) == (20, True)
    assert project.run(*arguments) == (20, False)


@pytest.mark.parametrize("decorator", ["outlined", "fused", "inlined"])
def test_a_change_in_another_file_of_the_package_is_noticed(project, decorator):
    project.write(1, decorator)
    assert project.run() == (20, True)
    project.write(2, decorator)
    assert project.run() == (30, True)


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [b"not machine code", b""])
def test_a_damaged_file_costs_only_the_time_to_compile(project, kind, damage):
    project.run("ready")
    files = sorted(project.cache.rglob(kind))
    assert files
    for file in files:
        file.write_bytes(damage)
    assert project.run("ready") == (20, True)
    assert project.run("ready") == (20, False)


@pytest.mark.parametrize("share", [0.06, 0.2, 0.5, 0.9])
def test_machine_code_with_some_bytes_changed_is_never_run(project, share):
    project.run("ready")
    for file in project.cache.rglob("*.nbc"):
        code = bytearray(file.read_bytes())
        first = int(share * len(code))
        code[first : first + 100] = bytes(byte ^ 0xFF for byte in code[first : first + 100])
        file.write_bytes(code)
    assert project.run("ready") == (20, True)
    assert project.run("ready") == (20, False)


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"gone.nbc": 1}'])
def test_checksums_that_are_damaged_cost_only_the_time_to_compile(project, damage):
    project.run("ready")
    (sums,) = project.cache.rglob("checksums.json")
    sums.write_text(damage)
    assert project.run("ready")[0] == 20
    assert project.run("ready")[0] == 20


def test_a_folder_that_cannot_be_written_costs_only_the_time_to_compile_and_is_named(project):
    project.cache.write_text("")
    out, err = project.start("ready").communicate()
    assert int(out) == 20
    assert "compiling" in err
    assert err.count("set NUMBA_CACHE_DIR") == 1


def test_machine_code_that_an_installation_brings_is_loaded_and_kept_for_the_user(project):
    project.ship()
    project.move()
    assert project.run("ready") == (20, False)
    assert sorted(project.cache.rglob("*.nbc"))
    shutil.rmtree(project.shipped)
    assert project.run("ready") == (20, False)


def test_machine_code_that_an_installation_brings_is_loaded_where_nothing_can_be_written(project):
    project.ship()
    project.cache.write_text("")
    assert project.start("ready").communicate() == ("20\n", "")


def test_machine_code_that_an_installation_brings_for_another_source_is_not_used(project):
    project.ship()
    project.write(2)
    assert project.run("ready") == (30, True)


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc", "checksums.json"])
def test_damaged_machine_code_of_an_installation_costs_only_the_time_to_compile(project, kind):
    project.ship()
    for file in project.shipped.rglob(kind):
        file.write_bytes(b"not machine code")
    assert project.run("ready") == (20, True)
    assert project.run("ready") == (20, False)


def test_machine_code_for_another_processor_is_compiled_and_kept_beside(project):
    project.ship()
    for _ in range(2):
        assert project.run("ready", NUMBA_CPU_NAME="generic")[0] == 20
    assert project.run("ready", NUMBA_CPU_NAME="generic") == (20, False)
    assert project.run("ready") == (20, False)


def test_numbas_own_variable_for_the_folder_counts(project, tmp_path):
    project.run(NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert sorted((tmp_path / "mine" / "lnsim").rglob("*.nbi"))
    assert not project.cache.exists()


def test_processes_that_start_together_compile_once(project):
    started = [project.start("ready") for _ in range(3)]
    results = [process.communicate() for process in started]
    assert [int(out) for out, _ in results] == [20] * 3
    assert sum("compiling" in err for _, err in results) == 1


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
