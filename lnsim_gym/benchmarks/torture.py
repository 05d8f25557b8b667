"""Faults in mass: what becomes of episodes on real nodes when these die, hang, stutter, or run out of disk.

Each fault strikes at a random moment of an episode. Then the step is truncated within its deadline, or nothing was
harmed; the next reset repairs the network; what the ledger says is what lnd says; and nothing is left behind. What
becomes of a network whose program ends is looked at with programs of their own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, cast

import gymnasium as gym
import msgspec
import psutil

from lnsim_gym.backends.lnd.nodes.folders import records, state_root
from lnsim_gym.backends.lnd.nodes.record import CHAIN
from lnsim_gym.benchmarks.resumed import append_line, resumed
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.errors import LnsimError
from lnsim_gym.network import Channel, Topology

__all__ = ["Fault", "causes_and_outcomes", "torture"]

DEADLINE_S: Final = 120.0
"""Longest time that a step may take, whatever happens to its nodes, and that a program's nodes may outlive it."""
STEPS: Final = 6
"""Steps of an episode: the fault strikes during one of them, or after."""
LATEST_S: Final = 2.5
"""Latest moment of a fault, after the reset."""
_LND: Final = {"launcher": "process", "idle_timeout_s": 1.0, "probe_timeout_s": 2.0}
_PAYMENTS: Final = 15
_PROGRAM: Final = """
import gymnasium, lnsim_gym
env = gymnasium.make("LightningNet-v0", backend="lnd", topology={"nodes": ["a", "b"], "channels": [
    {"initiator": "a", "peer": "b", "capacity_sat": 1_000_000}]}, lnd={"launcher": "process"})
env.reset(seed=1)
print("up", flush=True)
while True:
    env.step(0)
"""
"""A program that plays on a network of its own until it is ended."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and what became of it."""

    number: int
    cause: str
    victim: str
    """The node, ``CHAIN``, or ``program``."""
    after_s: float
    """When it struck, after the reset."""
    outcome: str = ""
    """``truncated``, ``unharmed`` or ``ended``; of a program, the latter."""
    error: str = ""
    """What the environment, or the program, said."""
    noticed_s: float = 0.0
    """From the fault to the end of the step that it struck."""
    rung: str = ""
    """How the reset repaired it."""
    repaired_s: float = 0.0
    """What the reset took."""
    wrong: str = ""
    """What should not have happened; empty when all is well."""


def _signal(name: str) -> Callable[[psutil.Process, random.Random], None]:
    """Return what sends a signal of POSIX."""

    def send(process: psutil.Process, _: random.Random) -> None:
        process.send_signal(signal.Signals[name])

    return send


def _pause(process: psutil.Process, rng: random.Random) -> None:
    """Freeze a process for a moment that may be longer than payments wait."""
    process.suspend()
    time.sleep(rng.uniform(0.1, 4.0))
    process.resume()


def _stutter(process: psutil.Process, rng: random.Random) -> None:
    """Let a process run a part of the time only, as on a slow disk."""
    for _ in range(30):
        process.suspend()
        time.sleep(rng.uniform(0.02, 0.08))
        process.resume()
        time.sleep(0.02)


def _limit(resource: str) -> Callable[[psutil.Process, random.Random], None]:
    """Return what takes a resource away: room for files, or descriptors for connections."""

    def take_away(process: psutil.Process, _: random.Random) -> None:
        process.rlimit(getattr(psutil, resource), (0, 0))

    return take_away


CAUSES: Final[Mapping[str, Callable[[psutil.Process, random.Random], None]]] = {
    "killed": _signal("SIGKILL"),
    "terminated": _signal("SIGTERM"),
    "frozen": _signal("SIGSTOP"),
    "paused": _pause,
    "stuttering": _stutter,
    "no disk": _limit("RLIMIT_FSIZE"),
    "no descriptors": _limit("RLIMIT_NOFILE"),
}
"""What happens to a node or to btcd."""
PROGRAM_CAUSES: Final[Mapping[str, str]] = {
    "program killed": "SIGKILL",
    "program terminated": "SIGTERM",
    "program interrupted": "SIGINT",
}
"""What happens to a program that plays on nodes of its own, while this one has others."""


