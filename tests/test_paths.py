"""Folders are found wherever the package lies, and private ones are private."""

from __future__ import annotations

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
