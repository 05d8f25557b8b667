"""Replaying a trace on any backend, and reporting every field that comes out differently.

Works in both directions: a trace of real nodes on the simulator, and a trace of the simulator on real nodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.base import Backend
from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.errors import RecordError
from lnsim_gym.network import Topology
from lnsim_gym.payments import RebalanceReason
from lnsim_gym.records.lines import (
    Balances,
    PaymentRecord,
    RebalanceRecord,
    StepLine,
    payment_record,
    rebalance_record,
)
from lnsim_gym.records.trace import Trace

__all__ = ["Difference", "replay", "require_replayable"]

_PER_RUN: Final = frozenset({"duration_s", "payment_hash", "detail"})
"""Fields that differ from run to run by their nature: time, chance, and words of LND."""
_TIMING: Final = ("concurrency", "timeout_seconds")
"""Payment options that two backends need not share."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that came out differently."""

    episode: int
    step: int
    """Step of the episode, -1 for its start."""
    payment: int | None
    """Payment of the step; None for its rebalance and for balances."""
    field: str
    expected: Any
    """What the trace has."""
    got: Any
    """What the backend did."""

    def __str__(self) -> str:
        """Say it in one line."""
        payment = "" if self.payment is None else f", payment {self.payment}"
        place = f"episode {self.episode}, step {self.step}{payment}"
        return f"{place}: {self.field} expected {self.expected!r}, got {self.got!r}"


def replay(trace: Trace, backend: Backend) -> list[Difference]:
    """Replay a trace and compare what comes out.

    Each episode starts from its recorded balances. Rebalances over their fee limit are left out: they never reached
    the backend. After a step whose balances differ, the replay goes on from the recorded balances, so that one
    difference is not counted over and over; not when senders remember, because a reset makes them forget.

    Not compared: durations, payment hashes and LND's words; the node that failed a rebalance, where the trace does not
    know it; and the number of attempts when payments may be split, which depends on timing even between two runs on
    the same nodes. When senders remember from payment to payment, outcomes also depend on when each payment is made:
    the trace has the time of each, and the backend keeps to it. Traces without them are replayed by the backend's
    own clock.

    Args:
        trace: What is to be done.
        backend: Where; opened if need be, not closed.

    Raises:
        RecordError: The trace holds what no backend plays, or the backend has another topology or other payment
            options.
        BackendError: The backend is in trouble.
    """
    require_replayable(trace)
    _require_same_problem(trace, backend)
    backend.open()
    return list(_differences(trace, backend))


def require_replayable(trace: Trace) -> None:
    """Refuse a trace that holds what no backend plays.

    Raises:
        RecordError: Balances moved in it by what is not simulated, or channels went out of use.
    """
    for episode in trace.episodes:
        start = episode.start
        for step in episode.steps:
            if any(done.balance_change or done.status_change for done in step.done):
                own = any(done.status_change for done in step.done)
                what = "takes channels out of use or brings some" if own else "changes balances between others"
                raise RecordError(
                    f"episode {start.episode}, step {step.step} {what}, which no replay does, as nothing that was paid "
                    f"explains it: play it anew with seed {start.seed} instead, it comes out the same"
                )


def _differences(trace: Trace, backend: Backend) -> Iterator[Difference]:
    """Yield the differences of every episode in turn."""
    for recorded in trace.episodes:
        number = recorded.start.episode
        backend.draw_as(recorded.start.seed, number)
        backend.reset(_array(recorded.start.start_balances_msat))
        for changed in recorded.start.policies:
            backend.set_policy(changed.direction, changed.policy)
        recorded_msat = _array(recorded.start.start_balances_msat)
        yield from _compare_balances(number, -1, "start_balances_msat", recorded_msat, backend)
        for step in recorded.steps:
            served_from_msat, recorded_msat = step.balances(recorded_msat)
            found = list(_replay_step(trace, number, step, (served_from_msat, recorded_msat), backend))
            yield from found
            astray = any(difference.field.startswith("balances") for difference in found)
            if astray and backend.options.mission_control == "per_payment":
                backend.reset(recorded_msat)