def torture(
    seed: int,
    faults: int,
    out: Path | None = None,
    told: Callable[[Fault], None] = lambda _: None,
) -> list[Fault]:
    """Let faults strike a network of its own, which is closed in the end.

    Args:
        seed: Decides causes, victims and moments; each fault's depend on its number alone.
        faults: How many.
        out: File to which each is written as a line of JSON, and from which an interrupted run goes on.
        told: Is told of each one when it is over.

    Returns:
        All faults, those of the file among them.

    Raises:
        ConfigError: The file is one of another seed, or none.
        BringUpError: The network did not become ready at first.
    """
    done = resumed(out, seed, Fault)
    if len(done) >= faults:
        return done
    with _Victim() as victim:
        for number in range(len(done), faults):
            fault = victim.strike(number, random.Random(f"{seed} {number}"))
            done.append(fault)
            append_line(out, fault)
            told(fault)
    left = _left_behind(os.getpid(), [])
    if left:
        done[-1] = msgspec.structs.replace(done[-1], wrong=f"left behind after the end: {', '.join(left)}")
    return done


def causes_and_outcomes(faults: Iterable[Fault]) -> list[tuple[str, int, int, int, float, float, int]]:
    """Return for each cause how many faults there were, how many were truncated and how many unharmed.

    Then the mean time to notice those that harmed, and to repair all, in seconds, and how often something was wrong.
    """
    by_cause: defaultdict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_cause[f"{fault.cause}: {'node' if fault.victim not in (CHAIN, 'program') else fault.victim}"].append(fault)
    rows = []
    for cause, those in sorted(by_cause.items()):
        noticed = [fault for fault in those if fault.outcome != "unharmed"]
        rows.append(
            (
                cause,
                len(those),
                sum(fault.outcome == "truncated" for fault in those),
                sum(fault.outcome == "unharmed" for fault in those),
                sum(fault.noticed_s for fault in noticed) / max(1, len(noticed)),
                sum(fault.repaired_s for fault in those) / len(those),
                sum(bool(fault.wrong) for fault in those),
            )
        )
    return rows


