"""Folders and records of networks."""

from __future__ import annotations

import os
import stat

import psutil
import pytest

from lnsim_gym.backends.lnd.nodes import folders
from lnsim_gym.backends.lnd.nodes.record import NetworkRecord
from lnsim_gym.errors import ConfigError


def recorded(folder, **changes) -> NetworkRecord:
    fields = {"name": folder.name, "launcher": "process", "folder": str(folder), "topology": {}, "nodes": (), **changes}
    return NetworkRecord(**fields)


def test_a_folder_and_its_record_are_for_their_owner_only(tmp_path):
    folder = folders.make_folder("net", 2, str(tmp_path))
    folders.write_record(recorded(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]
    assert folders.find_record("net", str(tmp_path)) == recorded(folder)


def test_a_name_is_given_once(tmp_path):
    folders.make_folder("net", 2, str(tmp_path))
    with pytest.raises(ConfigError, match="expected a new network name, got 'net'"):
        folders.make_folder("net", 2, str(tmp_path))


def test_an_unknown_name_is_answered_with_the_closest_one(tmp_path):
    folders.write_record(recorded(folders.make_folder("default", 2, str(tmp_path))))
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        folders.find_record("defualt", str(tmp_path))


def test_a_network_is_an_orphan_once_the_very_process_that_made_it_is_gone(tmp_path):
    me = psutil.Process()
    assert not folders.is_orphan(recorded(tmp_path, owner_pid=0))
    assert not folders.is_orphan(recorded(tmp_path, owner_pid=me.pid, owner_started=me.create_time()))
    assert folders.is_orphan(recorded(tmp_path, owner_pid=me.pid, owner_started=me.create_time() - 100))


def test_only_old_folders_without_a_record_are_taken_for_abandoned(tmp_path):
    for name in ("young", "old", "known"):
        folders.make_folder(name, 2, str(tmp_path))
    folders.write_record(recorded(tmp_path / "known"))
    for name in ("old", "known"):
        os.utime(tmp_path / name, (0, 0))
    assert [folder.name for folder in folders.unrecorded(str(tmp_path))] == ["old"]
