"""The arrays that the compiled engine works on: the network's columns, scratch space, senders' memory, outcomes.

Here they are described; ``prepare`` makes them and the kernels beside this file work on them. Every structure
describes **one** network. A batch of networks stacks each array along a new first axis (``prepare.stack``), and a
kernel takes the slices of network ``e`` with ``network_at`` and ``memory_at``. A ``Network`` is never changed once it
is made, so threads share it; what kernels write lies in the ``Scratch`` of their thread, in the ``Memory`` and the
columns of the network they work on, and nowhere else. What is used as an index is unsigned
where it lies in hot columns: a signed one costs a test for Python's negative indices at every use.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int32, Int64, Records, UInt8, UInt32, UInt64
from lnsim_gym.compiled import inlined

__all__ = [
    "MANY_NODES",
    "Gossip",
    "HopRows",
    "Knowledge",
    "Limits",
    "Links",
    "Memory",
    "Network",
    "OutcomeRow",
    "Outcomes",
    "Parts",
    "Scratch",
    "Settings",
    "Terms",
    "Workspace",
    "linked_network_at",
    "memory_at",
    "network_at",
    "quiet",
]


MAX_BOUND_HOPS: Final = 32
"""Hop distances from here on count as this many in the search's lower bound."""
UNREACHABLE: Final = 255
"""Hop distance of a node that no route reaches."""
MANY_NODES: Final = 50
"""In networks of more nodes a payment is first attempted, then looked over for a route that can carry it, and a search
that found nothing is widened by and by."""

POLICY: Final = np.dtype(
    [
        ("max_htlc_msat", np.int64),
        ("min_htlc_msat", np.int64),
        ("fee_base_msat", np.int64),
        ("fee_rate_ppm", np.int64),
        ("time_lock", np.int64),  # blocks
        ("capacity_msat", np.int64),
        ("keep_msat", np.int64),  # part of the balance that an idle channel end cannot spend
        ("need_msat", np.int64),  # balance of the other end below which only dust can be sent; 0 for the initiator
    ],
    align=True,
)
"""What there is to know of a direction: 64 bytes, a cache line."""
INBOUND: Final = np.dtype([("fee_base_msat", np.int64), ("fee_rate_ppm", np.int64)], align=True)
"""What the sending node of a direction charges for what arrives over the reverse one."""
COMMITMENT: Final = np.dtype(
    [
        ("fee_per_kw", np.int64),
        ("reserve_msat", np.int64),
        ("dust_below_msat", np.int64),  # initiator's balance below which the peer of an idle channel can send only dust
    ],
    align=True,
)
"""What there is to know of a channel."""
LABEL: Final = np.dtype(
    [
        ("stamp", np.int64),  # search that the rest belongs to
        ("distance", np.int64),
        ("weight", np.int64),
        ("received_msat", np.int64),  # what the node must get
        ("probability", np.float64),
        ("direction", np.uint64),  # the path's first
        ("lock", np.int64),  # blocks of time lock from the node to the target, plus 2^32 for each hop
        ("key", np.int64),  # place in the queue; -1 once expanded or never queued
    ],
    align=True,
)
"""Best known path from a node to the target of a search: a cache line."""
ENTRY: Final = np.dtype([("key", np.int64), ("node", np.uint64)], align=True)
"""A node to expand."""
RECORD: Final = np.dtype(
    [
        ("next", np.int32),  # 1 + the next known direction of the same node, or 0
        ("slot", np.int32),  # 1 + place in the sender's memory, or 0
        ("success_msat", np.int64),  # largest amount known to pass
        ("failure_msat", np.int64),  # smallest amount known to fail
        ("failure_ms", np.int64),  # when it failed, or -1
    ],
    align=True,
)
"""What a sender knows of a direction."""


class Terms(NamedTuple):
    """What a policy says, as plain numbers, in the words of ``POLICY`` and ``INBOUND``."""

    fee_base_msat: Any
    fee_rate_ppm: Any
    time_lock: Any  # blocks
    min_htlc_msat: Any
    max_htlc_msat: Any
    inbound_fee_base_msat: Any
    inbound_fee_rate_ppm: Any
    disabled: Any  # 1 or 0


TERMS: Final = np.dtype([(name, np.int64) for name in Terms._fields], align=True)
"""The same in an array: a cache line."""
CHANGE: Final = np.dtype(
    [
        ("direction", np.int64),
        ("heard_ms", np.int64),  # when the peers of the node that announces it hear of it; ``NEVER`` if they do not
        ("key", np.uint64),  # start of the stream that its further delays are drawn from
    ],
    align=True,
)
"""A change of a policy."""
NEVER: Final = 2**62
"""Stands for the time of what does not happen, in ms."""
SPREAD: Final = np.dtype(
    [
        ("latest", np.int64),  # number of the direction's last change, or 0
        ("settled", np.int64),  # number of its last change that everybody has heard of, or 0
        ("heard_ms", np.int64),  # of its last change
        ("debt_ms", np.int64),  # time until receivers would take as many changes in a row as ever, at ``debt_at_ms``
        ("debt_at_ms", np.int64),
    ],
    align=True,
)
"""How the changes of a direction spread."""

