"""The lines of a trace, as typed records, and how they are made from results of backends.

Writing and reading them is the business of ``trace``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import BalanceChange, Intervention, PolicyChange, Rebalance, StatusChange
from lnsim_gym.errors import RecordError, did_you_mean
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import (
    DESCRIPTIONS,
    FailureReason,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
)

__all__ = [
    "SCHEMA",
    "Balances",
    "ChangedBalance",
    "EndLine",
    "EpisodeLine",
    "HeaderLine",
    "InterventionRecord",
    "Line",
    "Part",
    "PaymentRecord",
    "PolicyRecord",
    "RebalanceRecord",
    "StepLine",
    "balance_pairs",
    "changed_balances",
    "intervention_record",
    "payment_record",
    "rebalance_record",
]

SCHEMA: Final = "lnsim-trace/1"
"""Name and version of the format; a change that old readers would misread gets a new number."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number of 64 bits."""
Balances = tuple[tuple[Whole, Whole], ...]
ChangedBalance = tuple[Whole, Whole, Whole]
"""A channel, and what its initiator and its peer hold from now on."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """A line of a trace."""


class HeaderLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="header"):
    """The first line."""

    schema: str
    versions: dict[str, str]
    """Versions of this package, Python, numpy, and of whatever the backend is made of."""
    backend: str
    """Name of the backend it was recorded on."""
    environment: str
    """Id of the environment, when it has one."""
    config: dict[str, Any]
    """Settings of the environment."""
    topology: dict[str, Any]
    """As ``Topology.to_dict`` gives it, policies spelled out."""
    payment: PaymentOptions
    created: datetime


class EpisodeLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="episode", omit_defaults=True):
    """An episode began."""

    episode: Whole
    seed: int
    start_balances_msat: Balances
    timestamp: datetime
    policies: tuple[PolicyRecord, ...] = ()
    """Policies that it begins with, where they differ from those of the header."""


class RebalanceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A rebalance and what became of it."""

    route: tuple[Whole, ...]
    """Direction indices."""
    amount_msat: Whole
    applied_msat: Whole
    fee_msat: Whole
    reason: str
    """Name of a ``RebalanceReason``."""
    failure_source_index: Whole
    detail: str
    duration_s: float
    payment_hash: str
    carried_by: tuple[Whole, ...] = ()
    """Direction indices that carried it, where forwarders chose channels beside those of ``route``."""

    def __post_init__(self) -> None:
        """Refuse an unknown reason."""
        _require_name(self.reason, RebalanceReason)


class PolicyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A routing policy that was changed."""

    direction: Whole
    """Direction index."""
    policy: Policy


class BalanceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A balance that was moved by what is not simulated."""

    channel: Whole
    """Channel index."""
    initiator_msat: Whole
    """What its initiator has from then on."""
    peer_msat: Whole | None = None
    """What its peer has from then on, where that is not the rest of what the channel held."""


class StatusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A channel end that went out of use or came back."""

    direction: Whole
    """Direction index."""
    disabled: bool
    """Whether senders leave it out from then on."""


class InterventionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of the things that were done to the network in a step; one field is set."""

    rebalance: RebalanceRecord | None = None
    policy_change: PolicyRecord | None = None
    balance_change: BalanceRecord | None = None
    status_change: StatusRecord | None = None

    def __post_init__(self) -> None:
        """Refuse none and several."""
        names = self.__struct_fields__
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise RecordError(f"expected an intervention to be one of {', '.join(names)}")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True, omit_defaults=True):
    """A settled part of a payment."""

    amount_msat: Whole
    """Delivered, without fees."""
    route: tuple[Whole, ...]
    """Direction indices."""
    hop_msat: tuple[Whole, ...] = ()
    """What went over each of them, in networks where it does not follow from the policies."""


class PaymentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment and what became of it."""

    source: str
    destination: str
    amount_msat: Whole
    description: Whole
    succeeded: bool
    failure_reason: str
    """Name of a ``FailureReason``."""
    attempts: Whole
    fee_msat: Whole
    parts: tuple[Part, ...]
    duration_s: float
    payment_hash: str

    def __post_init__(self) -> None:
        """Refuse an unknown reason or description."""
        _require_name(self.failure_reason, FailureReason)
        if not 0 <= self.description < len(DESCRIPTIONS):
            raise RecordError(f"expected a description of 0..{len(DESCRIPTIONS) - 1}, got {self.description}")


class StepLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="step", omit_defaults=True):
    """A step."""

    step: Whole
    action: Any
    rebalance: RebalanceRecord | None
    """The rebalance, where that is all that was done."""
    balances_after_rebalance_msat: Balances
    """Balances before the first payment."""
    payments: tuple[PaymentRecord, ...]
    balances_after_msat: Balances
    timestamp: datetime
    interventions: tuple[InterventionRecord, ...] = ()
    """Everything that was done, in order, where it is more than one rebalance."""
    time_ms: tuple[Whole, ...] = ()
    """When each payment was made, in ms of simulated time since the episode began; where senders remember."""
    fee_limit_msat: tuple[Whole, ...] = ()
    """Most that each payment might pay in fees, where payments have limits of their own."""
    changed_after_rebalance_msat: tuple[ChangedBalance, ...] = ()
    """In large networks, in place of ``balances_after_rebalance_msat``: what changed since the end of the last step."""
    changed_after_msat: tuple[ChangedBalance, ...] = ()
    """In large networks, in place of ``balances_after_msat``: what changed since the first payment."""

    def balances(self, before_msat: Int64) -> tuple[Int64, Int64]:
        """Return the balances before the first payment and after the last, both of shape (channels, 2).

        Args:
            before_msat: Balances at the end of the step before, or at the start of the episode, of the same shape.
        """
        if self.balances_after_msat:
            return np.array(self.balances_after_rebalance_msat), np.array(self.balances_after_msat)
        served_from_msat = _changed(before_msat, self.changed_after_rebalance_msat)
        return served_from_msat, _changed(served_from_msat, self.changed_after_msat)

    @property
    def done(self) -> tuple[InterventionRecord, ...]:
        """Everything that was done, in order, wherever it stands."""
        return self.interventions if self.rebalance is None else (InterventionRecord(rebalance=self.rebalance),)


class EndLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="end"):
    """An episode ended."""

    steps: Whole
    backend_error: str
    timestamp: datetime


def payment_record(topology: Topology, batch: PaymentBatch, outcomes: PaymentOutcomes, index: int) -> PaymentRecord:
    """Return one payment of a batch with its outcome."""
    parts = range(int(outcomes.parts[index]))
    routes = [outcomes.part_route[index, part] for part in parts]
    amounts = outcomes.part_hop_msat
    return PaymentRecord(
        source=topology.nodes[batch.source[index]],
        destination=topology.nodes[batch.destination[index]],
        amount_msat=int(batch.amount_msat[index]),
        description=int(batch.description[index]),
        succeeded=bool(outcomes.succeeded[index]),
        failure_reason=FailureReason(outcomes.failure_reason[index]).name,
        attempts=int(outcomes.attempts[index]),
        fee_msat=int(outcomes.fee_msat[index]),
        parts=tuple(
            Part(
                int(outcomes.part_amount_msat[index, part]),
                tuple(route[route >= 0].tolist()),
                () if amounts is None else tuple(amounts[index, part, route >= 0].tolist()),
            )
            for part, route in zip(parts, routes, strict=True)
        ),
        duration_s=float(outcomes.duration_s[index]),
        payment_hash=outcomes.payment_hash[index] if outcomes.payment_hash else "",
    )


def rebalance_record(rebalance: Rebalance) -> RebalanceRecord:
    """Return a rebalance with its result."""
    result = rebalance.result
    return RebalanceRecord(
        route=tuple(int(direction) for direction in rebalance.route),
        amount_msat=int(rebalance.amount_msat),
        applied_msat=int(result.applied_msat),
        fee_msat=int(result.fee_msat),
        reason=RebalanceReason(result.reason).name,
        failure_source_index=int(result.failure_source_index),
        detail=result.detail,
        duration_s=result.duration_s,
        payment_hash=result.payment_hash,
        carried_by=tuple(int(direction) for direction in result.carried_by),
    )


def intervention_record(done: Intervention) -> InterventionRecord:
    """Return an intervention with its result."""
    if isinstance(done, PolicyChange):
        return InterventionRecord(policy_change=PolicyRecord(direction=int(done.direction), policy=done.policy))
    if isinstance(done, BalanceChange):
        moved = BalanceRecord(
            channel=int(done.channel), initiator_msat=int(done.initiator_msat), peer_msat=done.peer_msat
        )
        return InterventionRecord(balance_change=moved)
    if isinstance(done, StatusChange):
        return InterventionRecord(status_change=StatusRecord(direction=int(done.direction), disabled=done.disabled))
    return InterventionRecord(rebalance=rebalance_record(done))


def changed_balances(before_msat: Int64, after_msat: Int64) -> tuple[ChangedBalance, ...]:
    """Return the channels whose balances differ, with the later ones; both of shape (channels, 2)."""
    channels = np.flatnonzero((before_msat != after_msat).any(axis=1))
    return tuple(
        (channel, initiator, peer)
        for channel, (initiator, peer) in zip(channels.tolist(), after_msat[channels].tolist(), strict=True)
    )


def _changed(balances_msat: Int64, changes: tuple[ChangedBalance, ...]) -> Int64:
    """Return balances with changes, as a fresh array."""
    after_msat = balances_msat.copy()
    for channel, initiator, peer in changes:
        after_msat[channel] = initiator, peer
    return after_msat


def balance_pairs(balances_msat: Int64) -> Balances:
    """Return balances of shape (channels, 2) as plain pairs."""
    return tuple((initiator, peer) for initiator, peer in balances_msat.tolist())


def _require_name(name: str, kind: type[FailureReason | RebalanceReason]) -> None:
    """Refuse a name that is no member of an enumeration."""
    if name not in kind.__members__:
        raise RecordError(
            f"unknown {kind.__name__} {name!r}.{did_you_mean(name, kind.__members__)} "
            f"Known: {', '.join(kind.__members__)}"
        )
