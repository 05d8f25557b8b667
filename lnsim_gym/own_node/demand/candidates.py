"""Who might pay whom through a node: pairs of nodes of which the cheapest route leads through two of its channels.

By the law of ``traffic.market``: senders and receivers by the square root of their capacity, and the more often the
more the best route around the node costs (their reservation fee), each with a fee limit of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.traffic import MarketTraffic
from lnsim_gym.traffic.market import costs_msat, hop_costs_msat

__all__ = ["Candidates", "draw_candidates"]

_LAW: Final = MarketTraffic()
_WORTH_PPM: Final = 300
"""As in ``traffic.market``: reservation fee up to which pairs are drawn the more often the more they would pay."""
_NEAR_PPM: Final = 100
"""What routes around may cost less where the node still gets payments, as they fail there."""
_NEAR_CHANCE: Final = 0.05
"""How often those are drawn, as a share of how often those of the greatest worth are."""
_TRIED: Final = 3
"""Detours that are drawn for each that is wanted, as some are drawn twice."""


class Candidates(NamedTuple):
    """Flows that there might be, with what is known of none: how often they pay."""

    sender: Int64  # (candidates,) node index
    receiver: Int64  # (candidates,) node index
    peer_in: Int64  # (candidates,) node index of the peer by which they would come
    peer_out: Int64  # (candidates,) node index of the peer by which they would go on
    level: Int64  # (candidates,) place of the amount among the levels
    median_sat: Float64  # (candidates,) median amount
    fee_limit_ppm: Int64  # (candidates,) what they pay in fees at most; no two of a pair have the same
    reservation_ppm: Float64  # (candidates,) what they would pay the node at most, by the fees of the graph
    by_detour: Bool  # (candidates,) whether no cheapest route leads by these peers, though forwards came so


def draw_candidates(
    topology: Topology,
    own: int,
    payment: PaymentOptions,
    amounts_sat: list[Float64],
    wanted: Int64,
    came: Bool,
    rng: np.random.Generator,
) -> Candidates:
    """Draw candidates for every pair of peers.

    Args:
        topology: The network.
        own: Index of the node.
        payment: How payments are sent.
        amounts_sat: Amounts that are paid, by levels; routes are compared at the median of each level.
        wanted: How many candidates each pair of peers gets at each level at most, shape (levels, peers, peers), peers
            in the order of their indices; none from a peer to itself.
        came: Which of them get flows by a detour where no cheapest route leads by these peers, of the same shape.
        rng: Source of randomness.
    """
    drawn = [
        _at_level(topology, own, payment, paid_sat, level, wanted[level], came[level], rng)
        for level, paid_sat in enumerate(amounts_sat)
    ]
    found = Candidates(*(np.concatenate(column) for column in zip(*drawn, strict=True)))
    return found._replace(fee_limit_ppm=_made_unique(found))


class _Ways(NamedTuple):
    """The cheapest routes through a node that asks for nothing, and around it, for one amount; costs in ppm of it."""

    peers: Int64  # (peers,) node indices, in order
    into: Float64  # (peers, nodes) cost from each node to the own one, by each peer
    onward: Float64  # (peers, nodes) cost from there to each node, by each peer
    around: Float64  # (receivers, senders) cost of going around

    @property
    def gain(self) -> Float64:
        """What it costs more to go around, -inf where there is no way through or none around."""
        with np.errstate(invalid="ignore"):
            gain_ppm: Float64 = self.around - self.onward.min(axis=0)[:, None] - self.into.min(axis=0)[None, :]
        gain_ppm[~np.isfinite(gain_ppm)] = -np.inf
        return gain_ppm


class _Detours:
    """Flows that come by two peers though no cheapest route does, those the more often for which it costs less.

    With a detour of d ppm against the cheapest way, by any peers or around, chances are as exp(-d / ``_NEAR_PPM``).
    That is a product of what the sender, the receiver, and both decide, so that a receiver is drawn first, by the
    chances of all its senders, and then one of these. Chances are kept as logarithms, as detours may be long.

    Args:
        ways: The cheapest routes.
        size: How likely pairs are by what their nodes are, shape (receivers, senders).
    """

    def __init__(self, ways: _Ways, size: Float64) -> None:
        least_into, least_onward = ways.into.min(axis=0), ways.onward.min(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            saved_ppm = np.maximum(least_onward[:, None] + least_into[None, :] - ways.around, 0)
            self._both = np.log(size) - _certain(saved_ppm) / _NEAR_PPM
            self._sender = -_certain(ways.into - least_into) / _NEAR_PPM
            self._receiver = -_certain(ways.onward - least_onward) / _NEAR_PPM
        self._receiver_of: dict[int, Float64] = {}

    def draw(self, peer_in: int, peer_out: int, wanted: int, rng: np.random.Generator) -> Int64:
        """Draw flows.

        Args:
            peer_in: Place of the peer by which they come.
            peer_out: Place of the one by which they go on.
            wanted: How many; fewer where the same are drawn again and again.
            rng: Source of randomness.

        Returns:
            Sender, receiver and places of the peers, shape (4, flows).
        """
        if peer_in not in self._receiver_of:
            self._receiver_of[peer_in] = np.logaddexp.reduce(self._both + self._sender[peer_in], axis=1)
        drawn: dict[tuple[int, int], None] = {}
        for receiver in _drawn(self._receiver[peer_out] + self._receiver_of[peer_in], _TRIED * wanted, rng):
            for sender in _drawn(self._both[receiver] + self._sender[peer_in], 1, rng):
                drawn.setdefault((sender, receiver))
            if len(drawn) == wanted:
                break
        ends = np.array(list(drawn), np.int64).reshape(-1, 2).T
        peers = np.repeat(np.array([[peer_in], [peer_out]]), ends.shape[1], axis=1)
        return np.concatenate([ends, peers])


def _certain(cost_ppm: Float64) -> Float64:
    """Return costs, infinite where there is no way at all (inf - inf)."""
    return np.where(np.isnan(cost_ppm), np.inf, cost_ppm)


def _drawn(log_chance: Float64, count: int, rng: np.random.Generator) -> list[int]:
    """Draw so many places by the logarithms of their chances, none where there is no chance."""
    most = log_chance.max()
    if most == -np.inf:
        return []
    until = np.cumsum(np.exp(log_chance - most))
    drawn: list[int] = np.searchsorted(until, until[-1] * rng.random(count), side="right").tolist()
    return drawn


def _at_level(
    topology: Topology,
    own: int,
    payment: PaymentOptions,
    paid_sat: Float64,
    level: int,
    wanted: Int64,
    came: Bool,
    rng: np.random.Generator,
) -> Candidates:
    """Draw the candidates of one level of amounts."""
    ways = _ways(topology, own, payment, float(np.median(paid_sat)))
    size, gain_ppm = _sizes(topology, own, ways.peers), ways.gain
    worth_ppm = np.where(gain_ppm > -_NEAR_PPM, np.clip(gain_ppm, _NEAR_CHANCE * _WORTH_PPM, _WORTH_PPM), 0)
    chance = worth_ppm * size
    receiver, sender = np.nonzero(chance)
    peer_in, peer_out = ways.into.argmin(axis=0)[sender], ways.onward.argmin(axis=0)[receiver]
    pair = peer_in * len(ways.peers) + peer_out
    # The order of exponential waiting times is that of draws without replacement by weight (Efraimidis, Spirakis 2006).
    order = np.lexsort((rng.exponential(size=len(pair)) / chance[receiver, sender], pair))
    rank = np.arange(len(order)) - np.searchsorted(pair[order], pair[order])
    chosen = order[(rank < wanted[peer_in, peer_out][order]) & (peer_in != peer_out)[order]]
    columns = [np.stack([column[chosen] for column in (sender, receiver, peer_in, peer_out)])]
    missing = np.setdiff1d(np.flatnonzero(came), pair[chosen])
    if len(missing):
        detours, most = _Detours(ways, size), wanted.ravel()
        for each in missing.tolist():
            peer_in, peer_out = divmod(each, len(ways.peers))
            columns.append(detours.draw(peer_in, peer_out, int(most[each]), rng))
    sender, receiver, peer_in, peer_out = np.concatenate(columns, axis=1)
    limit_ppm = np.exp(_LAW.retail.fee_limit_log_sd * rng.standard_normal(len(sender)))
    limit_ppm = np.minimum(_LAW.retail.median_fee_limit_ppm * limit_ppm, 999_000)
    return Candidates(
        sender,
        receiver,
        ways.peers[peer_in],
        ways.peers[peer_out],
        np.full(len(sender), level),
        rng.choice(paid_sat, len(sender)),
        limit_ppm.astype(np.int64),
        gain_ppm[receiver, sender],
        np.arange(len(sender)) >= len(chosen),
    )


def _ways(topology: Topology, own: int, payment: PaymentOptions, amount_sat: float) -> _Ways:
    """Work out the cheapest routes through a node and around it."""
    arrays, everyone, ppm = topology.arrays, np.arange(len(topology.nodes)), 1000 / amount_sat
    around = costs_msat(topology, hop_costs_msat(topology, payment, amount_sat, without=own), everyone)
    hops = hop_costs_msat(topology, payment, amount_sat, free=own)
    out = np.flatnonzero(arrays.source == own)
    peers = np.unique(arrays.destination[out]).astype(np.int64)
    into, onward = np.empty((2, len(peers), len(everyone)))
    for place, peer in enumerate(peers.tolist()):
        to_peer = out[arrays.destination[out] == peer]
        into[place] = around.sent[peer] + hops.onward[to_peer ^ 1].min()
        into[place, peer] = hops.first[to_peer ^ 1].min()
        onward[place] = around.onward[:, peer] + hops.onward[to_peer].min()
    return _Ways(peers, ppm * into, ppm * onward, ppm * around.sent)


def _sizes(topology: Topology, own: int, peers: Int64) -> Float64:
    """Return how likely pairs are by what their nodes are, shape (receivers, senders)."""
    size = np.sqrt(topology.node_capacity_sat)
    able: Bool = np.bincount(topology.arrays.source, minlength=len(size)) >= _LAW.least_channels
    able[peers] = True
    able[own] = False
    pairs: Float64 = np.outer(size * able, size * able)
    np.fill_diagonal(pairs, 0)
    return pairs


def _made_unique(found: Candidates) -> Int64:
    """Return fee limits of which no two of one pair of nodes are the same, so that payments tell whose they are."""
    limit_ppm = found.fee_limit_ppm.copy()
    taken: set[tuple[int, int, int]] = set()
    for index, (sender, receiver) in enumerate(zip(found.sender.tolist(), found.receiver.tolist(), strict=True)):
        while (sender, receiver, int(limit_ppm[index])) in taken:
            limit_ppm[index] += 1
        taken.add((sender, receiver, int(limit_ppm[index])))
    return limit_ppm
