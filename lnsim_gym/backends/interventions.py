"""What a task may do to a network besides paying over it, and what became of it: the same words on every backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.network import Policy, Topology
from lnsim_gym.network.routes import earn, hop_amounts_msat
from lnsim_gym.payments import RebalanceResult

__all__ = [
    "BalanceChange",
    "Intervention",
    "PolicyChange",
    "Rebalance",
    "StatusChange",
    "balances_after",
    "earnings",
    "settle",
    "topology_after",
]


@dataclass(frozen=True, slots=True)
class Rebalance:
    """An amount that was sent over a pinned route."""

    route: tuple[int, ...]
    """Direction indices in order from the paying node."""
    amount_msat: int
    """Amount asked for."""
    result: RebalanceResult
    """What became of it."""

    @property
    def carried_by(self) -> tuple[int, ...]:
        """Directions that it went over: those of ``route``, or what forwarders chose beside them."""
        return self.result.carried_by or self.route

    def hop_msat(self, topology: Topology) -> Sequence[int]:
        """Return what went over each hop in msat, given the network with the policies that it had."""
        return self.result.hop_msat or hop_amounts_msat(topology, self.route, self.result.applied_msat)


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A routing policy that a node announced for one of its channel ends."""

    direction: int
    """Direction that the policy is for."""
    policy: Policy
    """The policy from now on."""


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A balance of a channel, moved by what is not simulated: others' doings, or a transaction on the chain."""

    channel: int
    """Channel index."""
    initiator_msat: int
    """What its initiator has from now on."""
    peer_msat: int | None = None
    """What its peer has; by default the rest of what the channel held."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A channel end that went out of use or came back, its policy being what it was."""

    direction: int
    """Direction that the end sends in."""
    disabled: bool
    """Whether senders leave it out from now on."""


Intervention = Rebalance | PolicyChange | BalanceChange | StatusChange


def balances_after(topology: Topology, balances_msat: Int64, interventions: tuple[Intervention, ...]) -> Int64:
    """Return the balances after interventions, as a fresh array of shape (channels, 2).

    Args:
        topology: The network with the policies that it had before them.
        balances_msat: Balances before them, shape (channels, 2), initiator first.
        interventions: What was done, in order.
    """
    after = balances_msat.copy()
    for done, now in _moves(topology, interventions):
        if isinstance(done, BalanceChange):
            rest_msat = after[done.channel].sum() - done.initiator_msat
            after[done.channel] = done.initiator_msat, rest_msat if done.peer_msat is None else done.peer_msat
        elif done.result.applied_msat:
            settle(now, after.reshape(-1), done.carried_by, done.result.applied_msat, done.hop_msat(now))
    return after


def _moves(
    topology: Topology, interventions: Sequence[Intervention]
) -> Iterator[tuple[Rebalance | BalanceChange, Topology]]:
    """Yield what moved balances, with the network as it then was; policies matter to rebalances only."""
    changes: dict[int, Policy] = {}
    for done in interventions:
        _note_policies(changes, topology, done)
        if isinstance(done, PolicyChange | StatusChange):
            continue
        if isinstance(done, Rebalance) and changes:
            topology, changes = topology.with_policies(changes), {}
        yield done, topology


def topology_after(topology: Topology, interventions: tuple[Intervention, ...]) -> Topology:
    """Return a topology with the policies that it has after interventions; the same one when none changed."""
    changes: dict[int, Policy] = {}
    for done in interventions:
        _note_policies(changes, topology, done)
    return topology.with_policies(changes)


def _note_policies(changes: dict[int, Policy], topology: Topology, done: Intervention) -> None:
    """Note the policies that an intervention changes, after those already noted of a topology."""
    if isinstance(done, PolicyChange):
        changes[done.direction] = done.policy
    elif isinstance(done, StatusChange):
        known = changes.get(done.direction) or topology.policy(done.direction)
        changes[done.direction] = msgspec.structs.replace(known, disabled=done.disabled)


def earnings(topology: Topology, interventions: tuple[Intervention, ...]) -> Int64:
    """Return what each node earned by forwarding rebalances, in msat, shape (nodes,); ``topology`` as it was before."""
    earned_msat = np.zeros(len(topology.nodes), np.int64)
    for done, now in _moves(topology, interventions):
        if isinstance(done, Rebalance) and done.result.applied_msat:
            earn(now, earned_msat, done.route, done.hop_msat(now))
    return earned_msat


def settle(
    topology: Topology, flat_msat: Int64, route: tuple[int, ...], amount_msat: int, hop_msat: Sequence[int] = ()
) -> None:
    """Move the HTLC amounts of a settled route, in place.

    Args:
        topology: Whose policies apply.
        flat_msat: Balances in direction order, shape (directions,).
        route: Direction indices in order from the paying node.
        amount_msat: Amount that arrived.
        hop_msat: Amount over each hop; by default what the policies make of the amount that arrived.
    """
    for direction, moved_msat in zip(route, hop_msat or hop_amounts_msat(topology, route, amount_msat), strict=True):
        flat_msat[direction] -= moved_msat
        flat_msat[direction ^ 1] += moved_msat
