"""The lines of a trace, as typed records, and how they are made from results of backends.

Writing and reading them is the business of ``trace``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.interventions import Intervention, PolicyChange, Rebalance
from lnsim_gym.errors import RecordError, did_you_mean
from lnsim_gym.network import Policy, Topology
from lnsim_gym.payments import (
    FailureReason,
    PaymentBatch,
    PaymentOptions,
    PaymentOutcomes,
    RebalanceReason,
)

__all__ = [
    "SCHEMA",
    "Balances",
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
    "intervention_record",
    "payment_record",
    "rebalance_record",
]

SCHEMA: Final = "lnsim-trace/1"
"""Name and version of the format; a change that old readers would misread gets a new number."""

Balances = tuple[tuple[int, int], ...]


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


class EpisodeLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="episode"):
    """An episode began."""

    episode: int
    seed: int
    start_balances_msat: Balances
    timestamp: datetime


class RebalanceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rebalance and what became of it."""

    route: tuple[int, ...]
    """Direction indices."""
    amount_msat: int
    applied_msat: int
    fee_msat: int
    reason: str
    """Name of a ``RebalanceReason``."""
    failure_source_index: int
    detail: str
    duration_s: float
    payment_hash: str

    def __post_init__(self) -> None:
        """Refuse an unknown reason."""
        _require_name(self.reason, RebalanceReason)


class PolicyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A routing policy that was changed."""

    direction: int
    """Direction index."""
    policy: Policy


class InterventionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of the things that were done to the network in a step; one field is set."""

    rebalance: RebalanceRecord | None = None
    policy_change: PolicyRecord | None = None

    def __post_init__(self) -> None:
        """Refuse none and several."""
        if (self.rebalance is None) == (self.policy_change is None):
            raise RecordError("expected an intervention to be either a rebalance or a policy_change")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True, omit_defaults=True):
    """A settled part of a payment."""

    amount_msat: int
    """Delivered, without fees."""
    route: tuple[int, ...]
    """Direction indices."""
    hop_msat: tuple[int, ...] = ()
    """What went over each of them, in networks where it does not follow from the policies."""


class PaymentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment and what became of it."""

    source: str
    destination: str
    amount_msat: int
    description: int
    succeeded: bool
    failure_reason: str
    """Name of a ``FailureReason``."""
    attempts: int
    fee_msat: int
    parts: tuple[Part, ...]
    duration_s: float
    payment_hash: str

    def __post_init__(self) -> None:
        """Refuse an unknown reason."""
        _require_name(self.failure_reason, FailureReason)


class StepLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="step", omit_defaults=True):
    """A step."""

    step: int
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

    @property
    def done(self) -> tuple[InterventionRecord, ...]:
        """Everything that was done, in order, wherever it stands."""
        return self.interventions if self.rebalance is None else (InterventionRecord(rebalance=self.rebalance),)


class EndLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="end"):
    """An episode ended."""

    steps: int
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
    )


def intervention_record(done: Intervention) -> InterventionRecord:
    """Return an intervention with its result."""
    if isinstance(done, PolicyChange):
        return InterventionRecord(policy_change=PolicyRecord(direction=int(done.direction), policy=done.policy))
    return InterventionRecord(rebalance=rebalance_record(done))


def balance_pairs(balances_msat: Int64) -> Balances:
    """Return balances of shape (channels, 2) as plain pairs."""
    return tuple((initiator, peer) for initiator, peer in balances_msat.tolist())


def _require_name(name: str, kind: type[FailureReason | RebalanceReason]) -> None:
    """Refuse a name that is no member of an enumeration."""
    if name not in kind.__members__:
        raise RecordError(f"unknown {kind.__name__} {name!r}.{did_you_mean(name, kind.__members__)}")