# Entries of ``Gossip.numbers``.
DONE: Final = 0
"""Changes up to this number everybody has heard of, or of a later one of the same direction."""
COUNT: Final = 1
"""Number of the last change."""

# Entries of ``Gossip.delays``, all in ms.
TRICKLE: Final = 0
SUB_BATCH: Final = 1
BURST: Final = 2
"""Updates that receivers take in a row, times the interval."""
INTERVAL: Final = 3
FARTHEST: Final = 4
"""Most time from ``heard_ms`` until the last node hears of a change."""

# Entries of ``Knowledge.counter``.
KNOWN: Final = 0
"""Number of known directions."""
BOOSTED: Final = 1
"""1 when some direction away from the sender may be more likely to succeed than an untried one."""
UNHEARD: Final = 2
"""Length of the list ``Knowledge.unheard``."""


class Gossip(NamedTuple):
    """Changes of policies that not every sender has heard of; without rows where all hear of them at once.

    Change ``n`` lies in row ``n % changes``. Its rules are in ``gossip``.
    """

    change: Records  # (changes,) CHANGE
    before: Records  # (changes,) TERMS that a change replaced
    after: Records  # (changes,) TERMS that it set
    told: UInt64  # (changes, nodes / 64) a bit for each sender that heard of it by a failure
    spread: Records  # (directions,) SPREAD
    numbers: Int64  # (2,) DONE, COUNT
    key: UInt64  # (1,) start of the episode's stream
    delays: Int64  # (5,) TRICKLE, SUB_BATCH, BURST, INTERVAL, FARTHEST


class Links(NamedTuple):
    """What a network has that not every network has: parallel channels, inbound fees, disabled directions, gossip.

    A plain network has none of it (``None`` in ``Network``, empty columns in a stack), and code for plain networks is
    compiled without it. Where there are links, the incoming directions of a node lie grouped by their sending node.
    """

    inbound: Records  # (directions,) INBOUND
    disabled: UInt8  # (directions,) 1 where other senders leave the direction out
    pair: UInt32  # (directions,) first direction with the same two nodes: stands for the directed pair of nodes
    place: UInt32  # (directions,) where the directions of its pair begin in ``Network.incoming``
    parallel: UInt32  # (directions,) how many directions its pair has
    gossip: Gossip


class Network(NamedTuple):
    """A topology as the engine reads it. Incoming directions lie grouped by receiving node."""

    first_incoming: UInt32  # (nodes + 1,) offsets into the two columns below
    neighbour: UInt32  # (directions,) sending node of each incoming direction
    incoming: UInt32  # (directions,) that direction
    source: UInt32  # (directions,) sending node, by direction
    destination: UInt32  # (directions,) receiving node, by direction
    policy: Records  # (directions,) POLICY
    commitment: Records  # (channels,) COMMITMENT
    hops: UInt8  # (nodes, nodes) hops from each sender; (0, nodes) in networks that leave them to ``HopRows``
    variant: Any  # place in the stack, an integer; 0 outside one
    links: Any  # ``Links``, or None in a plain network


class HopRows(NamedTuple):
    """Hops from senders of large networks, filled in when a sender needs them; without rows for small networks.

    Sender ``s`` of variant ``v`` has the number ``v * nodes + s``, and the row of that number modulo the rows.
    """

    hops: UInt8  # (rows, nodes)
    owner: Int64  # (rows,) 1 + number of the sender whose hops the row holds, or 0


class Knowledge(NamedTuple):
    """What the sender of the current payment knows of directions; empty between payments."""

    first: Int32  # (nodes,) 1 + first direction out of the node that is known, or 0
    record: Records  # (directions,) RECORD
    known: UInt32  # (directions,) the known directions, in the order learned
    counter: Int64  # (3,) KNOWN, BOOSTED, UNHEARD
    chance_ms: Int64  # (directions,) when the pair was last given a second chance, or -1; (0,) in plain networks
    draws: UInt64  # (2,) state of the stream that forwarders draw from among parallel channels, and its start
    unheard: Int64  # (changes,) directions with a policy that the sender has not heard of
    shown: Int32  # (directions,) 1 + row of the change before which the sender knows the policy, or 0; else (0,)


class Parts(NamedTuple):
    """The parts of the current payment that are under way, in the order they were sent."""

    route: UInt32  # (MAX_PARTS, MAX_ROUTE_HOPS)
    sent: Int64  # (MAX_PARTS, MAX_ROUTE_HOPS) msat over each hop
    lock: Int64  # (MAX_PARTS, MAX_ROUTE_HOPS) as ``Workspace.lock``; used with links only
    hops: Int32  # (MAX_PARTS,)
    reached: Int32  # (MAX_PARTS,) hops that hold its HTLC
    refused: Int32  # (MAX_PARTS,) position of the node that refused it
    failure: Int32  # (MAX_PARTS,) why, see ``forwarding``
    told: Int64  # (MAX_PARTS,) direction whose policy the failure tells, or -1
    stage: Int32  # (MAX_PARTS,) QUEUED, FORWARDING, RETURNING, RETURNED or ARRIVED, see ``parts``
    next_ms: Int64  # (MAX_PARTS,) when the next thing happens to it; once back, when it was


