"""The own channels as an environment numbers them and as their owner knows them, and changes as its decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Policy
from lnsim_gym.network.names import printable
from lnsim_gym.own_node.advice.changes import LEVERS, Change, Priced, Refill, Repricing
from lnsim_gym.own_node.reading.channels import Channel
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.tasks.operator.features import KEEP
from lnsim_gym.tasks.operator.task import OperatorTask

__all__ = ["FIRST_ALIAS_BLOCK", "Board", "Held"]

FIRST_ALIAS_BLOCK: Final = 16_000_000
"""Block of the first alias that LND gives to channels which were never announced; real ones are far below."""
_LONGEST_NAME: Final = 32


class Held(NamedTuple):
    """A channel of the own node."""

    place: int
    """Its place in the environment."""
    chan_id: int
    """Short channel id."""
    point: str
    """Funding transaction and output."""
    peer: str
    """What the peer calls itself in printable characters, else its public key."""
    peer_key: str
    policy: Policy
    """What the own node announces."""
    capacity_sat: int
    local_sat: int
    is_active: bool

    @property
    def local(self) -> float:
        """Share of the capacity that the own node holds."""
        return self.local_sat / max(self.capacity_sat, 1)

    @property
    def priced(self) -> Priced:
        """The channel with its policy."""
        return Priced(chan_id=self.chan_id, point=self.point, policy=self.policy)


class Board:
    """The channels of a node, in the order of its environment.

    Args:
        node: The node.
        problem: That of its environment.
    """

    def __init__(self, node: OwnNode, problem: Problem) -> None:
        assert isinstance(problem.task, OperatorTask)
        self.task = problem.task
        known = {channel.number: channel for channel in node.channels}
        topology = problem.topology
        blocks = ((channel.chan_id or 0) >> 40 for channel in topology.channels)
        self.newest_block = max((block for block in blocks if block < FIRST_ALIAS_BLOCK), default=0)
        """Block of the youngest channel of the graph."""
        self.channels: list[Held] = []
        for place, direction in enumerate(self.task.out.tolist()):
            number = topology.channels[direction // 2].chan_id or 0
            peer_key = topology.public_keys[topology.arrays.destination[direction]] if topology.public_keys else ""
            unlisted = Channel(remote_pubkey=peer_key, capacity=0, local_balance=0, remote_balance=0, active=False)
            told = known.get(number, unlisted)  # the graph may still hold a channel that is being closed
            policy = topology.policy(direction)
            ceiling_msat = int(topology.arrays.max_htlc_msat[direction])
            self.channels.append(
                Held(
                    place=place,
                    chan_id=number,
                    point=told.channel_point,
                    peer=printable(told.peer_alias)[:_LONGEST_NAME] or told.remote_pubkey,
                    peer_key=told.remote_pubkey,
                    policy=msgspec.structs.replace(policy, max_htlc_msat=policy.max_htlc_msat or ceiling_msat),
                    capacity_sat=told.capacity,
                    local_sat=told.local_balance,
                    is_active=told.active,
                )
            )

    @cached_property
    def peers(self) -> dict[str, list[Held]]:
        """Channels by the public key of the peer."""
        groups: dict[str, list[Held]] = {}
        for channel in self.channels:
            groups.setdefault(channel.peer_key, []).append(channel)
        return groups

    @cached_property
    def places(self) -> dict[int, int]:
        """Places by short channel id."""
        return {channel.chan_id: channel.place for channel in self.channels}

    def decision(self, changes: Iterable[Change]) -> Int64:
        """Return the decision that makes some changes, shape (len(Task.decision),).

        Raises:
            ConfigError: They hold more refills than the environment makes at once.
        """
        parts = self.task.actions.idle(1)
        refills = 0
        for change in changes:
            match change:
                case Repricing():
                    for chan_id in change.chan_ids:
                        for name, value in change.to.items():
                            parts.policies[0, self.places[chan_id], LEVERS.index(name)] = value
                case Refill():
                    if refills == parts.rebalances.shape[1]:
                        raise ConfigError(f"expected {refills} refills at most: raise rebalances_per_step")
                    ends = self.places[change.leave_chan_id], self.places[change.chan_id]
                    parts.rebalances[0, refills] = (*ends, 1000 * change.amount_sat, int(change.limit_ppm))
                    refills += 1
        whole: Int64 = parts.whole[0]
        return whole

    def changes(self, decision: Int64, who: str) -> list[Change]:
        """Split a decision into single changes; swaps, which need a service, are left out.

        Args:
            decision: Shape (len(Task.decision),).
            who: Who made it, for the reasons.
        """
        parts = self.task.actions.parts_of(decision[None])
        found: list[Change] = []
        for group in self.peers.values():
            alike: dict[tuple[tuple[str, int], ...], list[Held]] = {}
            for held in group:
                if to := self._numbers(parts.policies[0, held.place].tolist(), held.policy):
                    alike.setdefault(to, []).append(held)
            found += [self.repricing(some, dict(to), f"{who} says so") for to, some in alike.items()]
        for leave, back, amount_msat, limit_ppm in parts.rebalances[0].tolist():
            if leave >= 0 and leave != back and amount_msat > 0:
                ends = self.channels[leave], self.channels[back]
                amount_sat = amount_msat // 1000
                found.append(self.refill(*ends, amount_sat, amount_sat * limit_ppm // 1_000_000, f"{who} says so"))
        return found

    @staticmethod
    def _numbers(numbers: Sequence[int], policy: Policy) -> tuple[tuple[str, int], ...]:
        """Return the numbers of a decision that differ from a policy."""
        pairs = zip(LEVERS, numbers, strict=True)
        return tuple((name, number) for name, number in pairs if number not in (KEEP, getattr(policy, name)))

    @staticmethod
    def repricing(channels: Sequence[Held], to: dict[str, int], why: str = "") -> Repricing:
        """Return new numbers for channels to one peer."""
        return Repricing(peer=channels[0].peer, channels=tuple(one.priced for one in channels), to=to, why=why)

    @staticmethod
    def refill(leave: Held, back: Held, amount_sat: int, limit_sat: int, why: str = "") -> Refill:
        """Return a refill of one channel out of another."""
        return Refill(
            peer=back.peer,
            peer_key=back.peer_key,
            chan_id=back.chan_id,
            leave_chan_id=leave.chan_id,
            leave_key=leave.peer_key,
            local_sat=back.local_sat,
            leave_local_sat=leave.local_sat,
            amount_sat=amount_sat,
            limit_sat=limit_sat,
            why=why,
        )

    def places_of(self, change: Change) -> Int64:
        """Return the places of the channels that a change touches."""
        return np.array([self.places[chan_id] for chan_id in change.chan_ids], np.int64)
