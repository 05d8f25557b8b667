"""What is done to a network of real nodes and what becomes of it, deed by deed.

``record`` pays, rebalances and changes policies at random. Each deed says all that a model needs to make it again by
itself: the network with the policies of that moment, and the balances before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.base import Backend
from lnsim_gym.benchmarks.parity.drawing import public_policy, random_amount_msat, random_policy, random_route
from lnsim_gym.network import Topology
from lnsim_gym.network.routes import hop_amounts_msat, settled_hops
from lnsim_gym.payments import FailureReason, PaymentBatch

__all__ = ["Deed", "Outcome", "balance_pairs", "record"]

CHANGED_AT_ONCE: Final = 2
"""Policies that change at a time."""
LEAST_SPLIT_MSAT: Final = 20_000_000
"""Least amount that LND splits."""


class Outcome(NamedTuple):
    """What became of a payment or a rebalance."""

    reason: str
    """Name of a ``FailureReason`` or ``RebalanceReason``."""
    attempts: int
    """HTLCs sent out; of rebalances the position on the route of the node that refused, -1 when none did."""
    fee_msat: int
    parts: tuple[tuple[int, tuple[int, ...]], ...]
    """Of each settled part what it delivered, and the directions that carried it."""
    after_msat: tuple[tuple[int, int], ...]
    """Balances after it."""


@dataclass(frozen=True)
class Deed:
    """A payment, or a rebalance where ``route`` is given."""

    topology: Topology
    """With the policies of that moment."""
    before_msat: Int64
    """Balances before it, shape (channels, 2)."""
    amount_msat: int
    source: int = -1
    destination: int = -1
    route: tuple[int, ...] = ()
    changed: bool = False
    """Whether policies had changed since the network came up."""
    seen: Outcome | None = None
    """What real nodes made of it."""
    carried: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    """Of each settled part the directions that carried it, and the HTLC amount in msat on each of them."""

    @property
    def done(self) -> Outcome:
        """What real nodes made of it.

        Raises:
            ValueError: It was not done.
        """
        if self.seen is None:
            raise ValueError(f"expected a deed that was done, got {self}: take those that record() yields")
        return self.seen

    @property
    def batch(self) -> PaymentBatch:
        """The payment as a batch of one."""
        return PaymentBatch(*np.array([[self.source, self.destination, self.amount_msat, 0]], np.int64).T)

    def __str__(self) -> str:
        """Say what is done, in the words of the topology."""
        if self.route:
            nodes = self.topology.nodes_of(self.route)
            names = "-".join(self.topology.nodes[node] for node in nodes)
            return f"{self.amount_msat:,} msat sent over {names}, directions {self.route}"
        source, destination = self.topology.nodes[self.source], self.topology.nodes[self.destination]
        return f"{self.amount_msat:,} msat paid by {source} to {destination}"


def balance_pairs(balances_msat: Int64) -> tuple[tuple[int, int], ...]:
    """Return balances of shape (channels, 2) in a form that can be compared."""
    return tuple((int(initiator), int(peer)) for initiator, peer in balances_msat)


def record(
    rng: Random,
    live: Backend,
    count: int,
    *,
    change_every: int = 10,
    rebalance_every: int = 5,
    most_msat: int = 900_000_000,
) -> Iterator[Deed]:
    """Yield deeds done to an open network of real nodes, with what they saw; balances are held to LND's after each.

    Args:
        rng: Draws everything.
        live: An open backend of real nodes whose policies are its topology's. Where its payments go in several parts,
            amounts are about what sender and receiver can carry, and there are no rebalances.
        count: Number of deeds.
        change_every: Deeds from one change of two policies to the next.
        rebalance_every: Payments from one rebalance to the next.
        most_msat: Largest amount of payments in one part and of rebalances.
    """
    topology = live.topology
    split = live.options.max_parts > 1
    for number in range(count):
        if number % change_every == change_every - 1:
            topology = _change_policies(rng, live, topology)
        deed = Deed(topology, live.balances_msat(), 0, changed=number >= change_every - 1)
        if not split and number % rebalance_every == rebalance_every - 1:
            deed = replace(deed, route=random_route(rng, topology), amount_msat=random_amount_msat(rng, most_msat))
        else:
            source, destination = rng.sample(range(len(topology.nodes)), 2)
            deed = replace(deed, source=source, destination=destination)
            amount_msat = _amount_to_split(rng, deed) if split else random_amount_msat(rng, most_msat)
            deed = replace(deed, amount_msat=amount_msat)
        yield _do(deed, live)


def _change_policies(rng: Random, live: Backend, topology: Topology) -> Topology:
    """Announce other policies of a few directions, and return the topology with them."""
    for direction in rng.sample(range(2 * len(topology.channels)), CHANGED_AT_ONCE):
        capacity_sat = topology.channels[direction // 2].capacity_sat
        plain = live.topology.is_plain
        policy = random_policy(rng, capacity_sat, True) if plain else public_policy(rng, capacity_sat)
        live.set_policy(direction, policy)
        topology = topology.with_policy(direction, policy)
    return topology


def _amount_to_split(rng: Random, deed: Deed) -> int:
    """Draw an amount that takes several channels of the sender or the receiver, a little too large at times."""
    arrays = deed.topology.arrays
    spendable_msat = deed.topology.spendable_msat(deed.before_msat).reshape(-1)
    leaving_msat = int(spendable_msat[arrays.source == deed.source].sum())
    arriving_msat = int(spendable_msat[arrays.destination == deed.destination].sum())
    share = rng.choice([rng.uniform(0.05, 0.5), rng.uniform(0.3, 1.02)])
    return max(int(share * min(leaving_msat, arriving_msat)), LEAST_SPLIT_MSAT)


def _do(deed: Deed, live: Backend) -> Deed:
    """Do a deed on real nodes, whose balances and policies are the deed's, and return it with what they made of it."""
    if deed.route:
        result = live.rebalance(deed.route, deed.amount_msat)
        carried: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
        if result.applied_msat:
            sent_msat = hop_amounts_msat(deed.topology, deed.route, result.applied_msat)
            carried = ((result.carried_by or deed.route, tuple(sent_msat)),)
        reason, attempts, fee_msat = result.reason.name, result.failure_source_index, result.fee_msat
    else:
        outcomes = live.pay(deed.batch)
        hops = settled_hops(deed.topology, outcomes, 0)
        carried = tuple((route, tuple(int(each) for each in sent_msat)) for route, sent_msat in hops)
        reason = FailureReason(int(outcomes.failure_reason[0])).name
        attempts, fee_msat = int(outcomes.attempts[0]), int(outcomes.fee_msat[0])
    parts = tuple(sorted((sent_msat[-1], route) for route, sent_msat in carried))
    seen = Outcome(reason, attempts, fee_msat, parts, balance_pairs(live.balances_msat()))
    return replace(deed, seen=seen, carried=carried)
