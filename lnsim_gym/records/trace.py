"""Traces: everything an episode did, as JSON Lines, exact enough to be replayed on another backend.

The first line is a header: schema, versions, environment, topology with policies, payment options. Then come lines for
the start of an episode, each step and the end of an episode. A step is one line, so that what is in a file is always
whole. Replaying a trace is the business of ``replay``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np

from lnsim_gym.errors import LnsimError, RecordError
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions
from lnsim_gym.records import provenance
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart, StepEvents
from lnsim_gym.records.lines import (
    SCHEMA,
    Balances,
    EndLine,
    EpisodeLine,
    HeaderLine,
    Line,
    PolicyRecord,
    StepLine,
    balance_pairs,
    changed_balances,
    intervention_record,
    payment_record,
)
from lnsim_gym.records.whole import WholeFile

MANY_CHANNELS: Final = 1_000
"""Channels beyond which steps hold the balances that changed in place of all."""

__all__ = ["Trace", "TraceEpisode", "TraceWriter", "read_trace"]


@dataclass(frozen=True, slots=True)
class TraceEpisode:
    """An episode of a trace."""

    start: EpisodeLine
    steps: list[StepLine] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """A trace as read from a file."""

    header: HeaderLine
    episodes: list[TraceEpisode]

    @cached_property
    def topology(self) -> Topology:
        """The network it was recorded on."""
        return Topology.from_dict(self.header.topology)

    def topology_of(self, episode: TraceEpisode) -> Topology:
        """Return the network with the policies that an episode begins with."""
        return self.topology.with_policies({each.direction: each.policy for each in episode.start.policies})

    def batch(self, step: StepLine) -> PaymentBatch:
        """Return the payments of a step as a batch."""
        index = self.topology.node_index
        columns = [
            (index[payment.source], index[payment.destination], payment.amount_msat, payment.description)
            for payment in step.payments
        ]
        return PaymentBatch(*np.array(columns, np.int64).reshape(-1, 4).T.copy())


class TraceWriter:
    """Writes a trace, complete after every step.

    Args:
        path: File to write; an existing one is replaced.
        topology: The network.
        payment: How payments are sent.
        backend: Name of the backend.
        environment: Id of the environment, when it has one.
        config: Settings of the environment, as plain data.
        versions: Versions of what the backend is made of, for example of LND.
    """

    def __init__(
        self,
        path: Path,
        topology: Topology,
        payment: PaymentOptions,
        *,
        backend: str,
        environment: str = "",
        config: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._topology = self._current = topology
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = WholeFile(path)
        self._write(
            HeaderLine(
                schema=SCHEMA,
                versions={**provenance.versions("numpy"), **(versions or {})},
                backend=backend,
                environment=environment,
                config=dict(config or {}),
                topology=topology.to_dict(),
                payment=payment,
                created=datetime.now(UTC),
            )
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def episode_started(self, event: EpisodeStart) -> None:
        """Write the start of an episode, with the policies that differ from those of the header.

        Raises:
            RecordError: It is on other channels than those of the header.
        """
        self._current = event.topology or self._topology
        if not _same_channels(self._current, self._topology):
            raise RecordError("a trace is of one network: this episode was begun on another")
        self._write(
            EpisodeLine(
                episode=event.episode,
                seed=event.seed,
                start_balances_msat=balance_pairs(event.start_balances_msat),
                timestamp=event.timestamp,
                policies=_changed_policies(self._topology, self._current),
            )
        )

    def stepped(self, event: StepEvents) -> None:
        """Write a step.

        Raises:
            RecordError: It was made on another network than that of the header.
        """
        if event.topology_before is not self._current and event.topology_before != self._current:
            raise RecordError("a trace is of one network, policies included: this step was made on another")
        self._current = event.topology
        done = tuple(intervention_record(done) for done in event.interventions)
        rebalance = done[0].rebalance if len(done) == 1 else None
        payments = range(len(event.batch.source))
        whole = len(self._topology.channels) <= MANY_CHANNELS
        before_msat, served_from_msat = event.balances_before_msat, event.balances_served_from_msat
        limits_msat = event.outcomes.fee_limit_msat
        self._write(
            StepLine(
                step=event.step,
                action=_plain(event.action),
                rebalance=rebalance,
                interventions=() if rebalance else done,
                balances_after_rebalance_msat=balance_pairs(served_from_msat) if whole else (),
                changed_after_rebalance_msat=() if whole else changed_balances(before_msat, served_from_msat),
                payments=tuple(
                    payment_record(self._topology, event.batch, event.outcomes, index) for index in payments
                ),
                time_ms=() if event.outcomes.time_ms is None else tuple(event.outcomes.time_ms.tolist()),
                fee_limit_msat=() if limits_msat is None else tuple(limits_msat.tolist()),
                balances_after_msat=balance_pairs(event.balances_after_msat) if whole else (),
                changed_after_msat=() if whole else changed_balances(served_from_msat, event.balances_after_msat),
                timestamp=event.timestamp,
            )
        )

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Write the end of an episode."""
        self._write(EndLine(steps=event.steps, backend_error=event.backend_error, timestamp=event.timestamp))

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._file.close()

    def _write(self, line: Line) -> None:
        """Write one line, all of it or nothing."""
        self._file.append(msgspec.json.encode(line) + b"\n")


