"""What moved in a step and over which channels, made of the records of payments and interventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.messages import (
    ActivityData,
    ActivityPart,
    ActivityPayment,
    ActivityPolicy,
    ActivityRebalance,
    RebalanceStatus,
)
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import DESCRIPTIONS, FailureReason, RebalanceReason
from lnsim_gym.records.events import StepEvents
from lnsim_gym.records.lines import (
    InterventionRecord,
    PaymentRecord,
    RebalanceRecord,
    intervention_record,
    payment_record,
)

__all__ = ["StepPlace", "changed_sat", "describe_activity", "describe_step", "rebalance_status"]

_LND_FAILED: Final = (RebalanceReason.TEMPORARY_CHANNEL_FAILURE, RebalanceReason.OTHER)


class StepPlace(NamedTuple):
    """Where a step stands, and what it was paid."""

    episode: int
    step: int
    reward: float | None
    """None where it is not known."""
    rewards: dict[str, float]
    """Terms of the reward by name; empty where they are not known."""


def rebalance_status(
    route: tuple[int, ...], applied_msat: int, reason: RebalanceReason, detail: str
) -> tuple[RebalanceStatus, str]:
    """Return what became of a rebalance (none, applied, refused, failed) and why.

    It failed when something was sent and did not arrive, and was refused when nothing was sent.
    """
    if not route:
        return "none", ""
    if applied_msat:
        return "applied", ""
    why = reason.name + (f": {detail}" if detail else "")
    return ("failed" if reason in _LND_FAILED else "refused"), why


def describe_step(event: StepEvents, reward: float, rewards: Mapping[str, float]) -> ActivityData:
    """Describe a step by its events, its reward and the terms of that."""
    topology = event.topology
    payments = range(len(event.batch.source))
    return describe_activity(
        (event.topology_before, topology),
        StepPlace(event.episode, event.step, reward, dict(rewards)),
        [intervention_record(done) for done in event.interventions],
        [payment_record(topology, event.batch, event.outcomes, index) for index in payments],
        changed_sat(event.balances_before_msat, event.balances_after_msat),
    )


def describe_activity(
    topologies: tuple[Topology, Topology],
    place: StepPlace,
    done: list[InterventionRecord],
    payments: list[PaymentRecord],
    balances_sat: list[tuple[int, int, int]],
) -> ActivityData:
    """Describe a step by its records.

    Args:
        topologies: The network with the policies before the interventions, and with those that the payments met.
        place: Where the step stands, and what it was paid.
        done: The interventions.
        payments: The payments.
        balances_sat: Channels that changed, with what initiator and peer hold after the step.
    """
    topology = topologies[1]
    policies = [one.policy_change for one in done if one.policy_change is not None]
    return ActivityData(
        episode=place.episode,
        step=place.step,
        reward=place.reward,
        rewards=place.rewards,
        rebalances=[_rebalance(one.rebalance) for one in done if one.rebalance is not None],
        policies=[
            ActivityPolicy(
                direction=change.direction,
                fee_base_msat=change.policy.fee_base_msat,
                fee_rate_ppm=change.policy.fee_rate_ppm,
                time_lock_delta=change.policy.time_lock_delta,
            )
            for change in policies
        ],
        payments=[_payment(topology, payment) for payment in payments],
        balances_sat=balances_sat,
    )


def changed_sat(before_msat: Int64, after_msat: Int64) -> list[tuple[int, int, int]]:
    """Return the channels that changed by a sat or more, with what initiator and peer hold; both (channels, 2)."""
    after_sat = after_msat // 1000
    channels = np.flatnonzero((before_msat // 1000 != after_sat).any(axis=1))
    return [
        (channel, *held)
        for channel, held in zip(channels.tolist(), map(tuple, after_sat[channels].tolist()), strict=True)
    ]


def _rebalance(record: RebalanceRecord) -> ActivityRebalance:
    """Describe a rebalance."""
    status, why = rebalance_status(record.route, record.applied_msat, RebalanceReason[record.reason], record.detail)
    return ActivityRebalance(
        status=status,
        route=list(record.carried_by or record.route),
        amount_msat=record.amount_msat,
        applied_msat=record.applied_msat,
        fee_msat=record.fee_msat,
        why=why,
    )


def _payment(topology: Topology, record: PaymentRecord) -> ActivityPayment:
    """Describe a payment."""
    index = topology.node_index
    return ActivityPayment(
        sender=index[record.source],
        receiver=index[record.destination],
        amount_msat=record.amount_msat,
        fee_msat=record.fee_msat,
        success=record.succeeded,
        failure_reason="" if record.failure_reason == FailureReason.NONE.name else record.failure_reason,
        attempts=record.attempts,
        description=DESCRIPTIONS[record.description],
        duration_ms=1000 * record.duration_s,
        parts=[
            ActivityPart(
                route=list(part.route),
                hop_msat=[
                    int(sent) for sent in part.hop_msat or hop_amounts_msat(topology, part.route, part.amount_msat)
                ],
            )
            for part in record.parts
        ],
    )
