"""Making what the engine works on: a topology's columns, scratch space, memory, settings and outcome columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from lnsim_gym.arrays import Records
from lnsim_gym.backends.simulator.bounds import build_hop_rows
from lnsim_gym.backends.simulator.layout import (
    COMMITMENT,
    ENTRY,
    LABEL,
    POLICY,
    RECORD,
    HopRows,
    Knowledge,
    Memory,
    Network,
    Outcomes,
    Parts,
    Scratch,
    Settings,
    Workspace,
)
from lnsim_gym.compiled.memory import copied, filled, zeros
from lnsim_gym.network import NetworkArrays, Policy, Topology
from lnsim_gym.network.limits import BASE_COMMIT_WEIGHT, HTLC_WEIGHT, commit_fee_sat
from lnsim_gym.payments import MAX_PARTS, MAX_ROUTE_HOPS, PaymentOptions, PaymentOutcomes

__all__ = [
    "compile_network",
    "make_memory",
    "make_outcomes",
    "make_scratch",
    "make_settings",
    "payment_outcomes",
    "policy_rows",
    "stack",
    "with_policies",
    "write_policy",
]

HOP_TABLE_BYTES: Final = 2**27
"""Most memory that one thread spends on hop distances; beyond it, senders share rows, which are then refilled."""
PREBUILT_NODES: Final = 2048
"""Networks of up to this many nodes get all hop distances when compiled; in larger ones threads fill rows of theirs."""
ATTEMPT_MS: Final = 50
"""Simulated time of one payment attempt in ms; with it, ``timeout_seconds`` limits the number of attempts."""
RECORDS_PER_SENDER: Final = 64
"""Default room for remembered node pairs per sender, pooled over all senders of a network."""


def compile_network(topology: Topology | NetworkArrays, nodes: int | None = None) -> Network:
    """Lay a topology out for the engine.

    Args:
        topology: The topology, or its columns.
        nodes: Number of nodes, needed with columns only.
    """
    arrays = topology.arrays if isinstance(topology, Topology) else topology
    count = len(topology.nodes) if isinstance(topology, Topology) else int(nodes or 0)
    order = np.argsort(arrays.destination, kind="stable")
    offsets = np.searchsorted(arrays.destination[order], np.arange(count + 1))
    network = Network(
        first_incoming=copied(offsets, np.uint32),
        neighbour=copied(arrays.source[order], np.uint32),
        incoming=copied(order, np.uint32),
        source=copied(arrays.source, np.uint32),
        destination=copied(arrays.destination, np.uint32),
        policy=policy_rows(arrays),
        commitment=_commitment_rows(arrays),
        hops=zeros((count if count <= PREBUILT_NODES else 0, count), np.uint8),
        variant=0,
    )
    build_hop_rows(network, network.hops)
    return network


def policy_rows(arrays: NetworkArrays) -> Records:
    """Return the policy rows with what an idle channel keeps back (see ``channels``)."""
    rate = arrays.fee_per_kw
    reserve = arrays.reserve_msat
    idle_fee = 1000 * commit_fee_sat(rate)
    fee_buffer = 1000 * (2 * rate * (BASE_COMMIT_WEIGHT + 2 * HTLC_WEIGHT) // 1000)
    one_more = np.maximum(1000 * (rate * HTLC_WEIGHT // 1000), 1000 * commit_fee_sat(rate, htlcs=1) - idle_fee)
    rows = zeros(len(arrays.source), POLICY)
    rows["max_htlc_msat"] = arrays.max_htlc_msat
    rows["min_htlc_msat"] = arrays.min_htlc_msat
    rows["fee_base_msat"] = arrays.fee_base_msat
    rows["fee_rate_ppm"] = arrays.fee_rate_ppm
    rows["time_lock"] = arrays.time_lock_delta
    rows["capacity_msat"] = 1000 * np.repeat(arrays.capacity_sat, 2)
    rows["keep_msat"] = np.stack([reserve - idle_fee + fee_buffer, reserve], axis=1).ravel()
    rows["need_msat"] = np.stack([np.zeros_like(reserve), reserve + one_more], axis=1).ravel()
    return rows


def with_policies(topology: Topology, rows: Records) -> Topology:
    """Return a topology with the routing policies that rows hold, as ``policy_rows`` makes them."""
    for direction in np.flatnonzero(policy_rows(topology.arrays) != rows).tolist():
        topology = topology.with_policy(direction, _policy(rows[direction]))
    return topology


def _policy(row: np.void) -> Policy:
    """Return the policy that a row holds."""
    return Policy(
        fee_base_msat=int(row["fee_base_msat"]),
        fee_rate_ppm=int(row["fee_rate_ppm"]),
        time_lock_delta=int(row["time_lock"]),
        min_htlc_msat=int(row["min_htlc_msat"]),
        max_htlc_msat=int(row["max_htlc_msat"]),
    )


def write_policy(network: Network, direction: int, policy: Policy) -> None:
    """Change the policy of a direction in place.

    Args:
        network: The network, no stack of networks.
        direction: Direction index.
        policy: The policy, checked and with its largest HTLC filled in.
    """
    row = network.policy[direction]
    row["max_htlc_msat"] = policy.max_htlc_msat
    row["min_htlc_msat"] = policy.min_htlc_msat
    row["fee_base_msat"] = policy.fee_base_msat
    row["fee_rate_ppm"] = policy.fee_rate_ppm
    row["time_lock"] = policy.time_lock_delta


def _commitment_rows(arrays: NetworkArrays) -> Records:
    """Return the commitment rows."""
    rows = zeros(len(arrays.fee_per_kw), COMMITMENT)
    rows["fee_per_kw"] = arrays.fee_per_kw
    rows["reserve_msat"] = arrays.reserve_msat
    rows["dust_below_msat"] = arrays.reserve_msat + 1000 * (arrays.fee_per_kw * HTLC_WEIGHT // 1000)
    return rows


def make_scratch(network: Network) -> Scratch:
    """Make the working space of one thread.

    Args:
        network: The network it is for, or the stack of networks.
    """
    nodes = network.first_incoming.shape[-1] - 1
    directions = network.incoming.shape[-1]
    work = Workspace(
        label=zeros(nodes, LABEL),
        queue=zeros(directions + 1, ENTRY),
        searches=zeros(1, np.int64),
        route=zeros(MAX_ROUTE_HOPS, np.uint32),
        sent=zeros(MAX_ROUTE_HOPS, np.int64),
        knowledge=_make_knowledge(nodes, directions),
        hop_rows=_make_hop_rows(network, nodes),
        htlcs=zeros(directions // 2, np.int32),
    )
    return Scratch(work, _make_parts())


def _make_hop_rows(network: Network, nodes: int) -> HopRows:
    """Make rows for the hop distances that networks do not bring along."""
    variants = np.size(network.variant)
    rows = 0 if network.hops.size > 0 else min(variants * nodes, max(1, HOP_TABLE_BYTES // nodes))
    return HopRows(hops=zeros((rows, nodes), np.uint8), owner=zeros(rows, np.int64))


def _make_parts() -> Parts:
    """Make room for the parts of a payment."""
    return Parts(
        route=zeros((MAX_PARTS, MAX_ROUTE_HOPS), np.uint32),
        sent=zeros((MAX_PARTS, MAX_ROUTE_HOPS), np.int64),
        hops=zeros(MAX_PARTS, np.int32),
        reached=zeros(MAX_PARTS, np.int32),
        refused=zeros(MAX_PARTS, np.int32),
        stage=zeros(MAX_PARTS, np.int32),
        next_ms=zeros(MAX_PARTS, np.int64),
    )


def _make_knowledge(nodes: int, directions: int) -> Knowledge:
    """Make a sender's knowledge, empty."""
    return Knowledge(
        first=zeros(nodes, np.int32),
        record=zeros(directions, RECORD),
        known=zeros(directions, np.uint32),
        counter=zeros(2, np.int64),
    )