class Workspace(NamedTuple):
    """What searches and attempts work on."""

    label: Records  # (nodes,) LABEL
    queue: Records  # (directions + 1,) ENTRY: binary heap
    searches: Int64  # (1,) how many there were
    route: UInt32  # (MAX_ROUTE_HOPS,) directions of the route found last
    sent: Int64  # (MAX_ROUTE_HOPS,) msat over each of them
    lock: Int64  # (MAX_ROUTE_HOPS,) blocks that the forwarder into each of them is given; used with links only
    outbound_fee_msat: Int64  # (nodes,) with links: what the node of a ``LABEL`` charges into its direction; else (0,)
    knowledge: Knowledge
    hop_rows: HopRows
    attempt_cost: Int64  # (2,) what a failed attempt counts as much as: msat, and millionths of the amount
    htlcs: Int32 | None  # (channels,) non-dust HTLCs in flight; None, for code that need not look, when there are none


@inlined
def quiet(work: Any) -> Any:
    """Return the working space of a payment that meets no HTLCs in flight."""
    return Workspace(
        work.label,
        work.queue,
        work.searches,
        work.route,
        work.sent,
        work.lock,
        work.outbound_fee_msat,
        work.knowledge,
        work.hop_rows,
        work.attempt_cost,
        None,
    )


class Scratch(NamedTuple):
    """Working space of one thread, for any network of one stack. Never share it between threads.

    Between calls its content means nothing, but for the hops that ``HopRows`` keeps: they hold for that stack only.
    """

    work: Workspace
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
    chance_ms: Int64  # (records,); (0,) in plain networks
    used: Int64  # (1,) records in use
    draws: UInt64  # (1,) state of the stream that the streams of payments start from


class Settings(NamedTuple):
    """How payments are sent, as plain numbers."""

    fee_limit_base_sat: int
    fee_limit_ppm: int
    max_parts: int
    timeout_ms: int
    counts_attempts: int  # 1, or 0 to leave those of unroutable payments ``UNCOUNTED``, see ``reach``
    drawn_times: int = 0  # 1 to draw what the parts of a payment take, see ``parts``; else it is always the same


class Limits(NamedTuple):
    """What bounds one payment, and what is to be kept of it; made by ``payments``."""

    fee_msat: Any
    timeout_ms: Any
    now_ms: Any
    max_parts: Any
    counts_attempts: Any  # as in ``Settings``
    remembers: Any  # whether the sender keeps what it learns
    drawn_times: Any  # as in ``Settings``


class Outcomes(NamedTuple):
    """Columns of ``PaymentOutcomes`` for one network; row ``i`` is filled by payment ``i``."""

    succeeded: npt.NDArray[np.bool_]  # (payments,)
    failure_reason: Int32  # (payments,)
    attempts: Int32  # (payments,)
    fee_msat: Int64  # (payments,)
    parts: Int32  # (payments,)
    part_amount_msat: Int64  # (payments, max_parts)
    part_route: Int32  # (payments, max_parts, MAX_ROUTE_HOPS)
    part_hop_msat: Int64  # (payments, max_parts, MAX_ROUTE_HOPS); (payments, max_parts, 0) without links
    earned_msat: Int64  # (nodes,) forwarding fees by node, added to; (0,) when earnings are not counted
    forwards: Int64  # (channels of the watched node, FORWARD_COUNTS) see ``forwards``; without rows where none is
    watched: Any  # the node whose forwards are counted, an integer


class OutcomeRow(NamedTuple):
    """Where the outcome of one payment goes."""

    columns: Outcomes
    index: Any


@inlined
def network_at(networks: Any, index: Any, policies: Any) -> Any:
    """Return one plain network of a stack, without copying; ``policies`` is the row of its routing policies."""
    return _network_with(networks, index, policies, None)


@inlined
def linked_network_at(networks: Any, index: Any, policies: Any) -> Any:
    """Return one network of a stack whose networks have links, as ``network_at`` does."""
    links = networks.links
    gossip = links.gossip
    own_gossip = Gossip(
        gossip.change[policies],
        gossip.before[policies],
        gossip.after[policies],
        gossip.told[policies],
        gossip.spread[policies],
        gossip.numbers[policies],
        gossip.key[policies],
        gossip.delays[index],
    )
    own_links = Links(
        links.inbound[policies],
        links.disabled[policies],
        links.pair[index],
        links.place[index],
        links.parallel[index],
        own_gossip,
    )
    return _network_with(networks, index, policies, own_links)


@inlined
def _network_with(networks: Any, index: Any, policies: Any, links: Any) -> Any:
    """Return one network of a stack with the links given, which are its own or None."""
    return Network(
        networks.first_incoming[index],
        networks.neighbour[index],
        networks.incoming[index],
        networks.source[index],
        networks.destination[index],
        networks.policy[policies],
        networks.commitment[index],
        networks.hops[index],
        networks.variant[index],
        links,
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
        memories.chance_ms[index],
        memories.used[index],
        memories.draws[index],
    )