def _replay_step(
    trace: Trace, episode: int, step: StepLine, recorded_msat: tuple[Int64, Int64], backend: Backend
) -> Iterator[Difference]:
    """Replay one step and yield what differs; its recorded balances are those before and after the payments."""
    served_from_msat, after_msat = recorded_msat
    for done in step.done:
        if done.rebalance is not None and _was_sent(done.rebalance, trace.topology):
            for name, expected, got in _replay_rebalance(done.rebalance, backend):
                yield Difference(episode, step.step, None, f"rebalance.{name}", expected, got)
        elif done.policy_change is not None:
            backend.set_policy(done.policy_change.direction, done.policy_change.policy)
    yield from _compare_balances(episode, step.step, "balances_after_rebalance_msat", served_from_msat, backend)
    batch = trace.batch(step)
    own_limits = (np.array(step.fee_limit_msat, np.int64),) if step.fee_limit_msat else ()
    outcomes = backend.pay(batch, np.array(step.time_ms, np.int64) if step.time_ms else None, *own_limits)
    excluded = _PER_RUN | {"attempts"} if backend.options.max_parts > 1 else _PER_RUN
    for index, payment in enumerate(step.payments):
        made = payment_record(trace.topology, batch, outcomes, index)
        for name, expected, got in _unequal(_sorted(payment), _sorted(made), excluded):
            yield Difference(episode, step.step, index, name, expected, got)
    yield from _compare_balances(episode, step.step, "balances_after_msat", after_msat, backend)


def _was_sent(recorded: RebalanceRecord, topology: Topology) -> bool:
    """Return whether a rebalance reached the backend: none over its fee limit did, nor one without a route."""
    if recorded.reason in (RebalanceReason.FEE_LIMIT_EXCEEDED.name, RebalanceReason.NO_ROUTE.name):
        return False
    arrays = topology.arrays
    hops = zip(recorded.route, recorded.route[1:], strict=False)
    return all(arrays.destination[one] == arrays.source[other] for one, other in hops)


def _replay_rebalance(recorded: RebalanceRecord, backend: Backend) -> Iterator[tuple[str, Any, Any]]:
    """Replay one rebalance and yield the fields in which it differs."""
    result = backend.rebalance(recorded.route, recorded.amount_msat)
    replayed = rebalance_record(Rebalance(recorded.route, recorded.amount_msat, result))
    excluded = _PER_RUN | {"failure_source_index"} if recorded.failure_source_index < 0 else _PER_RUN
    yield from _unequal(recorded, replayed, excluded)


def _unequal(one: msgspec.Struct, other: msgspec.Struct, excluded: frozenset[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields in which two records differ."""
    for name in one.__struct_fields__:
        expected = getattr(one, name)
        got = getattr(other, name)
        if name not in excluded and expected != got:
            yield name, msgspec.to_builtins(expected), msgspec.to_builtins(got)


def _sorted(payment: PaymentRecord) -> PaymentRecord:
    """Put the parts of a payment in an order that does not depend on timing."""
    return msgspec.structs.replace(payment, parts=tuple(sorted(payment.parts)))


def _compare_balances(episode: int, step: int, name: str, expected: Int64, backend: Backend) -> Iterator[Difference]:
    """Yield the channels whose balances differ."""
    got = backend.balances_msat()
    for channel in np.flatnonzero((got != expected).any(axis=1)).tolist():
        wanted, found = tuple(expected[channel].tolist()), tuple(got[channel].tolist())
        yield Difference(episode, step, None, f"{name}[{channel}]", wanted, found)


def _array(balances: Balances) -> Int64:
    """Return balances as an array of shape (channels, 2)."""
    return np.array(balances, np.int64)


def _require_same_problem(trace: Trace, backend: Backend) -> None:
    """Refuse a backend with another topology or other payment options."""
    for name, expected, got in _unequal(trace.header.payment, backend.options, frozenset(_TIMING)):
        raise RecordError(
            f"the trace was recorded with payment option {name} = {expected!r}, the backend has {got!r}: "
            "open the backend with the options of the trace's header"
        )
    if difference := _first_difference(trace.topology, backend.topology):
        raise RecordError(
            f"the trace was recorded on another topology ({difference}): open the backend with the trace's topology"
        )


def _first_difference(recorded: Topology, other: Topology) -> str:
    """Say in what two topologies differ, or nothing when they do not."""
    if recorded.nodes != other.nodes:
        return f"nodes {', '.join(recorded.nodes[:5])}... against {', '.join(other.nodes[:5])}..."
    for name, one, two in zip(recorded.arrays._fields, recorded.arrays, other.arrays, strict=True):
        if not np.array_equal(one, two):
            place = next(itertools.compress(itertools.count(), one != two), 0) if one.shape == two.shape else "length"
            return f"{name} differs at {place}"
    return ""
