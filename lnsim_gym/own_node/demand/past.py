"""What a node held and asked at any time, as far as its history tells: run backwards from the day of its import."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Float64, Int64, UInt64
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.limits import least_initiator_sat
from lnsim_gym.network.topology import unconnected_is_fine
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.own_node.reading.history import SECOND_NS, Failures, Forwards, Refills

__all__ = ["Past", "around_own"]

_TELLING_MSAT: Final = 1_000_000
"""Least forward whose fee tells a rate: rounding to a msat then hides no more than 1 ppm. One without a fee tells none
where there is a discount, which may have eaten it."""

_RETRY_NS: Final = 60 * SECOND_NS
"""Time in which a payment that failed is tried again: LND's default timeout of a payment."""


def around_own(topology: Topology, own: str, nodes: int) -> Topology:
    """Return the part of a network that matters to a node: itself, its peers, and the largest nodes.

    Args:
        topology: The network.
        own: The node, by name.
        nodes: How many nodes to keep; all where there are no more.
    """
    if len(topology.nodes) <= nodes:
        return topology
    arrays, place = topology.arrays, topology.node_index[own]
    rank = topology.node_capacity_sat.copy()
    rank[arrays.destination[arrays.source == place]] = np.inf
    rank[place] = np.inf
    least = min(np.sort(rank)[-nodes], np.finfo(np.float64).max)
    keeps = rank >= least
    kept = [index for index, keep in enumerate(keeps.tolist()) if keep]
    both = keeps[topology.ends].all(axis=1)

    def some(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names[index] for index in kept) if names else ()

    with unconnected_is_fine():
        return msgspec.structs.replace(
            topology,
            nodes=some(topology.nodes),
            channels=tuple(topology.channels[index] for index in np.flatnonzero(both).tolist()),
            public_keys=some(topology.public_keys),
            aliases=some(topology.aliases),
        )


