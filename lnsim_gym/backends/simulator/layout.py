"""The arrays that the compiled engine works on: the network's columns, scratch space, senders' memory, outcomes.

Here they are described; ``prepare`` makes them and the kernels beside this file work on them. Every structure
describes **one** network. A batch of networks stacks each array along a new first axis (``prepare.stack``), and a
kernel takes the slices of network ``e`` with ``network_at`` and ``memory_at``. What is used as an index is unsigned
where it lies in hot columns: a signed one costs a test for Python's negative indices at every use.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.compiled import inlined

__all__ = ["Knowledge", "Memory", "Network", "Outcomes", "Parts", "Scratch", "Settings", "memory_at", "network_at"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
Float64 = npt.NDArray[np.float64]

MAX_PARTS: Final = 16
"""Most parts in flight at once (LND's default ``max_parts``)."""
MAX_BOUND_HOPS: Final = 32
"""Hop distances from here on count as this many in the search's lower bound."""
UNREACHABLE: Final = 255
"""Hop distance of a node that no route reaches."""

# Columns of ``Network.policy``: one row of 64 bytes, a cache line, for each direction.
MAX_HTLC: Final = 0
MIN_HTLC: Final = 1
FEE_BASE: Final = 2
FEE_RATE: Final = 3
TIME_LOCK: Final = 4
CAPACITY: Final = 5
KEEP: Final = 6
"""Part of the balance that an idle channel end cannot spend, in msat."""
NEED: Final = 7
"""Balance of the other end below which only dust can be sent, in msat; 0 for the initiator."""

# Columns of ``Network.commitment``, one row for each channel.
FEE_PER_KW: Final = 0
RESERVE: Final = 1
DUST_BELOW: Final = 2
"""Initiator's balance below which the peer of an idle channel sees no more than dust as spendable, in msat."""

# Columns of ``Scratch.label``, one cache line for each node.
STAMP: Final = 0
DISTANCE: Final = 1
WEIGHT: Final = 2
RECEIVED: Final = 3
PROBABILITY: Final = 4
"""Read and written through ``Scratch.label_float``, the same memory as float64."""
DIRECTION: Final = 5
LOCK: Final = 6
"""Blocks of time lock from this node to the target, plus 2^32 for each hop."""
KEY: Final = 7
"""Place in the queue; -1 once expanded or never queued."""

# Entries of ``Scratch.counter``.
SEARCHES: Final = 0
QUEUED: Final = 1

# Entries of ``Knowledge.counter``.
KNOWN: Final = 0
"""Number of known directions."""
BOOSTED: Final = 1
"""1 when some direction away from the sender may be more likely to succeed than an untried one."""


class Network(NamedTuple):
    """A topology as the engine reads it. Incoming directions lie grouped by receiving node."""

    first_incoming: Int32  # (nodes + 1,) offsets into the two columns below
    neighbour: UInt32  # (directions,) sending node of each incoming direction
    incoming: UInt32  # (directions,) that direction
    source: UInt32  # (directions,) sending node, by direction
    destination: UInt32  # (directions,) receiving node, by direction
    policy: Int64  # (directions, 8) max_htlc, min_htlc, fees, time lock, capacity, KEEP, NEED; msat, ppm, blocks
    commitment: Int64  # (channels, 3) sat per kilo-weight, reserve in msat, DUST_BELOW in msat
    hops: UInt8  # (rows, nodes) hop distances from the sender that owns the row
    hop_owner: Int32  # (rows,) sender that owns the row, or -1
    bound: Float64  # (2, MAX_BOUND_HOPS + 1, MAX_BOUND_HOPS + 1) least cost of the way to the sender, see search


class Knowledge(NamedTuple):
    """What the sender of the current payment knows of directions; empty between payments."""

    first: Int32  # (nodes,) 1 + first direction out of the node that is known, or 0
    next: Int32  # (directions,) 1 + the next one of the same node, or 0
    success: Int64  # (directions,) largest amount known to pass, msat
    failure: Int64  # (directions,) smallest amount known to fail, msat
    failure_ms: Int64  # (directions,) when it failed, or -1
    slot: Int32  # (directions,) 1 + place in the sender's memory, or 0
    known: Int32  # (directions,) the known directions, in the order learned
    counter: Int64  # (2,) KNOWN, BOOSTED


class Parts(NamedTuple):
    """The parts of the current payment that are under way, in the order they were sent."""

    route: UInt32  # (MAX_PARTS, MAX_ROUTE_HOPS)
    sent: Int64  # (MAX_PARTS, MAX_ROUTE_HOPS) msat over each hop
    hops: Int32  # (MAX_PARTS,)
    reached: Int32  # (MAX_PARTS,) hops that hold its HTLC
    refused: Int32  # (MAX_PARTS,) position of the node that refused it
    stage: Int32  # (MAX_PARTS,) on the way, on the way back, back, or arrived
    next_ms: Int64  # (MAX_PARTS,) when the next thing happens to it; once back, when it was


class Scratch(NamedTuple):
    """Working space of one thread; its content between calls means nothing. Never share it between threads."""

    label: Int64  # (nodes, 8) best known way from each node to the target
    label_float: Float64  # the same memory
    queue_key: Int64  # (directions + 1,) binary heap of nodes to expand
    queue_node: UInt32  # (directions + 1,)
    counter: Int64  # (2,) SEARCHES, QUEUED
    route: UInt32  # (MAX_ROUTE_HOPS,) directions of the route found last
    sent: Int64  # (MAX_ROUTE_HOPS,) msat over each of them
    knowledge: Knowledge
    htlcs: Int32  # (channels,) non-dust HTLCs in flight
    parts: Parts


class Memory(NamedTuple):
    """What the senders of one network remember between payments (``mission_control = "per_episode"``).

    A pool of records, chained by sender. Its size bounds the memory: once it is full, new node pairs are no longer
    remembered beyond the payment that met them. Empty arrays mean ``per_payment``.
    """

    first: Int32  # (nodes,) 1 + first record of each sender, or 0; (0,) when nothing is remembered
    next: Int32  # (records,)
    direction: Int32  # (records,)
    success: Int64  # (records,)
    failure: Int64  # (records,)
    failure_ms: Int64  # (records,)
    used: Int64  # (1,) records in use


class Settings(NamedTuple):
    """How payments are sent, as plain numbers."""

    fee_limit_base_sat: int
    fee_limit_ppm: int
    max_parts: int
    max_attempts: int


class Outcomes(NamedTuple):
    """Columns of ``PaymentOutcomes`` for one network; row ``i`` is filled by payment ``i``."""

    succeeded: npt.NDArray[np.bool_]  # (payments,)
    failure_reason: Int32  # (payments,)
    attempts: Int32  # (payments,)
    fee_msat: Int64  # (payments,)
    parts: Int32  # (payments,)
    part_amount_msat: Int64  # (payments, max_parts)
    part_route: Int32  # (payments, max_parts, MAX_ROUTE_HOPS)


@inlined
def network_at(networks: Any, index: Any) -> Any:
    """Return one network of a stack, without copying."""
    return Network(
        networks.first_incoming[index],
        networks.neighbour[index],
        networks.incoming[index],
        networks.source[index],
        networks.destination[index],
        networks.policy[index],
        networks.commitment[index],
        networks.hops[index],
        networks.hop_owner[index],
        networks.bound[index],
    )


@inlined
def memory_at(memories: Any, index: Any) -> Any:
    """Return the memory of one network of a stack, without copying."""
    return Memory(
        memories.first[index],
        memories.next[index],
        memories.direction[index],
        memories.success[index],
        memories.failure[index],
        memories.failure_ms[index],
        memories.used[index],
    )
