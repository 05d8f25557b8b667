"""Folders are found wherever the package lies, and private ones are private."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from lnsim_gym import paths
from lnsim_gym.errors import ConfigError

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["envs", "agents", "compose"])
def test_a_checkout_uses_its_own_folders(name):
    assert paths.data_folder(name) == CHECKOUT / name


def test_an_unknown_folder_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="Did you mean 'agents'"):
        paths.data_folder("agent")


@pytest.mark.parametrize("folder", ["state", "cache"])
def test_private_folders_are_for_their_owner_only(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(f"LNSIM_{folder.upper()}_DIR", str(tmp_path / "deep" / "down"))
    made = {"state": paths.state_dir, "cache": paths.cache_dir}[folder]()
    assert made == tmp_path / "deep" / "down"
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    assert paths.private_dir(tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="LNSIM_STATE_DIR"):
        paths.private_dir(tmp_path / "file" / "below")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The Python of an empty environment outside the checkout, with the built wheel; the libraries are this one's."""
    room = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(room), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(room / "venv", with_pip=True)
    python = room / "venv" / "bin" / "python"
    wheel = next(room.glob("*.whl"))
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
