"""A wheel is whole: it brings its folders, its command and, where it was built on such a machine, its machine code."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
FIRST_STEP = """
import gymnasium as gym
import lnsim_gym

environment = gym.make("LightningNet-v0")
environment.reset(seed=0)
environment.step(0)
environment.unwrapped.last_outcomes()
print("stepped")
"""


def build(room: Path, **variables: str) -> Path:
    """Build a wheel with the libraries of this environment."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(room), str(CHECKOUT)]
    subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True)
    return next(room.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The Python of an empty environment outside the checkout, with the built wheel; the libraries are this one's."""
    room = tmp_path_factory.mktemp("wheel")
    wheel = build(room)
    assert not wheel.name.endswith("-any.whl")  # it has machine code
    venv.create(room / "venv", with_pip=True)
    python = room / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # Appended to the search path, so that whatever the wheel brings is found first.
    (Path(purelib) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run_outside(python: Path, tmp_path: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": ""}
    return subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("envs", "LightningNet-v0.toml"),
        ("agents", "targeted.toml"),
        ("compose", "docker-compose.yml"),
        ("compose", "nodes/go.sum"),
    ],
)
def test_an_installed_wheel_finds_its_folders(installed, tmp_path, name, file):
    code = f"from lnsim_gym.paths import data_folder; print(data_folder({name!r}))"
    found = Path(run_outside(installed, tmp_path, code).strip())
    assert found.is_relative_to(installed.parent.parent)
    assert (found / file).read_bytes() == (CHECKOUT / name / file).read_bytes()


@pytest.mark.slow
def test_an_installed_wheel_has_environments_and_the_command(installed, tmp_path):
    code = "import gymnasium, lnsim_gym; print(gymnasium.spec('LightningNet-v0').id)"
    assert run_outside(installed, tmp_path, code).strip() == "LightningNet-v0"
    command = subprocess.run(
        [installed.parent / "lnsim", "compose", "default"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert command.stdout == (CHECKOUT / "compose" / "docker-compose.yml").read_text()


@pytest.mark.slow
def test_an_installed_wheel_knows_its_agents(installed, tmp_path):
    code = "from lnsim_gym.agents import known_agents; print(*known_agents())"
    shipped = sorted(path.stem for path in (CHECKOUT / "agents").glob("*.toml"))
    assert run_outside(installed, tmp_path, code).split() == shipped


@pytest.mark.slow
def test_an_installed_wheel_compiles_nothing_at_its_first_step(installed, tmp_path):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    variables |= {"PYTHONPATH": "", "LNSIM_CACHE_DIR": str(tmp_path / "cache")}
    command = [installed, "-c", FIRST_STEP]
    done = subprocess.run(command, cwd=tmp_path, env=variables, check=True, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("stepped", "")


def test_a_wheel_built_without_numba_is_for_any_machine(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('not here')")
    wheel = build(tmp_path, PYTHONPATH=str(tmp_path))
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not any("machine_code" in name for name in zipfile.ZipFile(wheel).namelist())
