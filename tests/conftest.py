"""Fixtures for every room; above all, how the tests get at LND."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import Any

import hypothesis
import pytest

from lnsim_gym.backends.lnd.nodes.launchers.choose import choose_launcher
from lnsim_gym.backends.lnd.nodes.programs import Binaries, build_binaries, find_binaries
from lnsim_gym.errors import LnsimError, MissingDependency

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows open, but on no display
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of the tests share the cores already
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("lnsim", deadline=None)  # a busy machine takes its time
hypothesis.settings.load_profile("lnsim")


REAL_NODES = re.compile(r"_live\.py|/lnd/(?!test_lying)|/parity/|real_nodes|real_lnd")
"""Names of tests of real nodes, which wait for these half of their time: three processes may have some of them."""
WHOLE_MACHINE = re.compile(r"docker|compose|test_network_live|test_readme|torture")
"""Those among them that look at all that Docker has, or take the network called default: one after the other."""
LONGEST = re.compile(
    r"test_crowd|test_notebooks|test_readme|test_readers|test_memory|test_browser|test_wheel|test_other_tasks|test_task\."
)
"""Modules that take minutes; when they come last, one process works and the others wait."""


HEAVY = re.compile(r"max_parts'?[:=] ?(?!1\b)\d|'found'|'operator'|LightningOperator")
"""Parameters with which kernels of their own are compiled for half a minute: payments in parts, routes that are found,
and the operator's task."""
READABLE = 80
"""Characters of a parameter that still name a test."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let several processes share the tests: a module stays in one of them, and so do tests of real nodes."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415

    class Modules(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # modules of many tests are not those that take long
    return Modules(config, log)


def scope_of(nodeid: str) -> str:
    """Name what a test shares a process with: its module, or other tests of real nodes."""
    if not REAL_NODES.search(nodeid):
        return nodeid.split("::", 1)[0]
    if WHOLE_MACHINE.search(nodeid):
        return "the whole machine"
    return "real nodes" if "/lnd/" in nodeid else "real nodes and the simulator"


def urgency(nodeid: str) -> int:
    """Return which tests begin, where several processes share them: a low number is early."""
    if REAL_NODES.search(nodeid):
        return 0
    return 1 if LONGEST.search(nodeid) else 2


def pytest_configure(config: pytest.Config) -> None:
    """Let the programs that tests start keep bytecode, out of sight where it is not wanted beside the sources."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    if sys.dont_write_bytecode and cache is not None and "PYTHONPYCACHEPREFIX" not in os.environ:
        os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("bytecode"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow by its parameters; begin with what takes longest, where several processes share the tests."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and HEAVY.search(repr(item.callspec.params)):
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: urgency(item.nodeid))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test after what its data is, not after the data: every process must find the same names."""
    return argname if isinstance(val, bytes | str) and len(val) > READABLE else None


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
