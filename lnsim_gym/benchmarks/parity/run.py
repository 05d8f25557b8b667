"""The comparison in mass: networks of real nodes, some at once, until enough deeds of every kind were compared."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Final, Literal

import msgspec

from lnsim_gym.backends.lnd import LndBackend, LndSettings
from lnsim_gym.benchmarks.parity.deeds import Deed, Outcome, record
from lnsim_gym.benchmarks.parity.drawing import public_network
from lnsim_gym.benchmarks.parity.features import CIRCULAR, IN_PARTS, PAYMENT, features_of, kind_of
from lnsim_gym.benchmarks.parity.possible import Judgement, judge
from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.payments import MAX_PARTS, PaymentOptions

__all__ = ["Compared", "Lost", "ParityRun", "Wanted", "seed_of"]

IN_PARTS_EVERY: Final = 4
"""One network of so many pays in several parts."""
DEEDS: Final = 300
"""Deeds done to one network."""
DEEDS_IN_PARTS: Final = 120
"""Deeds done to one network that pays in several parts."""
SHOWN_OUTCOMES: Final = 5
"""Outcomes of the simulator that a difference tells, the most frequent first."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How many deeds of each kind are to be compared."""

    payments: int
    rebalances: int
    """Circular ones."""
    in_parts: int
    """Payments that took several attempts or parts where they may be split."""

    def missing(self, done: Mapping[str, int]) -> dict[str, int]:
        """Return how many are missing of each kind, those that are complete left out."""
        wanted = {PAYMENT: self.payments, CIRCULAR: self.rebalances, IN_PARTS: self.in_parts}
        return {kind: count - done.get(kind, 0) for kind, count in wanted.items() if count > done.get(kind, 0)}


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header"):
    """First line of a file of what was compared."""

    seed: int


class Compared(msgspec.Struct, frozen=True, kw_only=True, tag="compared"):
    """A deed, and whether real nodes did what the simulator gives."""

    network: int
    deed: int
    kind: str
    result: Literal["only", "one of several", "tie", "different"]
    """Whether it is the simulator's only outcome, one of several, one with the channels in another order, or none."""
    reason: str
    attempts: int
    parts: int
    features: list[str]
    low: float = 0.0
    """Chance of the outcomes sorted before this one, where there are several."""
    chance: float = 1.0
    """Chance of this one, by the simulator."""
    outcomes: int = 1
    """How many outcomes the simulator gave."""
    told: str = ""
    """What was done and what became of it, where that differs."""


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """A network that could not be compared to its end."""

    network: int
    why: str


Line = Header | Compared | Lost


def is_in_parts(number: int) -> bool:
    """Return whether the network of a number pays in several parts."""
    return number % IN_PARTS_EVERY == IN_PARTS_EVERY - 1


def options_of(rng: Random, number: int) -> PaymentOptions:
    """Draw how payments are sent on the network of a number."""
    return PaymentOptions(
        fee_limit_ppm=rng.choice([5_000, 50_000, 500_000]), max_parts=MAX_PARTS if is_in_parts(number) else 1
    )


def network_numbers(missing: dict[str, int], first: int) -> Iterator[int]:
    """Yield numbers of networks that do what is missing; ``missing`` may change meanwhile."""
    number = first
    while missing:
        needed = missing.keys() & ({IN_PARTS} if is_in_parts(number) else {PAYMENT, CIRCULAR})
        if needed:
            yield number
        number += 1


def seed_of(out: Path) -> int | None:
    """Return the seed of the comparisons in a file, None when there is no such file.

    Raises:
        ConfigError: It is another file.
    """
    lines = _lines(out)
    return lines[0].seed if lines and isinstance(lines[0], Header) else None


def _lines(out: Path) -> list[Line]:
    """Return the lines of a file of comparisons, none when there is no such file; one cut off in the end is left out.

    Raises:
        ConfigError: It is another file.
    """
    if not out.exists():
        return []
    whole, _, _ = out.read_bytes().rpartition(b"\n")
    try:
        lines = [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]
    except msgspec.MsgspecError:
        lines = []
    if not lines or not isinstance(lines[0], Header):
        raise ConfigError(f"{out} must be a file of comparisons, got something else: name another one")
    return lines


