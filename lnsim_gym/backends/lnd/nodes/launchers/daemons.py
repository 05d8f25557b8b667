"""Child processes that never outlive their owner, and their end, however stuck they are."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Final

import psutil

from lnsim_gym.backends.lnd.rpc.thread import run
from lnsim_gym.errors import BringUpError, MissingDependency

__all__ = ["find", "free_ports", "is_running", "kill", "spawn", "terminate"]

_PR_SET_PDEATHSIG: Final = 1
_INTERRUPTED_S: Final = 2.0
_PORTS: Final = range(15_000, 32_768)
"""Linux gives ports from 32768 on to outgoing connections (``ip_local_port_range``), other systems from 49152 on."""


def spawn(
    argv: Sequence[str], folder: Path, log: Path, register: Callable[[psutil.Process], None], *, dies_with_us: bool
) -> None:
    """Start a daemon in a session of its own, so that Ctrl-C in the terminal reaches us alone.

    Args:
        argv: Program and arguments; nothing secret, every user can read them.
        folder: Its working directory and home.
        log: File that gets what it prints.
        register: Called with the process as soon as there is one, even when Ctrl-C cuts this call short.
        dies_with_us: Let the kernel kill it when this process ends, however that comes about.

    Raises:
        MissingDependency: The system has no such kernel.
    """
    if dies_with_us and sys.platform != "linux":
        raise MissingDependency(
            f"expected Linux, whose kernel ends daemons together with this process, got {sys.platform}: start the "
            "network with `lnsim up` and join it by name, or use the docker or attach launcher"
        )
    done = threading.Event()

    async def start() -> None:
        try:
            register(_popen(argv, folder, log, dies_with_us))
        finally:
            done.set()

    try:
        # The kernel's promise is tied to the thread that starts the child: use the one that lives as long as we do.
        run(start())
    except BaseException:
        done.wait(_INTERRUPTED_S)
        raise


def _popen(argv: Sequence[str], folder: Path, log: Path, dies_with_us: bool) -> psutil.Process:
    """Start a child process."""
    parent = os.getpid()
    # Loaded here: between fork and exec nothing may be loaded.
    libc = ctypes.CDLL(None, use_errno=True) if dies_with_us else None

    def before_exec() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    with log.open("ab") as output:
        return psutil.Popen(
            list(argv),
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.defpath},
            start_new_session=True,
            preexec_fn=before_exec,
        )


def find(pid: int, created: float) -> psutil.Process | None:
    """Return the process of that pid, or None when it ended and the pid may be another process's."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 1:
            return process
    return None


def is_running(process: psutil.Process) -> bool:
    """Whether a process exists and is neither stopped nor a zombie."""
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD, psutil.STATUS_STOPPED}
    except psutil.NoSuchProcess:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, stopped ones included, and wait until they are gone."""
    victims = list(processes)
    for process in victims:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in victims:
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process.wait(timeout=10)


def terminate(processes: Iterable[psutil.Process], patience_s: float = 20) -> None:
    """Ask processes to end, wait for them together, and kill those that do not within ``patience_s`` seconds."""
    victims = list(processes)
    for process in victims:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
            process.terminate()
    _, stuck = psutil.wait_procs(victims, timeout=patience_s)
    kill(stuck)


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to processes that may have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def free_ports(count: int) -> list[int]:
    """Choose free loopback ports at random, all different.

    None that the system gives to outgoing connections: another program's might have it when a node starts, or restarts.

    Raises:
        BringUpError: There are not so many.
    """
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            each = stack.enter_context(socket.socket())
            with suppress(OSError):
                each.bind(("127.0.0.1", port))
                found.append(port)
    if len(found) < count:
        raise BringUpError(
            f"expected {count} free ports from {_PORTS.start} to {_PORTS.stop - 1}, found {len(found)}: "
            "close networks that are not needed"
        )
    return found


def describe(processes: Mapping[str, psutil.Process]) -> dict[str, list[float]]:
    """Return pid and creation time of each process, as ``find`` takes them."""
    return {name: [process.pid, process.create_time()] for name, process in processes.items()}
