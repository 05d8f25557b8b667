"""Programs are found, or built from the pinned module, or the reason why not is said."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lnsim_gym.backends.lnd.nodes import programs as nodes
from lnsim_gym.errors import MissingDependency
from lnsim_gym.paths import data_folder


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LNSIM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def empty_path(tmp_path, monkeypatch) -> Path:
    """A PATH with nothing on it but what the test puts there."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put_programs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(stat.S_IRWXU)


def test_missing_programs_are_named_with_the_remedy(empty_cache, empty_path):
    put_programs(empty_path, "lnd")
    with pytest.raises(MissingDependency, match=r"no lncli and no btcd: run `lnsim nodes build`"):
        nodes.find_binaries()


def test_programs_on_path_come_before_the_cache(empty_cache, empty_path):
    put_programs(nodes.binaries_folder(), "lnd", "lncli", "btcd")
    assert nodes.find_binaries().lnd == nodes.binaries_folder() / "lnd"
    put_programs(empty_path, "lnd", "lncli", "btcd")
    assert nodes.find_binaries().lnd == empty_path / "lnd"


def test_a_cache_that_is_not_whole_is_not_used(empty_cache, empty_path):
    put_programs(nodes.binaries_folder(), "lnd", "btcd")
    with pytest.raises(MissingDependency):
        nodes.find_binaries()


def test_building_without_go_says_what_to_install_and_leaves_nothing(empty_cache, empty_path):
    with pytest.raises(MissingDependency, match=r"expected Go 1\.\d+\.\d+ or newer on PATH"):
        nodes.build_binaries()
    assert [path.name for path in (empty_cache / "nodes").iterdir() if path.name != "build.lock"] == []


def test_building_with_an_old_go_says_which_is_needed(empty_cache, empty_path):
    put_programs(empty_path, "go")
    (empty_path / "go").write_text("#!/bin/sh\necho go1.19.4\n")
    with pytest.raises(MissingDependency, match=r"expected Go 1\.25\.\d+ or newer to build lnd, got 1\.19\.4"):
        nodes.build_binaries()


def test_the_module_pins_versions_and_hashes_and_no_place_on_any_machine():
    module = data_folder("compose") / "nodes"
    text = (module / "go.mod").read_text()
    assert f"github.com/lightningnetwork/lnd v{nodes.lnd_version()}" in text
    replaced = re.findall(r"^replace .* => (\S+) (\S+)$", text, re.MULTILINE)
    assert len(replaced) == text.count("=>")
    assert all(re.match(r"v\d", version) for _, version in replaced)
    assert "h1:" in (module / "go.sum").read_text()


def test_the_cache_is_another_one_for_another_module(empty_cache, monkeypatch, tmp_path):
    before = nodes.binaries_folder()
    shutil.copytree(data_folder("compose"), tmp_path / "compose")
    (tmp_path / "compose" / "nodes" / "go.sum").write_text("other hashes\n")
    monkeypatch.setattr(nodes, "data_folder", lambda name: tmp_path / name)
    assert nodes.binaries_folder() != before


@pytest.mark.lnd
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_an_interrupted_build_leaves_nothing_half_done(empty_cache, tmp_path):
    """With a build cache of its own, so that there is something to interrupt."""
    code = (
        "from lnsim_gym.backends.lnd.nodes.programs import build_binaries\n"
        "build_binaries(lambda what, done, total: print(what, done, flush=True))"
    )
    environment = {**os.environ, "GOCACHE": str(tmp_path / "gocache"), "GOFLAGS": "-p=1"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as build:
        for line in build.stdout:
            if line.startswith("compiling"):
                break
        started = psutil.Process(build.pid).children(recursive=True)
        build.send_signal(signal.SIGINT)
        build.stdout.read()
    assert build.returncode not in (None, 0)
    assert started
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert [path.name for path in (empty_cache / "nodes").iterdir() if path.name != "build.lock"] == []


@pytest.mark.lnd
def test_the_programs_are_what_the_module_pins(lnd_binaries):
    for name in ("lnd", "lncli"):
        said = subprocess.run([getattr(lnd_binaries, name), "--version"], check=True, capture_output=True, text=True)
        assert said.stdout.startswith(f"{name} version {nodes.lnd_version()}")


@pytest.mark.lnd
def test_a_finished_build_is_not_built_again(lnd_binaries, empty_cache, empty_path):
    folder = nodes.binaries_folder()
    folder.mkdir(parents=True)
    for path in lnd_binaries:
        (folder / path.name).symlink_to(path)
    assert nodes.build_binaries().lnd == folder / "lnd"
    assert all((folder / path.name).is_symlink() for path in lnd_binaries)  # a build puts files in their place
