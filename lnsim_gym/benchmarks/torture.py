"""Faults in mass: what becomes of episodes on real nodes when these die, hang, stutter, or run out of disk.

Each fault strikes at a random moment of an episode. Then the step is truncated within its deadline, or nothing was
harmed; the next reset repairs the network; what the ledger says is what lnd says; and nothing is left behind. What
becomes of a network whose program ends is looked at with programs of their own.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, cast

import gymnasium as gym
import msgspec
import psutil

from lnsim_gym.backends.lnd.nodes.folders import records, state_root
from lnsim_gym.backends.lnd.nodes.record import CHAIN, NetworkRecord
from lnsim_gym.benchmarks.disk import OwnDisk
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
import signal, time, gymnasium, lnsim_gym
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells let programs in the background ignore
env = gymnasium.make("LightningNet-v0", backend="lnd", topology={"nodes": ["a", "b"], "channels": [
    {"initiator": "a", "peer": "b", "capacity_sat": 1_000_000}]}, lnd={"launcher": "process"})
env.reset(seed=1)
while True:
    print(time.monotonic(), flush=True)
    env.step(0)
"""
"""A program that plays on a network of its own until it is ended, and tells the time before each step."""


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


class Target:
    """What a fault strikes.

    Args:
        process: The daemon.
        port: Its RPC port.
        disk: The disk of the network, if it has one of its own.
        until_reset: Ends what lasts until the next reset begins.
        until_repaired: Ends what lasts until that reset is over.
    """

    def __init__(
        self,
        process: psutil.Process,
        port: int,
        disk: OwnDisk | None,
        until_reset: ExitStack,
        until_repaired: ExitStack,
    ) -> None:
        self.process = process
        self.port = port
        self.disk = disk
        self.until_reset = until_reset
        self.until_repaired = until_repaired


Cause = Callable[[Target, random.Random], None]


def _signal(name: str) -> Cause:
    """Return what sends a signal of POSIX."""

    def send(target: Target, _: random.Random) -> None:
        target.process.send_signal(signal.Signals[name])

    return send


def _pause(target: Target, rng: random.Random) -> None:
    """Freeze a process for a moment that may be longer than payments wait."""
    target.process.suspend()
    time.sleep(rng.uniform(0.1, 4.0))
    target.process.resume()


def _stutter(target: Target, rng: random.Random) -> None:
    """Let a process run a part of the time only."""
    for _ in range(30):
        target.process.suspend()
        time.sleep(rng.uniform(0.02, 0.08))
        target.process.resume()
        time.sleep(0.02)


def _limit(resource: str) -> Cause:
    """Return what takes a resource away: room for files, or descriptors for connections."""

    def take_away(target: Target, _: random.Random) -> None:
        target.process.rlimit(getattr(psutil, resource), (0, 0))

    return take_away


def _take_port(target: Target, _: random.Random) -> None:
    """Kill a process, and let another program have its port."""
    target.process.kill()
    target.process.wait()
    squatter = target.until_repaired.enter_context(socket.socket())
    squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    squatter.bind(("127.0.0.1", target.port))
    squatter.listen()


def _fill_disk(target: Target, _: random.Random) -> None:
    """Leave no room on the disk, until somebody makes room and resets."""
    if target.disk is not None:
        target.until_reset.enter_context(target.disk.full())


def _slow_disk(target: Target, rng: random.Random) -> None:
    """Let the disk be slow for a while."""
    if target.disk is not None:
        with target.disk.slow(target.process.pid, rng.randint(5, 100)):
            time.sleep(rng.uniform(1.0, 6.0))