def _same_channels(one: Topology, other: Topology) -> bool:
    """Return whether two topologies differ in policies at most."""
    columns = ("source", "destination", "capacity_sat")
    pairs = ((getattr(one.arrays, name), getattr(other.arrays, name)) for name in columns)
    return one.nodes == other.nodes and all(np.array_equal(left, right) for left, right in pairs)


def _changed_policies(before: Topology, after: Topology) -> tuple[PolicyRecord, ...]:
    """Return the policies of one topology that differ from those of another over the same channels."""
    if before is after:
        return ()
    both = itertools.chain.from_iterable((one.initiator, one.peer) for one in before.policies)
    now = itertools.chain.from_iterable((one.initiator, one.peer) for one in after.policies)
    differing = (pair for pair in enumerate(zip(both, now, strict=True)) if pair[1][0] != pair[1][1])
    return tuple(PolicyRecord(direction=direction, policy=policy) for direction, (_, policy) in differing)


def read_trace(path: Path) -> Trace:
    """Read a trace.

    Raises:
        RecordError: The file is no trace, of another schema, damaged or cut off; the text names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as problem:
        raise RecordError(f"cannot read the trace {path}: {problem}") from None
    trace: Trace | None = None
    for number, text in enumerate(lines, start=1):
        try:
            line = _decode(text)
            if trace is None:
                trace = _begin(line)
            else:
                _add(line, trace)
        except (LnsimError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise RecordError(f"{path}, line {number}: {problem}") from None
    if trace is None:
        raise RecordError(f"{path} is empty: a trace begins with a header line; record it again")
    return trace


AnyLine = HeaderLine | EpisodeLine | StepLine | EndLine
_DECODER: Final = msgspec.json.Decoder(AnyLine)


def _decode(text: bytes) -> AnyLine:
    """Decode one line; a reason for failure of our own passes through."""
    try:
        line: AnyLine = _DECODER.decode(text)
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, LnsimError):
            raise problem.__cause__ from None
        raise
    return line


def _begin(line: AnyLine) -> Trace:
    """Start a trace from its header."""
    if not isinstance(line, HeaderLine):
        raise RecordError(f"expected the header, got a line of another kind ({type(line).__name__})")
    if line.schema != SCHEMA:
        raise RecordError(f"expected schema {SCHEMA!r}, got {line.schema!r}: use the version that recorded it")
    trace = Trace(line, [])
    if not trace.topology.channels:
        raise RecordError("the topology has no channels")
    return trace


def _add(line: AnyLine, trace: Trace) -> None:
    """Add a line to a trace."""
    if isinstance(line, HeaderLine):
        raise RecordError("a second header: one file holds one trace")
    if isinstance(line, EpisodeLine):
        _require_balances(line.start_balances_msat, trace)
        trace.episodes.append(TraceEpisode(line))
        return
    if not trace.episodes:
        raise RecordError("expected the start of an episode first")
    steps = trace.episodes[-1].steps
    number = line.step if isinstance(line, StepLine) else line.steps
    if number != len(steps):
        raise RecordError(f"expected step {len(steps)}, got {number}: lines are missing or out of order")
    if isinstance(line, StepLine):
        _require_step(line, trace)
        steps.append(line)


def _require_step(line: StepLine, trace: Trace) -> None:
    """Refuse a step that does not fit the topology."""
    topology = trace.topology
    if len(topology.channels) <= MANY_CHANNELS or line.balances_after_msat:
        _require_balances(line.balances_after_rebalance_msat, trace)
        _require_balances(line.balances_after_msat, trace)
    for channel, *_ in (*line.changed_after_rebalance_msat, *line.changed_after_msat):
        if not 0 <= channel < len(topology.channels):
            raise RecordError(f"a balance names a channel out of 0..{len(topology.channels) - 1}: {channel}")
    routes = [part.route for payment in line.payments for part in payment.parts]
    for done in line.done:
        if done.rebalance is not None:
            routes += [done.rebalance.route, done.rebalance.carried_by or done.rebalance.route]
        if done.policy_change is not None:
            routes.append((done.policy_change.direction,))
        if done.status_change is not None:
            routes.append((done.status_change.direction,))
    directions = 2 * len(topology.channels)
    for route in routes:
        if not route or not all(0 <= direction < directions for direction in route):
            raise RecordError(f"a route must be made of directions 0..{directions - 1}, got {list(route)}")
    _require_times(line)
    for payment in line.payments:
        for name in (payment.source, payment.destination):
            if name not in topology.node_index:
                raise RecordError(f"a payment names a node that the topology lacks: {name!r}")


def _require_times(line: StepLine) -> None:
    """Refuse times that payments could not be made at one after another, and times and limits of other payments."""
    for what, given in (("time", line.time_ms), ("fee limit", line.fee_limit_msat)):
        if given and len(given) != len(line.payments):
            raise RecordError(f"expected a {what} for each of {len(line.payments)} payments, got {len(given)}")
    if any(later < earlier for earlier, later in itertools.pairwise((0, *line.time_ms))):
        raise RecordError(f"times of payments must not fall, nor be negative, got {list(line.time_ms)}")


def _require_balances(balances: Balances, trace: Trace) -> None:
    """Refuse balances of another number of channels."""
    channels = len(trace.topology.channels)
    if len(balances) != channels:
        raise RecordError(f"expected balances of {channels} channels, got {len(balances)}")


def _plain(action: Any) -> Any:
    """Return an action in types that JSON has."""
    if isinstance(action, Mapping):
        return {name: _plain(entry) for name, entry in action.items()}
    return action.tolist() if isinstance(action, np.ndarray | np.generic) else action
