"""Giving readers broken data for a time, and what of that they did not stand up to."""

import contextlib
import hashlib
import random
import resource
import signal
import time
import traceback
from typing import NamedTuple

from lnsim_gym.errors import ConfigError, LnsimError
from tests.fuzz.mutation import mutated
from tests.fuzz.readers import readers, workplace

MOST_CPU_S = 120
"""CPU time after which a reader counts as hanging, in seconds; what replays may have to compile first."""
MOST_MEMORY_BYTES = 3 * 2**30
"""Address space that a reader may take beyond what the process has."""


class Finding(NamedTuple):
    """An input that a reader did not stand up to."""

    reader: str
    data: bytes
    problem: str
    """Kind of error and where it came from: two inputs with the same are taken for the same fault."""


class Hangs(BaseException):
    """A reader took too long; no reader catches it."""


def outcome_of(reader, folder, data):
    """Return what is wrong with how a reader takes data; empty when it reads it, or refuses it in our own words."""
    try:
        with limited():
            reader.read(folder, data)
    except LnsimError:
        return ""
    except (Exception, Hangs) as problem:
        frames = traceback.extract_tb(problem.__traceback__)
        last = next((frame for frame in reversed(frames) if "lnsim_gym" in frame.filename), frames[-1])
        return f"{type(problem).__name__} in {last.filename.rpartition('lnsim_gym/')[2]}:{last.lineno} ({last.name})"
    return ""


@contextlib.contextmanager
def limited():
    """End a reader that hangs; by CPU time, so that a busy machine fails nobody."""

    def give_up(number, frame):
        raise Hangs

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def little_memory():
    """Let allocations beyond a bound fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def fuzz(seed, seconds, names=(), most=2**62):
    """Give readers broken data, the same for the same seed.

    Args:
        seed: Where the random numbers start.
        seconds: How long, for all readers together.
        names: Readers; all of them by default.
        most: Inputs for each of them at most.

    Returns:
        How many inputs each reader was given, and one finding for each fault.
    """
    chosen = {name: reader for name, reader in readers().items() if not names or name in names}
    counts, findings = {}, {}
    for name, reader in chosen.items():
        rng = random.Random(f"{seed} {name}")
        counts[name] = 0
        with workplace() as folder, little_memory():
            for data in reader.seeds:
                with contextlib.suppress(ConfigError):  # some recipes are for other environments
                    reader.read(folder, data)  # compiles what it needs
            until = time.monotonic() + seconds / len(chosen)
            while time.monotonic() < until and counts[name] < most:
                data = mutated(rng, rng.choice(reader.seeds), reader.seeds)
                counts[name] += 1
                problem = outcome_of(reader, folder, data)
                known = findings.get((name, problem))
                if problem and (known is None or len(data) < len(known.data)):
                    findings[name, problem] = Finding(name, data, problem)
    return counts, list(findings.values())


def kept(findings, folder):
    """Write inputs that were found into a folder, each under a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for finding in findings:
        digest = hashlib.sha256(finding.data).hexdigest()[:12]
        (folder / f"{finding.reader}-{digest}").write_bytes(finding.data)
