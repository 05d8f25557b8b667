"""Fixtures for every room; above all, how the tests get at LND."""

from __future__ import annotations

import os
import shutil

import pytest

from lnsim_gym.backends.lnd.launchers import choose_launcher
from lnsim_gym.backends.lnd.nodes import Binaries, build_binaries, find_binaries
from lnsim_gym.errors import LnsimError, MissingDependency

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows open, but on no display
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of the tests share the cores already
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let only tests of different modules run side by side, and no two of real nodes; those take longest, so first.

    Tests of real nodes look at what is left on the machine, which another network in the meantime would disturb.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("real nodes" if _is_live(item) else item.path.as_posix()))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_is_live, reverse=True)


def _is_live(item: pytest.Item) -> bool:
    """Return whether a test runs real nodes."""
    return any(item.get_closest_marker(name) for name in ("lnd", "docker"))


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
