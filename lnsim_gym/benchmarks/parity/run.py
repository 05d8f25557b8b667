"""The comparison in mass: networks of real nodes, some at once, until enough deeds of every kind were compared."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
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

__all__ = ["Compared", "Header", "Lost", "ParityRun", "Wanted", "network_numbers", "options_of"]

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

    def missing(self, done: Counter[str]) -> dict[str, int]:
        """Return how many are missing of each kind, those that are complete left out."""
        wanted = {PAYMENT: self.payments, CIRCULAR: self.rebalances, IN_PARTS: self.in_parts}
        return {kind: count - done[kind] for kind, count in wanted.items() if count > done[kind]}


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header"):
    """First line of a file of what was compared."""

    seed: int
    versions: dict[str, str]


class Compared(msgspec.Struct, frozen=True, kw_only=True, tag="compared"):
    """A deed, and whether real nodes did what the simulator gives."""

    network: int
    deed: int
    kind: str
    result: Literal["only", "one of several", "tie", "different"]
    """Whether it is the simulator's only outcome, one of several, one of those in another order of the channels, or none
    of them."""
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


class ParityRun:
    """Compares until all that is wanted is done, or it is told to stop.

    Args:
        seed: Draws everything that is not left to the nodes: network ``n`` of a seed is always the same.
        wanted: How many deeds of each kind.
        settings: How networks are started.
        versions: Of the programs, for the file.
        out: File to add every comparison to, as JSON Lines; what it holds already counts.
        only: Number of the only network to compare.
        tell: Called with every comparison and every loss, also with those of the file.

    Raises:
        ConfigError: The file holds something else, or what another seed gave.
    """

    def __init__(
        self,
        seed: int,
        wanted: Wanted,
        settings: LndSettings,
        *,
        versions: dict[str, str],
        out: Path | None = None,
        only: int | None = None,
        tell: Callable[[Compared | Lost], None] = lambda _: None,
    ) -> None:
        self.compared: list[Compared] = []
        self.lost: list[Lost] = []
        self._seed = seed
        self._settings = settings
        self._tell = tell
        self._only = only
        self._wanted = wanted
        self._done = Counter[str]()
        self._missing = wanted.missing(self._done)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._out = out
        self._write(*self._from_file(out, versions))
        used = [each.network for each in (*self.compared, *self.lost)]
        self._numbers = network_numbers(self._missing, max(used, default=-1) + 1) if only is None else iter([only])

    @property
    def failed(self) -> bool:
        """Whether anything differed or was lost."""
        return bool(self.lost) or any(each.result == "different" for each in self.compared)

    def run(self, at_once: int) -> None:
        """Compare networks, some at once, until all is done; when interrupted, close them and pass the interrupt on."""
        with ThreadPoolExecutor(at_once) as pool:
            workers = [pool.submit(self._work) for _ in range(at_once)]
            try:
                for worker in workers:
                    worker.result()
            finally:
                self._stop.set()

    def _from_file(self, out: Path | None, versions: dict[str, str]) -> list[Line]:
        """Take over what a file holds; return what is to be written first.

        Raises:
            ConfigError: It is not ours, or of another seed.
        """
        if out is None or not out.exists():
            return [Header(seed=self._seed, versions=versions)]
        try:
            header, *rest = (msgspec.json.decode(line, type=Line) for line in out.read_bytes().splitlines())
        except (ValueError, msgspec.MsgspecError):
            raise ConfigError(f"{out} must be a file of this command, got something else: name another one") from None
        if not isinstance(header, Header) or header.seed != self._seed:
            raise ConfigError(f"{out} holds what another seed than {self._seed} gave: name its seed, or another file")
        for line in rest:
            if isinstance(line, Compared | Lost):
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
        rng = Random(f"{self._seed}/{number}")
        topology = public_network(rng)
        options = options_of(rng, number)
        count = DEEDS_IN_PARTS if is_in_parts(number) else DEEDS
        with LndBackend(topology, options, self._settings) as live:
            for place, deed in enumerate(record(rng, live, count)):
                self._take(_compare(number, place, deed, options))
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

    def _count(self, line: Compared | Lost) -> None:
        if isinstance(line, Lost):
            self.lost.append(line)
        else:
            self.compared.append(line)
            self._done[line.kind] += 1
            missing = self._wanted.missing(self._done)
            for kind in self._missing.keys() - missing.keys():
                del self._missing[kind]
        self._tell(line)

    def _write(self, *lines: Line) -> None:
        if self._out is not None and lines:
            with self._out.open("ab") as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)


def _compare(network: int, place: int, deed: Deed, options: PaymentOptions) -> Compared:
    """Judge a deed."""
    judgement = judge(deed, options)
    seen = deed.seen
    assert seen is not None
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
    lines = [f"{deed}, {options}", f"real nodes: {_told(deed, deed.seen)}"]
    lines += [f"simulator, {often} of {judgement.outcomes.total()}: {_told(deed, each)}" for each, often in given]
    lines.append(f"network: {msgspec.json.encode(deed.topology.to_dict()).decode()}")
    lines.append(f"balances before in msat: {deed.before_msat.tolist()}")
    return "\n".join(lines)


def _told(deed: Deed, outcome: Outcome | None) -> str:
    """Say what became of a deed, of its balances those that changed."""
    if outcome is None:
        return "nothing"
    changed = {
        channel: after
        for channel, (before, after) in enumerate(zip(deed.before_msat.tolist(), outcome.after_msat, strict=True))
        if tuple(before) != after
    }
    what = "refused at" if deed.route else "attempts"
    return f"{outcome.reason}, {what} {outcome.attempts}, fee {outcome.fee_msat} msat, parts {outcome.parts}, {changed}"