class _Victim:
    """An environment on nodes of its own."""

    def __init__(self) -> None:
        names = ("alice", "bob", "carol")
        channels = tuple(
            Channel(initiator=one, peer=names[place - 1], capacity_sat=1_000_000) for place, one in enumerate(names)
        )
        self._env = gym.make(
            "LightningNet-v0",
            backend="lnd",
            topology=Topology(nodes=names, channels=channels),
            payments_per_step=_PAYMENTS,
            lnd=_LND,
        )
        self._network = cast("LightningNetEnv", self._env.unwrapped)

    def __enter__(self) -> _Victim:
        self._env.reset(seed=0)
        return self

    def __exit__(self, *problem: object) -> None:
        self._env.close()

    def strike(self, number: int, rng: random.Random) -> Fault:
        """Let a fault strike, and look at what becomes of it."""
        cause = rng.choice([*CAUSES, *PROGRAM_CAUSES])
        after_s = rng.uniform(0, LATEST_S)
        if cause in PROGRAM_CAUSES:
            fault = Fault(number=number, cause=cause, victim="program", after_s=round(after_s, 3))
            return self._repaired(_end_program(fault), [])
        processes = self._processes()
        victim = rng.choice(sorted(processes))
        fault = Fault(number=number, cause=cause, victim=victim, after_s=round(after_s, 3))
        struck: list[float] = []

        def act() -> None:
            time.sleep(after_s)
            struck.append(time.monotonic())
            CAUSES[cause](processes[victim], rng)

        thread = threading.Thread(target=act)
        thread.start()
        try:
            fault = self._played(fault, struck, thread)
        except LnsimError as problem:
            fault = msgspec.structs.replace(fault, wrong=f"the step raised {problem!r}")
        finally:
            thread.join()
        return self._repaired(fault, [processes[victim]] if cause in ("killed", "frozen") else [])

    def _played(self, fault: Fault, struck: list[float], thread: threading.Thread) -> Fault:
        """Play an episode until it is truncated, or the fault is over and some steps are made."""
        steps = 0
        while steps < STEPS or thread.is_alive():
            steps += 1
            began = time.monotonic()
            _, _, _, truncated, info = self._env.step(0)
            now = time.monotonic()
            took = now - max(began, struck[0]) if struck else 0.0
            wrong = f"a step took {took:.0f} s" if took > DEADLINE_S else ""
            if truncated and info["backend_error"]:
                error = str(info["backend_error"])
                return msgspec.structs.replace(fault, outcome="truncated", error=error, noticed_s=took, wrong=wrong)
        return msgspec.structs.replace(fault, outcome="unharmed", wrong=wrong)

    def _repaired(self, fault: Fault, gone: list[psutil.Process]) -> Fault:
        """Reset, and look at whether all is as it should be."""
        began = time.monotonic()
        try:
            _, info = self._env.reset()
            repaired_s = time.monotonic() - began
            _, _, _, truncated, after = self._env.step(0)  # holds the ledger to what lnd says
        except LnsimError as problem:
            return msgspec.structs.replace(fault, wrong=f"{fault.wrong} reset raised {problem!r}".strip())
        wrong = [fault.wrong] if fault.wrong else []
        if truncated:
            wrong.append(f"the step after the reset was lost: {after['backend_error']}")
        mine = [process.pid for process in self._processes().values()]
        wrong += [f"left behind: {left}" for left in _left_behind(os.getpid(), mine)]
        wrong += [f"{process} lives on" for process in gone if process.is_running() and process.pid not in mine]
        rung = str(info["reset_rung"])
        return msgspec.structs.replace(fault, rung=rung, repaired_s=repaired_s, wrong="; ".join(wrong))

    def _processes(self) -> dict[str, psutil.Process]:
        """Return the daemons by name."""
        folder = Path(self._network.network_record()[0]["tls_cert_path"]).parent.parent
        found = next(each for each in records() if Path(each.folder) == folder)
        return {name: psutil.Process(int(pid)) for name, (pid, _) in found.details["pids"].items()}


def _end_program(fault: Fault) -> Fault:
    """Let a program play on nodes of its own, end it, and look at what it leaves behind."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            up = program.stdout.readline() if program.stdout else ""
            time.sleep(fault.after_s)
            struck = time.monotonic()
            program.send_signal(signal.Signals[PROGRAM_CAUSES[fault.cause]])
            _, said = program.communicate(timeout=DEADLINE_S)
        except BaseException:  # whatever ends this program ends that one too
            program.kill()
            raise
    wrong = "" if up else f"the program did not start: {said[-500:]}"
    while left := _left_behind(program.pid, [], with_folders=fault.cause == "program interrupted"):
        if time.monotonic() - struck > DEADLINE_S:
            wrong = f"left behind: {', '.join(left)}"
            break
        time.sleep(0.1)
    return msgspec.structs.replace(
        fault, outcome="ended", error=said[-200:], noticed_s=time.monotonic() - struck, wrong=wrong
    )


def _left_behind(owner: int, mine: list[int], *, with_folders: bool = True) -> list[str]:
    """Return the daemons, and the folders without one, of the networks of a program.

    Args:
        owner: The program's process.
        mine: Daemons that should be there; then so should their folder.
        with_folders: Whether folders count. The next program that starts nodes removes those of one that died at once.
    """
    name = f"env-{owner}-"
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if name in line and process.pid not in mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"process {process.pid} {line[:80]}")
    if with_folders and not mine:
        found += [str(folder) for folder in state_root().iterdir() if name in folder.name]
    return found
