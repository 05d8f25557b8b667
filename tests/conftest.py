"""Fixtures for every room; above all, how the tests get at LND."""

from __future__ import annotations

import os
import shutil

import pytest

from lnsim_gym.backends.lnd.launchers import choose_launcher
from lnsim_gym.backends.lnd.nodes import Binaries, build_binaries, find_binaries
from lnsim_gym.errors import LnsimError, MissingDependency

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows open, but on no display


SHARED = {
    "docker": ("test_docker_live", "test_network_live"),
    "port 6789": ("test_readme", "test_notebooks"),
}
"""Modules whose tests share something that exists once, and so never run side by side."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a module together when several processes share the work, for its live network's sake."""
    groups = {module: name for name, modules in SHARED.items() for module in modules}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path.stem, item.path.as_posix())))


def _skip_or_fail(reason: str) -> None:
    """Skip what needs LND, or fail where LND is required to be there."""
    if os.environ.get("LNSIM_REQUIRE_LND") == "1":
        pytest.fail(f"LNSIM_REQUIRE_LND is set, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lnd_binaries() -> Binaries:
    """The programs of a live network: from PATH or the cache, else built by Go."""
    try:
        return find_binaries()
    except MissingDependency as missing:
        if shutil.which("go") is None:
            _skip_or_fail(f"{missing}")
    try:
        return build_binaries()
    except LnsimError as problem:
        _skip_or_fail(f"building them failed: {problem}")
        raise


@pytest.fixture(scope="session")
def live_launcher(request: pytest.FixtureRequest) -> str:
    """The launcher that can run a live network here: processes when there are programs, else Docker."""
    try:
        request.getfixturevalue("lnd_binaries")
    except (pytest.skip.Exception, pytest.fail.Exception) as without_programs:
        if choose_launcher("auto", "which").kind == "docker":
            return "docker"
        _skip_or_fail(f"{without_programs}; nor is there a Docker daemon with images")
    return "process"