class Past:
    """What a node held in each channel, and asked for it, at any time before its import.

    Own payments, invoices, openings and swaps are not among the events, so that balances are cut to what the channels
    can hold. The rate of a channel is what its nearest forward in time paid, the present one after half of the time
    since its last one.

    Args:
        node: The node.
        topology: A network in which it is.

    Raises:
        ConfigError: It has fewer than two channels there.
    """

    def __init__(self, node: OwnNode, topology: Topology) -> None:
        if node.name not in topology.node_index:
            raise ConfigError(f"{node.name!r} is not in the network: give the network.json of its own folder")
        self.node, self._told = node, topology
        arrays = topology.arrays
        self.own = topology.node_index[node.name]
        """Index of the node."""
        self.out: Int64 = np.flatnonzero(arrays.source == self.own).astype(np.int64)
        """Directions out of it, one for each channel, as ``OperatorTask.out`` has them."""
        if len(self.out) < 2:
            raise ConfigError(f"{node.name!r} has {len(self.out)} channels in the network, and needs at least 2")
        self.peers: Int64 = arrays.destination[self.out].astype(np.int64)
        """Node index of the peer of each channel."""
        self.numbers: UInt64 = np.array(
            [topology.channels[one // 2].chan_id or 0 for one in self.out.tolist()], np.uint64
        )
        """Short channel id of each channel."""

    @cached_property
    def topology(self) -> Topology:
        """The network, own channels that carried something being enabled, whoever is offline today."""
        told = self._told
        carried = np.isin(self.numbers, np.concatenate([self.node.forwards.chan_in, self.node.forwards.chan_out]))
        ends = [direction ^ end for direction in self.out[carried].tolist() for end in (0, 1)]
        with unconnected_is_fine():
            return told.with_policies({end: msgspec.structs.replace(told.policy(end), disabled=False) for end in ends})

    @property
    def end_ns(self) -> int:
        """When the history ends, in ns since 1970."""
        last = [int(events.time_ns[-1]) for events in (self.node.forwards, self.node.refills) if len(events)]
        return max([self.node.imported_ns, *last])

    @cached_property
    def forwards(self) -> Forwards:
        """Forwards that came and went over channels that are still there, and not to the peer whence they came."""
        told = self.node.forwards
        known = np.isin(told.chan_in, self.numbers) & np.isin(told.chan_out, self.numbers)
        told = told.keep(known)
        return told.keep(self.peers[self.places(told.chan_in)] != self.peers[self.places(told.chan_out)])

    @cached_property
    def refused(self) -> Failures:
        """Forwards over channels that are still there which failed as the own balance was too small, each once.

        A program that keeps no cause of failures does not tell: those count whose amount the channel did not hold then.
        What is refused within ``_RETRY_NS`` of another between the same peers is taken for the same payment tried
        again, and what settles between them as soon was served after all.
        """
        told = self.node.failures
        told = told.keep(np.isin(told.chan_in, self.numbers) & np.isin(told.chan_out, self.numbers))
        if not len(told):
            return told
        place = self.places(told.chan_out)
        held_msat = self.local_msat(told.time_ns)[np.arange(len(told)), place] - self._reserve_msat[place]
        is_dry = (told.is_dry == 1) | (held_msat < told.amount_msat.astype(np.int64))
        told = told.keep(is_dry & (self._pair(told) >= 0))
        pair, time_ns = self._pair(told), told.time_ns.astype(np.int64)
        settled_pair, settled_ns = self._pair(self.forwards), self.forwards.time_ns.astype(np.int64)
        is_first = np.ones(len(told), np.bool_)
        for each in np.unique(pair).tolist():
            which = np.flatnonzero(pair == each)
            is_first[which[1:]] = np.diff(time_ns[which]) > _RETRY_NS
            served_ns = np.append(settled_ns[settled_pair == each], np.iinfo(np.int64).max)
            is_first[which] &= served_ns[np.searchsorted(served_ns, time_ns[which])] - time_ns[which] > _RETRY_NS
        return told.keep(is_first)

    def _pair(self, told: Forwards | Failures) -> Int64:
        """Return the pair of peers of each event as a number, -1 where they are the same."""
        peer_in, peer_out = (self.peers[self.places(legs)] for legs in (told.chan_in, told.chan_out))
        return np.where(peer_in == peer_out, -1, peer_in * len(self.topology.nodes) + peer_out)

    @property
    def _reserve_msat(self) -> Int64:
        """What the node must keep in each channel."""
        return self.topology.arrays.reserve_msat[self.out // 2].astype(np.int64)

    def sellable_msat(self, time_ns: Any) -> Int64:
        """Return what the node could send on at some times over one channel at most, by peer.

        Args:
            time_ns: Times in ns since 1970, shape (times,).

        Returns:
            Msat, shape (times, peers), peers in the order of their node indices.
        """
        free_msat = self.local_msat(time_ns) - self._reserve_msat
        peers = np.unique(self.peers)
        return np.stack([free_msat[:, self.peers == peer].max(axis=1) for peer in peers], axis=1)

    @cached_property
    def refills(self) -> Refills:
        """Refills of channels that are still there."""
        told = self.node.refills
        return told.keep(np.isin(told.chan_in, self.numbers) & np.isin(told.chan_out, self.numbers))

    def places(self, numbers: UInt64) -> Int64:
        """Return the places of channels among the own ones, by short channel ids that are known."""
        order = np.argsort(self.numbers)
        return order[np.searchsorted(self.numbers[order], numbers)]

    @cached_property
    def _held_msat(self) -> Int64:
        """What the node held in each channel when it was imported."""
        local = {channel.number: 1000 * channel.local_balance for channel in self.node.channels}
        return np.array([local.get(number, 0) for number in self.numbers.tolist()], np.int64)

    @cached_property
    def _moves(self) -> list[tuple[UInt64, Int64]]:
        """For each channel, when its balance changed, and by how much it has changed until then, in msat."""
        told, refills = self.node.forwards, self.node.refills
        time_ns = np.concatenate([told.time_ns, told.time_ns, refills.time_ns, refills.time_ns])
        number = np.concatenate([told.chan_in, told.chan_out, refills.chan_in, refills.chan_out])
        refilled_msat = refills.amount_msat.astype(np.int64)
        moved_msat = np.concatenate(
            [
                told.in_msat.astype(np.int64),
                -told.out_msat.astype(np.int64),
                refilled_msat,
                -refilled_msat - refills.fee_msat.astype(np.int64),
            ]
        )
        order = np.argsort(time_ns, kind="stable")
        moves = []
        for each in self.numbers:
            which = order[number[order] == each]
            moves.append((time_ns[which], np.concatenate([[0], np.cumsum(moved_msat[which])])))
        return moves

    def local_msat(self, time_ns: Any) -> Int64:
        """Return what the node held at some times.

        Args:
            time_ns: Times in ns since 1970, shape (times,).

        Returns:
            Msat, shape (times, channels).
        """
        times = np.asarray(time_ns, np.uint64)
        columns = []
        for held, (at, until) in zip(self._held_msat.tolist(), self._moves, strict=True):
            columns.append(held - until[-1] + until[np.searchsorted(at, times, side="right")])
        most_msat = self.topology.owned_total_msat[self.out // 2]
        held_msat: Int64 = np.clip(np.stack(columns, axis=1), 0, most_msat)
        return held_msat

    @cached_property
    def paid(self) -> list[tuple[UInt64, Int64]]:
        """For each channel, the forwards that left over it and tell a fee rate: times in ns, and these rates in ppm."""
        arrays, told = self.topology.arrays, self.node.forwards
        base_msat, now_ppm = arrays.fee_base_msat[self.out], arrays.fee_rate_ppm[self.out]
        known = np.isin(told.chan_in, self.numbers) & (told.out_msat >= _TELLING_MSAT)
        inbound_base, inbound_rate = np.zeros(len(known)), np.zeros(len(known))
        came = self.out[self.places(told.chan_in[known])]
        inbound_base[known] = arrays.inbound_fee_base_msat[came]
        inbound_rate[known] = arrays.inbound_fee_rate_ppm[came] / 1e6
        known &= (told.in_msat > told.out_msat) | ((inbound_base == 0) & (inbound_rate == 0))
        sent_msat = told.out_msat.astype(np.float64)
        fee_msat = told.in_msat.astype(np.float64) - sent_msat
        fee_msat = (fee_msat - inbound_base - inbound_rate * sent_msat) / (1 + inbound_rate)
        paid = []
        for place, number in enumerate(self.numbers):
            which = known & (told.chan_out == number)
            paid_ppm = np.maximum((fee_msat[which] - base_msat[place]) * 1e6 / sent_msat[which], 0)
            is_same = np.abs(paid_ppm - now_ppm[place]) <= 1 + 2e6 / sent_msat[which]
            paid_ppm = np.where(is_same, now_ppm[place], np.rint(paid_ppm))
            paid.append((told.time_ns[which], paid_ppm.astype(np.int64)))
        return paid

    @cached_property
    def _rates(self) -> list[tuple[Float64, Int64]]:
        """For each channel, times between its known fee rates, in ns, and these rates, one more, in ppm."""
        now_ppm = self.topology.arrays.fee_rate_ppm[self.out]
        rates = []
        for (time_ns, paid_ppm), ppm in zip(self.paid, now_ppm, strict=True):
            at = np.append(time_ns.astype(np.float64), float(self.end_ns))
            rates.append(((at[1:] + at[:-1]) / 2, np.append(paid_ppm, ppm).astype(np.int64)))
        return rates

    def fee_rate_ppm(self, time_ns: Any) -> Int64:
        """Return what the node asked at some times.

        Args:
            time_ns: Times in ns since 1970, shape (times,).

        Returns:
            Fee rates in ppm, shape (times, channels).
        """
        times = np.asarray(time_ns, np.float64)
        asked = [rates[np.searchsorted(between, times, side="right")] for between, rates in self._rates]
        return np.stack(asked, axis=1)

    def topology_at(self, time_ns: int) -> Topology:
        """Return the network with the own balances and fee rates of a time, in ns since 1970."""
        local_msat, rates_ppm = self.local_msat([time_ns])[0], self.fee_rate_ppm([time_ns])[0]
        topology = self._told if time_ns >= self.end_ns else self.topology
        channels = list(topology.channels)
        policies = {}
        for place, direction in enumerate(self.out.tolist()):
            index, side = divmod(direction, 2)
            whole_msat = int(self.topology.owned_total_msat[index])
            initiator_msat = int(local_msat[place]) if side == 0 else whole_msat - int(local_msat[place])
            channels[index] = msgspec.structs.replace(
                channels[index], initiator_balance_sat=self._allowed_sat(index, initiator_msat)
            )
            usual = topology.policy(direction)
            policies[direction] = msgspec.structs.replace(usual, fee_rate_ppm=int(rates_ppm[place]))
        with unconnected_is_fine():
            return msgspec.structs.replace(topology, channels=tuple(channels)).with_policies(policies)

    def _allowed_sat(self, index: int, initiator_msat: int) -> int:
        """Return the nearest start balance of an initiator that LND allows: the peer has nothing, or its reserve."""
        whole_sat = int(self.topology.owned_total_msat[index]) // 1000
        reserve_sat = -(-int(self.topology.arrays.reserve_msat[index]) // 1000)
        least_sat = int(least_initiator_sat(self.topology.arrays.capacity_sat[index]))
        initiator_sat = min(max(initiator_msat // 1000, least_sat), whole_sat)
        return initiator_sat if whole_sat - initiator_sat >= reserve_sat else whole_sat