class ParityRun:
    """Compares until all that is wanted is done, or it is told to stop.

    Args:
        seed: Draws everything that is not left to the nodes: network ``n`` of a seed is always the same.
        wanted: How many deeds of each kind.
        settings: How networks are started.
        out: File to add every comparison to, as JSON Lines; what it holds already counts.
        only: Number of the only network to compare.

    Raises:
        ConfigError: The file holds something else, or what another seed gave.
    """

    def __init__(
        self,
        seed: int,
        wanted: Wanted,
        settings: LndSettings,
        *,
        out: Path | None = None,
        only: int | None = None,
    ) -> None:
        self.seed = seed
        self.compared: list[Compared] = []
        self.lost: list[Lost] = []
        self.lnd_version = ""
        """That of the nodes compared last; empty before."""
        self._settings = settings
        self._only = only
        self._wanted = wanted
        self.done = Counter[str]()
        """Deeds compared so far, by kind."""
        self._missing = wanted.missing(self.done)
        self._tell: Callable[[Compared | Lost], None] = lambda _: None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._out = out
        self._write(*self._from_file(out))
        used = [each.network for each in self.compared] + [each.network for each in self.lost]
        self._numbers = network_numbers(self._missing, max(used, default=-1) + 1) if only is None else iter([only])

    def run(self, at_once: int, tell: Callable[[Compared | Lost], None]) -> None:
        """Compare networks until all is done; when interrupted, close them and pass the interrupt on.

        Args:
            at_once: How many networks are up at once.
            tell: Called with every comparison and every loss.
        """
        self._tell = tell
        with ThreadPoolExecutor(at_once) as pool:
            workers = [pool.submit(self._work) for _ in range(at_once)]
            try:
                for worker in workers:
                    worker.result()
            finally:
                self._stop.set()

    def _from_file(self, out: Path | None) -> list[Line]:
        """Take over what a file holds; return what is to be written first.

        Raises:
            ConfigError: It is not ours, or of another seed.
        """
        seed = seed_of(out) if out is not None else None
        if out is None or seed is None:
            return [Header(seed=self.seed)]
        if seed != self.seed:
            raise ConfigError(f"{out} holds what seed {seed} gave, got seed {self.seed}: name that, or another file")
        for line in _lines(out):
            if not isinstance(line, Header):
                self._count(line)
        return []

    def _work(self) -> None:
        """Compare one network after another."""
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            try:
                self._compare_network(number)
            except BackendError as problem:
                self._take(Lost(network=number, why=f"{type(problem).__name__}: {problem}"))

    def _compare_network(self, number: int) -> None:
        """Do deeds to the network of a number and judge each."""
        rng = Random(f"{self.seed}/{number}")
        topology = public_network(rng)
        options = options_of(rng, number)
        count = DEEDS_IN_PARTS if is_in_parts(number) else DEEDS
        with LndBackend(topology, options, self._settings) as live:
            self.lnd_version = live.lnd_version()
            for place, deed in enumerate(record(rng, live, count)):
                compared = _compare(number, place, deed, options, self._stop.is_set)
                if compared is not None:
                    self._take(compared)
                if self._stop.is_set() or not self._is_needed(number):
                    return

    def _is_needed(self, number: int) -> bool:
        """Whether more deeds of a network are wanted."""
        kinds = {IN_PARTS} if is_in_parts(number) else {PAYMENT, CIRCULAR}
        return self._only is not None or bool(self._missing.keys() & kinds)

    def _take(self, line: Compared | Lost) -> None:
        """Count, write and tell a comparison."""
        with self._lock:
            self._count(line)
            self._write(line)
            self._tell(line)

    def _count(self, line: Compared | Lost) -> None:
        if isinstance(line, Lost):
            self.lost.append(line)
        else:
            self.compared.append(line)
            self.done[line.kind] += 1
            missing = self._wanted.missing(self.done)
            for kind in self._missing.keys() - missing.keys():
                del self._missing[kind]

    def _write(self, *lines: Line) -> None:
        if self._out is not None and lines:
            with self._out.open("ab") as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)


def _compare(
    network: int, place: int, deed: Deed, options: PaymentOptions, given_up: Callable[[], bool]
) -> Compared | None:
    """Judge a deed; None when given up."""
    judgement = judge(deed, options, given_up)
    if judgement is None:
        return None
    seen = deed.done
    in_parts = options.max_parts > 1 and any(
        outcome.attempts > 1 or len(outcome.parts) > 1 for outcome in (seen, *judgement.outcomes)
    )
    result: Literal["only", "one of several", "tie", "different"] = "one of several"
    low, chance = 0.0, 1.0
    if not judgement.possible:
        result = "different"
    elif judgement.tie:
        result = "tie"
    elif judgement.only:
        result = "only"
    else:
        low, chance = judgement.place(seen)
    return Compared(
        network=network,
        deed=place,
        kind=kind_of(deed, tried_in_parts=in_parts),
        result=result,
        reason=seen.reason,
        attempts=seen.attempts,
        parts=len(seen.parts),
        features=sorted(set(features_of(deed))),
        low=low,
        chance=chance,
        outcomes=len(judgement.outcomes),
        told="" if judgement.possible else _difference(deed, options, judgement),
    )


def _difference(deed: Deed, options: PaymentOptions, judgement: Judgement) -> str:
    """Say all about a deed of which real nodes made something that the simulator does not give."""
    given = judgement.outcomes.most_common(SHOWN_OUTCOMES)
    lines = [f"{deed}, {options}", f"real nodes: {_told(deed, deed.done)}"]
    lines += [f"simulator, {often} of {judgement.outcomes.total()}: {_told(deed, each)}" for each, often in given]
    lines.append(f"network: {msgspec.json.encode(deed.topology.to_dict()).decode()}")
    lines.append(f"balances before in msat: {deed.before_msat.tolist()}")
    return "\n".join(lines)


def _told(deed: Deed, outcome: Outcome) -> str:
    """Say what became of a deed, of its balances those that changed."""
    changed = {
        channel: after
        for channel, (before, after) in enumerate(zip(deed.before_msat.tolist(), outcome.after_msat, strict=True))
        if tuple(before) != after
    }
    what = "refused at" if deed.route else "attempts"
    return f"{outcome.reason}, {what} {outcome.attempts}, fee {outcome.fee_msat} msat, parts {outcome.parts}, {changed}"