CAUSES: Final[Mapping[str, Cause]] = {
    "killed": _signal("SIGKILL"),
    "terminated": _signal("SIGTERM"),
    "frozen": _signal("SIGSTOP"),
    "paused": _pause,
    "stuttering": _stutter,
    "files cannot grow": _limit("RLIMIT_FSIZE"),
    "no descriptors": _limit("RLIMIT_NOFILE"),
    "port lost": _take_port,
}
"""What happens to a node or to btcd."""
DISK_CAUSES: Final[Mapping[str, Cause]] = {
    "full disk": _fill_disk,
    "slow disk": _slow_disk,
}
"""What happens to them where they have a disk of their own."""
PROGRAM_CAUSES: Final[Mapping[str, str]] = {
    "program killed": "SIGKILL",
    "program terminated": "SIGTERM",
    "program interrupted": "SIGINT",
    "one of two programs killed": "SIGKILL",
}
"""What happens to a program that plays on nodes of its own, while this one has others."""
GONE: Final = ("killed", "frozen", "port lost")
"""Causes whose victims must not live on."""


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
    with ExitStack() as entered:
        disk = entered.enter_context(OwnDisk()) if OwnDisk.is_possible() else None
        victim = entered.enter_context(_Victim(disk))
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
    """Return for each cause, and at last for all, how many faults there were, were truncated, and were unharmed.

    Then the mean time to notice those that harmed, and to repair all, in seconds, and how often something was wrong.
    """
    by_cause: defaultdict[str, list[Fault]] = defaultdict(list)
    everything = list(faults)
    for fault in everything:
        by_cause[f"{fault.cause}: {'node' if fault.victim not in (CHAIN, 'program') else fault.victim}"].append(fault)
    rows = []
    for cause, those in (*sorted(by_cause.items()), ("all", everything)):
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
    """An environment on nodes of its own.

    Args:
        disk: A disk for them, if there is one.
    """

    def __init__(self, disk: OwnDisk | None) -> None:
        names = ("alice", "bob", "carol")
        channels = tuple(
            Channel(initiator=one, peer=names[place - 1], capacity_sat=1_000_000) for place, one in enumerate(names)
        )
        self._disk = disk
        self._folder = None if disk is None else str(disk.folder)
        self._env = gym.make(
            "LightningNet-v0",
            backend="lnd",
            topology=Topology(nodes=names, channels=channels),
            payments_per_step=_PAYMENTS,
            lnd={**_LND, "state_folder": self._folder},
        )
        self._network = cast("LightningNetEnv", self._env.unwrapped)

    def __enter__(self) -> _Victim:
        self._env.reset(seed=0)
        return self

    def __exit__(self, *problem: object) -> None:
        self._env.close()

    def strike(self, number: int, rng: random.Random) -> Fault:
        """Let a fault strike, and look at what becomes of it."""
        causes = CAUSES if self._disk is None else {**CAUSES, **DISK_CAUSES}
        cause = rng.choice([*causes, *PROGRAM_CAUSES])
        after_s = rng.uniform(0, LATEST_S)
        with ExitStack() as until_repaired:
            if cause in PROGRAM_CAUSES:
                fault = Fault(number=number, cause=cause, victim="program", after_s=round(after_s, 3))
                return self._repaired(_end_program(fault), [])
            record = self._record()
            processes = _processes(record)
            victim = rng.choice(sorted(processes))
            fault = Fault(number=number, cause=cause, victim=victim, after_s=round(after_s, 3))
            ports = {each.name: each.port for each in record.nodes}
            if record.chain is not None:
                ports[CHAIN] = record.chain.port
            with ExitStack() as until_reset:
                target = Target(processes[victim], ports[victim], self._disk, until_reset, until_repaired)
                fault = self._struck(fault, after_s, lambda: causes[cause](target, rng))
            return self._repaired(fault, [processes[victim]] if cause in GONE else [])

    def _struck(self, fault: Fault, after_s: float, strike: Callable[[], None]) -> Fault:
        """Play an episode while a fault strikes."""
        struck: list[float] = []

        def act() -> None:
            time.sleep(after_s)
            struck.append(time.monotonic())
            strike()

        thread = threading.Thread(target=act)
        thread.start()
        try:
            return self._played(fault, struck, thread)
        except LnsimError as problem:
            return msgspec.structs.replace(fault, wrong=f"the step raised {problem!r}")
        finally:
            thread.join()

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
        mine = [process.pid for process in _processes(self._record()).values()]
        wrong += [f"left behind: {left}" for left in _left_behind(os.getpid(), mine)]
        wrong += [f"{process} lives on" for process in gone if process.is_running() and process.pid not in mine]
        rung = str(info["reset_rung"])
        return msgspec.structs.replace(fault, rung=rung, repaired_s=repaired_s, wrong="; ".join(wrong))

    def _record(self) -> NetworkRecord:
        """Return where the daemons are."""
        folder = Path(self._network.network_record()[0]["tls_cert_path"]).parent.parent
        return next(each for each in records(self._folder) if Path(each.folder) == folder)


def _processes(record: NetworkRecord) -> dict[str, psutil.Process]:
    """Return the daemons of a network by name."""
    return {name: psutil.Process(int(pid)) for name, (pid, _) in record.details["pids"].items()}


def _end_program(fault: Fault) -> Fault:
    """Let a program play on nodes of its own, end it, and look at what it leaves behind, and whether others go on."""
    with ExitStack() as others:
        wrong = []
        with _program() as program:
            another = others.enter_context(_program()) if fault.cause.startswith("one of two") else None
            for each in (program, another) if another else (program,):
                wrong += [] if _plays_after(0, each) else [f"a program did not start: {_last_words(each)}"]
            time.sleep(fault.after_s)
            struck = time.monotonic()
            said = _ended(program, signal.Signals[PROGRAM_CAUSES[fault.cause]], wrong)
        wrong += _leftovers(program.pid, struck, with_folders=fault.cause == "program interrupted")
        noticed_s = time.monotonic() - struck
        if another is not None:
            wrong += [] if _plays_after(struck, another) else [f"the other program ended: {_last_words(another)}"]
            _ended(another, signal.SIGINT, wrong)
            wrong += _leftovers(another.pid, time.monotonic(), with_folders=True)
    return msgspec.structs.replace(
        fault, outcome="ended", error=said[-200:], noticed_s=noticed_s, wrong="; ".join(wrong)
    )


@contextmanager
def _program() -> Iterator[subprocess.Popen[str]]:
    """Start a program that plays on nodes of its own; whatever ends this program ends that one too."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def _ended(program: subprocess.Popen[str], how: signal.Signals, wrong: list[str]) -> str:
    """End a program, and return what it said last; one that goes on is told as wrong."""
    program.send_signal(how)
    try:
        return program.communicate(timeout=DEADLINE_S)[1]
    except subprocess.TimeoutExpired:
        wrong.append(f"a program went on for {DEADLINE_S:g} s after {how.name}")
        return _last_words(program)


def _plays_after(moment: float, program: subprocess.Popen[str]) -> bool:
    """Wait until a program begins a step after a moment, and return whether it did."""
    return program.stdout is not None and any(float(line) > moment for line in program.stdout)


def _last_words(program: subprocess.Popen[str]) -> str:
    """Return what a program that ended said last."""
    program.kill()
    return program.communicate()[1][-500:]


def _leftovers(owner: int, since: float, *, with_folders: bool) -> list[str]:
    """Wait until nothing is left of a program's networks, and return what is in the end."""
    while left := _left_behind(owner, [], with_folders=with_folders):
        if time.monotonic() - since > DEADLINE_S:
            return [f"left behind: {', '.join(left)}"]
        time.sleep(0.1)
    return []


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
