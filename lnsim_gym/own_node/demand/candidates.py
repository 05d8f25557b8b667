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
_HARDLY: Final = 1e-12
"""Chance, as a share of the greatest, below which a detour is not drawn."""


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
        rng: Source of randomness.
    """
    drawn = [
        _at_level(topology, own, payment, paid_sat, level, wanted[level], rng)
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

    def detour(self, peer_in: int, peer_out: int) -> Float64:
        """Return what it costs more to go by two of the peers than the cheapest way, shape (receivers, senders)."""
        best_ppm = np.minimum(self.around, self.onward.min(axis=0)[:, None] + self.into.min(axis=0)[None, :])
        with np.errstate(invalid="ignore"):
            more_ppm: Float64 = self.onward[peer_out][:, None] + self.into[peer_in][None, :] - best_ppm
        return np.where(np.isfinite(more_ppm), more_ppm, np.inf)


def _at_level(
    topology: Topology,
    own: int,
    payment: PaymentOptions,
    paid_sat: Float64,
    level: int,
    wanted: Int64,
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
    missing = np.setdiff1d(np.flatnonzero(wanted > 1), pair[chosen])
    columns += [_by_detour(ways, size, each, int(wanted.max()), rng) for each in missing.tolist()]
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


def _by_detour(ways: _Ways, size: Float64, pair: int, wanted: int, rng: np.random.Generator) -> Int64:
    """Draw flows that come by two peers though no cheapest route does, those the more often for which it costs less.

    Returns:
        Sender, receiver and places of the peers, shape (4, flows).
    """
    peer_in, peer_out = divmod(pair, len(ways.peers))
    chance = size * np.exp(-ways.detour(peer_in, peer_out) / _NEAR_PPM)
    receiver, sender = np.nonzero(chance > _HARDLY * chance.max(initial=0))
    order = np.argsort(rng.exponential(size=len(sender)) / chance[receiver, sender])[:wanted]
    ends = np.array([[peer_in], [peer_out]])
    return np.concatenate([sender[None, order], receiver[None, order], np.repeat(ends, len(order), axis=1)])


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