def make_memory(network: Network, options: PaymentOptions, networks: int | None = None) -> Memory:
    """Make the senders' memory, empty; without any records when payments are to forget.

    Args:
        network: A network, or a stack of networks of one shape.
        options: Says whether senders remember.
        networks: How many to make, stacked along the first axis; one without that axis by default.
    """
    nodes = network.first_incoming.shape[-1] - 1
    directions = network.incoming.shape[-1]
    remember = options.mission_control == "per_episode"
    records = min(nodes * directions, nodes * RECORDS_PER_SENDER) if remember else 0
    lead = () if networks is None else (networks,)
    return Memory(
        first=zeros((*lead, nodes if remember else 0), np.int32),
        next=zeros((*lead, records), np.int32),
        direction=zeros((*lead, records), np.int32),
        success=zeros((*lead, records), np.int64),
        failure=zeros((*lead, records), np.int64),
        failure_ms=zeros((*lead, records), np.int64),
        used=zeros((*lead, 1), np.int64),
    )


def make_settings(options: PaymentOptions) -> Settings:
    """Return the payment options as numbers; the time-out becomes a number of attempts of ``ATTEMPT_MS`` each."""
    return Settings(
        fee_limit_base_sat=options.fee_limit_base_sat,
        fee_limit_ppm=options.fee_limit_ppm,
        max_parts=options.max_parts,
        max_attempts=max(1, 1000 * options.timeout_seconds // ATTEMPT_MS),
        counts_attempts=1,
    )


def make_outcomes(payments: int, max_parts: int, earners: int = 0) -> Outcomes:
    """Make the columns that ``payments`` payments fill, for a number of nodes whose earnings are counted."""
    return Outcomes(
        succeeded=zeros(payments, np.bool_),
        failure_reason=zeros(payments, np.int32),
        attempts=zeros(payments, np.int32),
        fee_msat=zeros(payments, np.int64),
        parts=zeros(payments, np.int32),
        part_amount_msat=zeros((payments, max_parts), np.int64),
        part_route=filled((payments, max_parts, MAX_ROUTE_HOPS), -1, np.int32),
        earned_msat=zeros(earners, np.int64),
    )


def payment_outcomes(outcomes: Outcomes) -> PaymentOutcomes:
    """Return filled columns as the result that every backend gives."""
    columns = outcomes._asdict()
    del columns["earned_msat"]
    return PaymentOutcomes(**columns, duration_s=np.zeros(len(outcomes.succeeded)))


def stack(networks: Sequence[Network]) -> Network:
    """Stack networks of one shape along a new first axis; ``variant`` becomes their places in the stack."""
    columns = [copied(np.stack(column)) for column in zip(*networks, strict=True)]
    return Network(*columns)._replace(variant=copied(np.arange(len(networks))))
