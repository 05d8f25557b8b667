"""Making what the engine works on: a topology's columns, scratch space, memory, settings and outcome columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int64, Records
from lnsim_gym.backends.simulator.bounds import build_hop_rows, most_hops
from lnsim_gym.backends.simulator.gossip import change_policy_now
from lnsim_gym.backends.simulator.layout import (
    CHANGE,
    COMMITMENT,
    ENTRY,
    INBOUND,
    LABEL,
    POLICY,
    RECORD,
    SPREAD,
    TERMS,
    TRICKLE,
    Gossip,
    HopRows,
    Knowledge,
    Links,
    Memory,
    Network,
    Outcomes,
    Parts,
    Scratch,
    Settings,
    Terms,
    Workspace,
)
from lnsim_gym.compiled.memory import copied, filled, zeros
from lnsim_gym.network import NetworkArrays, Policy, Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.network.limits import BASE_COMMIT_WEIGHT, HTLC_WEIGHT, commit_fee_sat
from lnsim_gym.payments import FORWARD_COUNTS, MAX_PARTS, MAX_ROUTE_HOPS, PaymentOptions, PaymentOutcomes

__all__ = [
    "announce_policy",
    "compile_network",
    "forget_changes",
    "make_memory",
    "make_outcomes",
    "make_scratch",
    "make_settings",
    "network_view",
    "payment_outcomes",
    "policy_rows",
    "stack",
    "with_kept_policies",
    "with_own_policies",
    "with_policies",
    "with_room_for_changes",
    "write_policy",
]

HOP_TABLE_BYTES: Final = 2**29
"""Most memory that one thread spends on hop distances; beyond it, senders share rows, which are then refilled."""
PREBUILT_NODES: Final = 2048
"""Networks of up to this many nodes get all hop distances when compiled; in larger ones threads fill rows of theirs."""
FEWEST_CHANGES: Final = 256
"""Least room for changes that not everybody has heard of, in a network of any size."""
MOST_CHANGES: Final = 8192
"""Most room for them; between the two, it is for a quarter of the directions."""
MOST_RECORDS: Final = 2**20
"""Most room for what the senders of a network remember. Networks of up to about 300 nodes have room for everything;
10,000 payments among 100 nodes need 14,000 records. Memory is taken as it is filled."""


def compile_network(
    topology: Topology | NetworkArrays,
    nodes: int | None = None,
    *,
    linked: bool | None = None,
    gossip: GossipOptions | None = None,
) -> Network:
    """Lay a topology out for the engine.

    Args:
        topology: The topology, or its columns.
        nodes: Number of nodes, needed with columns only.
        linked: Whether to give it links, which takes longer to play; by default only if it needs them.
        gossip: How changes of policies spread; by default senders know them at once.
    """
    arrays = topology.arrays if isinstance(topology, Topology) else topology
    count = len(topology.nodes) if isinstance(topology, Topology) else int(nodes or 0)
    if linked is None:
        linked = gossip is not None or not topology.is_plain
    order = np.lexsort((arrays.source, arrays.destination))
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
        links=_make_links(arrays, order) if linked else None,
    )
    build_hop_rows(network._replace(links=None), network.hops)
    if gossip is not None:
        network.links.gossip.delays[:] = _delays_ms(network, gossip)
    return network


def _make_links(arrays: NetworkArrays, order: Int64) -> Links:
    """Make the links of a network whose incoming directions lie in that order."""
    source, destination = arrays.source[order], arrays.destination[order]
    begins = np.flatnonzero(np.append(True, (source[1:] != source[:-1]) | (destination[1:] != destination[:-1])))
    counts = np.diff(np.append(begins, len(order)))
    place, count = np.zeros(len(order), np.uint32), np.zeros(len(order), np.uint32)
    place[order] = np.repeat(begins, counts)
    count[order] = np.repeat(counts, counts)
    inbound = zeros(len(order), INBOUND)
    inbound["fee_base_msat"] = arrays.inbound_fee_base_msat
    inbound["fee_rate_ppm"] = arrays.inbound_fee_rate_ppm
    return Links(
        inbound=inbound,
        disabled=copied(arrays.disabled, np.uint8),
        pair=copied(order[place], np.uint32),
        place=copied(place),
        parallel=copied(count),
        gossip=_make_gossip(0, 0),
    )


def _make_gossip(nodes: int, directions: int, networks: int | None = None) -> Gossip:
    """Make room for changes of policies, or none at all where there are no nodes.

    Args:
        nodes: Nodes of the network.
        directions: Its directions.
        networks: How many to make, stacked along the first axis; one without that axis by default.
    """
    lead = () if networks is None else (networks,)
    some = min(nodes, 1)
    rows = some * min(max(directions // 4, FEWEST_CHANGES), MOST_CHANGES)
    return Gossip(
        change=zeros((*lead, rows), CHANGE),
        before=zeros((*lead, rows), TERMS),
        after=zeros((*lead, rows), TERMS),
        told=zeros((*lead, rows, -(-nodes // 64)), np.uint64),
        spread=zeros((*lead, directions), SPREAD),
        numbers=zeros((*lead, 2 * some), np.int64),
        key=zeros((*lead, 1), np.uint64),
        delays=zeros((*lead, 5), np.int64),
    )


def _delays_ms(network: Network, gossip: GossipOptions) -> Int64:
    """Return ``Gossip.delays`` of a network, in ms."""
    nodes = network.hops.shape[1]
    apart = most_hops(network._replace(links=None), zeros(nodes, np.uint8), zeros(nodes, np.bool_))
    trickle_ms, interval_ms = 1000 * gossip.trickle_seconds, 1000 * gossip.update_interval_seconds
    return copied(
        np.array(
            [
                trickle_ms,
                1000 * gossip.sub_batch_seconds,
                gossip.max_update_burst * interval_ms,
                interval_ms,
                trickle_ms * max(apart - 1, 0),
            ]
        ),
        np.int64,
    )


def with_room_for_changes(network: Network) -> Network:
    """Return a network (no stack) with room for changes, where ``compile_network`` was told how they spread."""
    links = network.links
    if links is None or links.gossip.delays[TRICKLE] == 0:
        return network
    room = _make_gossip(network.hops.shape[1], len(network.source))
    return network._replace(links=links._replace(gossip=room._replace(delays=links.gossip.delays)))


def forget_changes(network: Network, key: int) -> None:
    """Begin the gossip of a network (no stack) anew.

    Args:
        network: The network, whose policies are as everybody knows them.
        key: Start of the stream that delays are drawn from, uint64 bits.
    """
    if network.links is not None and network.links.gossip.numbers.size:
        gossip = network.links.gossip
        gossip.key[0] = key
        gossip.numbers[:] = 0
        gossip.spread[:] = np.zeros((), SPREAD)


def _no_links() -> Links:
    """Return the empty links that stand for ``None`` where a stack of plain networks is handed to compiled loops."""
    none = zeros(0, np.uint32)
    return Links(zeros(0, INBOUND), zeros(0, np.uint8), none, none, none, _make_gossip(0, 0))


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


def with_policies(topology: Topology, network: Network) -> Topology:
    """Return a topology with the routing policies that a network (no stack) of its channels has."""
    arrays, links = topology.arrays, network.links
    changed = policy_rows(arrays) != network.policy
    if links is not None:
        changed |= links.disabled != arrays.disabled
        changed |= links.inbound["fee_base_msat"] != arrays.inbound_fee_base_msat
        changed |= links.inbound["fee_rate_ppm"] != arrays.inbound_fee_rate_ppm
    return topology.with_policies(
        {direction: _policy(network, direction) for direction in np.flatnonzero(changed).tolist()}
    )


def _policy(network: Network, direction: int) -> Policy:
    """Return the policy of a direction of a network."""
    row, links = network.policy[direction], network.links
    plain = Policy(
        fee_base_msat=int(row["fee_base_msat"]),
        fee_rate_ppm=int(row["fee_rate_ppm"]),
        time_lock_delta=int(row["time_lock"]),
        min_htlc_msat=int(row["min_htlc_msat"]),
        max_htlc_msat=int(row["max_htlc_msat"]),
    )
    if links is None:
        return plain
    return msgspec.structs.replace(
        plain,
        inbound_fee_base_msat=int(links.inbound[direction]["fee_base_msat"]),
        inbound_fee_rate_ppm=int(links.inbound[direction]["fee_rate_ppm"]),
        disabled=bool(links.disabled[direction]),
    )


def write_policy(network: Network, direction: int, policy: Policy) -> None:
    """Change the policy of a direction in place.

    Args:
        network: The network, no stack of networks.
        direction: Direction index.
        policy: The policy, checked and with its largest HTLC filled in; plain unless the network has links.
    """
    if network.links is not None:
        network.links.inbound[direction] = (policy.inbound_fee_base_msat, policy.inbound_fee_rate_ppm)
        network.links.disabled[direction] = policy.disabled
    row = network.policy[direction]
    row["max_htlc_msat"] = policy.max_htlc_msat
    row["min_htlc_msat"] = policy.min_htlc_msat
    row["fee_base_msat"] = policy.fee_base_msat
    row["fee_rate_ppm"] = policy.fee_rate_ppm
    row["time_lock"] = policy.time_lock_delta


def announce_policy(network: Network, direction: int, policy: Policy, now_ms: int) -> None:
    """Change the policy of a direction in place, as its node does at a time; see ``gossip.change_policy``.

    Args:
        network: As for ``write_policy``.
        direction: Direction index.
        policy: As for ``write_policy``.
        now_ms: Simulated time in ms.
    """
    if network.links is None:
        write_policy(network, direction, policy)
        return
    terms = Terms(
        fee_base_msat=policy.fee_base_msat,
        fee_rate_ppm=policy.fee_rate_ppm,
        time_lock=policy.time_lock_delta,
        min_htlc_msat=policy.min_htlc_msat,
        max_htlc_msat=policy.max_htlc_msat,
        inbound_fee_base_msat=policy.inbound_fee_base_msat,
        inbound_fee_rate_ppm=policy.inbound_fee_rate_ppm,
        disabled=int(policy.disabled),
    )
    change_policy_now(network, direction, Terms(*map(int, terms)), int(now_ms))


def _commitment_rows(arrays: NetworkArrays) -> Records:
    """Return the commitment rows."""
    rows = zeros(len(arrays.fee_per_kw), COMMITMENT)
    rows["fee_per_kw"] = arrays.fee_per_kw
    rows["reserve_msat"] = arrays.reserve_msat
    rows["dust_below_msat"] = arrays.reserve_msat + 1000 * (arrays.fee_per_kw * HTLC_WEIGHT // 1000)
    return rows


def make_scratch(network: Network, options: PaymentOptions) -> Scratch:
    """Make the working space of one thread.

    Args:
        network: The network it is for, or the stack of networks.
        options: How payments are sent.
    """
    nodes = network.first_incoming.shape[-1] - 1
    directions = network.incoming.shape[-1]
    work = Workspace(
        label=zeros(nodes, LABEL),
        queue=zeros(directions + 1, ENTRY),
        searches=zeros(1, np.int64),
        route=zeros(MAX_ROUTE_HOPS, np.uint32),
        sent=zeros(MAX_ROUTE_HOPS, np.int64),
        lock=zeros(MAX_ROUTE_HOPS, np.int64),
        outbound_fee_msat=zeros(nodes if _has_links(network) else 0, np.int64),
        knowledge=_make_knowledge(network, nodes, directions),
        hop_rows=_make_hop_rows(network, nodes),
        attempt_cost=copied(np.array([1000 * options.attempt_cost_sat, options.attempt_cost_ppm]), np.int64),
        htlcs=zeros(directions // 2, np.int32),
    )
    return Scratch(work, _make_parts())


def _has_links(network: Network) -> bool:
    """Return whether a network or a stack of networks has links."""
    return network.links is not None and network.links.parallel.size > 0


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
        lock=zeros((MAX_PARTS, MAX_ROUTE_HOPS), np.int64),
        hops=zeros(MAX_PARTS, np.int32),
        reached=zeros(MAX_PARTS, np.int32),
        refused=zeros(MAX_PARTS, np.int32),
        failure=zeros(MAX_PARTS, np.int32),
        told=zeros(MAX_PARTS, np.int64),
        stage=zeros(MAX_PARTS, np.int32),
        next_ms=zeros(MAX_PARTS, np.int64),
    )


def _make_knowledge(network: Network, nodes: int, directions: int) -> Knowledge:
    """Make a sender's knowledge, empty."""
    changes = 0 if network.links is None else network.links.gossip.change.shape[-1]
    return Knowledge(
        first=zeros(nodes, np.int32),
        record=zeros(directions, RECORD),
        known=zeros(directions, np.uint32),
        counter=zeros(3, np.int64),
        chance_ms=zeros(directions if _has_links(network) else 0, np.int64),
        draws=zeros(2, np.uint64),
        unheard=zeros(changes, np.int64),
        shown=zeros(directions if changes else 0, np.int32),
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
    records = min(nodes * directions, MOST_RECORDS) if remember else 0
    lead = () if networks is None else (networks,)
    return Memory(
        first=zeros((*lead, nodes if remember else 0), np.int32),
        next=zeros((*lead, records), np.int32),
        direction=zeros((*lead, records), np.int32),
        success=zeros((*lead, records), np.int64),
        failure=zeros((*lead, records), np.int64),
        failure_ms=zeros((*lead, records), np.int64),
        chance_ms=zeros((*lead, records if _has_links(network) else 0), np.int64),
        used=zeros((*lead, 1), np.int64),
        draws=zeros((*lead, 1), np.uint64),
    )


def make_settings(options: PaymentOptions) -> Settings:
    """Return the payment options as numbers."""
    return Settings(
        fee_limit_base_sat=options.fee_limit_base_sat,
        fee_limit_ppm=options.fee_limit_ppm,
        max_parts=options.max_parts,
        timeout_ms=1000 * options.timeout_seconds,
        counts_attempts=1,
    )


def make_outcomes(
    payments: int,
    max_parts: int,
    *,
    earners: int = 0,
    linked: bool = False,
    watched: int = 0,
    watched_channels: int = 0,
) -> Outcomes:
    """Make the columns that payments fill.

    Args:
        payments: How many.
        max_parts: Most parts of one.
        earners: Nodes whose earnings are counted: all or none.
        linked: Whether the network has links.
        watched: A node whose forwards are counted, see ``forwards``.
        watched_channels: How many channels it has; 0 where nothing is counted.
    """
    return Outcomes(
        succeeded=zeros(payments, np.bool_),
        failure_reason=zeros(payments, np.int32),
        attempts=zeros(payments, np.int32),
        fee_msat=zeros(payments, np.int64),
        parts=zeros(payments, np.int32),
        part_amount_msat=zeros((payments, max_parts), np.int64),
        part_route=filled((payments, max_parts, MAX_ROUTE_HOPS), -1, np.int32),
        part_hop_msat=zeros((payments, max_parts, MAX_ROUTE_HOPS if linked else 0), np.int64),
        earned_msat=zeros(earners, np.int64),
        forwards=zeros((watched_channels, len(FORWARD_COUNTS)), np.int64),
        watched=watched,
    )


def payment_outcomes(outcomes: Outcomes, time_ms: Int64 | None = None) -> PaymentOutcomes:
    """Return filled columns as the result that every backend gives, with the time of each payment where it matters."""
    columns = outcomes._asdict()
    for name in ("earned_msat", "forwards", "watched"):
        del columns[name]
    if outcomes.part_hop_msat.size == 0:
        columns["part_hop_msat"] = None
    return PaymentOutcomes(**columns, duration_s=np.zeros(len(outcomes.succeeded)), time_ms=time_ms)


def stack(networks: Sequence[Network]) -> Network:
    """Stack networks of one shape along a new first axis; ``variant`` becomes their places in the stack.

    Args:
        networks: All with links or all without; without, the stack's are empty.
    """
    links = [_no_links() if network.links is None else network.links for network in networks]
    gossip = Gossip(*_stacked([own.gossip for own in links]))
    return Network(*_stacked([network._replace(links=0) for network in networks]))._replace(
        variant=copied(np.arange(len(networks))),
        links=Links(*_stacked([own[:-1] for own in links]), gossip=gossip),  # type: ignore[arg-type, misc]
    )


def _stacked(tuples: Sequence[tuple[Any, ...]]) -> list[npt.NDArray[Any]]:
    """Return arrays of tuples stacked along a new first axis, one for each place in the tuples."""
    return [copied(np.stack(column)) for column in zip(*tuples, strict=True)]


def with_own_policies(networks: Network, count: int) -> Network:
    """Return a stack whose policies belong to so many networks that play on it, at first those of the first variant.

    Each has room for changes of its own where ``compile_network`` was told how they spread.
    """
    links, delays = networks.links, networks.links.gossip.delays
    spreads = delays[:, TRICKLE].any()
    gossip = _make_gossip(networks.hops.shape[2] if spreads else 0, links.disabled.shape[1] if spreads else 0, count)
    return networks._replace(
        policy=copied(np.repeat(networks.policy[:1], count, axis=0)),
        links=links._replace(
            inbound=copied(np.repeat(links.inbound[:1], count, axis=0)),
            disabled=copied(np.repeat(links.disabled[:1], count, axis=0)),
            gossip=gossip._replace(delays=delays),
        ),
    )


def network_view(networks: Network, variant: int, policies: int) -> Network:
    """Return one network of a stack for calls from Python; a view, policies included, of which everybody knows.

    Args:
        networks: The stack.
        variant: Place in it.
        policies: Row of its policies.
    """
    columns = networks._replace(links=np.empty(len(networks.variant)))
    links = networks.links
    return Network(*(column[variant] for column in columns))._replace(
        policy=networks.policy[policies],
        links=None
        if links.parallel.size == 0
        else Links(
            links.inbound[policies],
            links.disabled[policies],
            links.pair[variant],
            links.place[variant],
            links.parallel[variant],
            _make_gossip(0, 0),
        ),
    )


def with_kept_policies(network: Network) -> Network:
    """Return a network with copies of its policies, which stay what they are now."""
    links = network.links
    if links is not None:
        links = links._replace(inbound=links.inbound.copy(), disabled=links.disabled.copy())
    return network._replace(policy=network.policy.copy(), links=links)
