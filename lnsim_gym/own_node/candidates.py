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
            in the order of their indices.
        rng: Source of randomness.
    """
    drawn = [
        _at_level(topology, own, payment, paid_sat, level, wanted[level], rng)
        for level, paid_sat in enumerate(amounts_sat)
    ]
    found = Candidates(*(np.concatenate(column) for column in zip(*drawn, strict=True)))
    return found._replace(fee_limit_ppm=_made_unique(found))


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
    peers, entry, leaves, gain_ppm = _gains(topology, own, payment, float(np.median(paid_sat)))
    chance = _chance(topology, own, peers, gain_ppm)
    receiver, sender = np.nonzero(chance)
    likely = chance[receiver, sender]
    ends = entry[sender], leaves[receiver]
    room = wanted[ends]
    # The order of exponential waiting times is that of draws without replacement by weight (Efraimidis, Spirakis 2006).
    pair = ends[0] * len(peers) + ends[1]
    order = np.lexsort((rng.exponential(size=len(likely)) / likely, pair))
    rank = np.arange(len(order)) - np.searchsorted(pair[order], pair[order])
    chosen = order[(rank < room[order]) & (ends[0] != ends[1])[order]]
    limit_ppm = np.exp(_LAW.retail.fee_limit_log_sd * rng.standard_normal(len(chosen)))
    limit_ppm = np.minimum(_LAW.retail.median_fee_limit_ppm * limit_ppm, 999_000)
    return Candidates(
        sender[chosen],
        receiver[chosen],
        peers[ends[0][chosen]],
        peers[ends[1][chosen]],
        np.full(len(chosen), level),
        rng.choice(paid_sat, len(chosen)),
        limit_ppm.astype(np.int64),
        gain_ppm[receiver, sender][chosen],
    )


def _gains(
    topology: Topology, own: int, payment: PaymentOptions, amount_sat: float
) -> tuple[Int64, Int64, Int64, Float64]:
    """Compare the cheapest routes through a node that asks for nothing with the cheapest around it.

    Returns:
        Node indices of the peers; by which of them each node would come, and go on; and what it costs more to go around
        in ppm, -inf where there is no way through or none around, shape (receivers, senders).
    """
    arrays, everyone = topology.arrays, np.arange(len(topology.nodes))
    around = costs_msat(topology, hop_costs_msat(topology, payment, amount_sat, without=own), everyone)
    hops = hop_costs_msat(topology, payment, amount_sat, free=own)
    out = np.flatnonzero(arrays.source == own)
    peers = np.unique(arrays.destination[out]).astype(np.int64)
    into = np.full((len(peers), len(everyone)), np.inf)
    onward = np.full((len(peers), len(everyone)), np.inf)
    for place, peer in enumerate(peers.tolist()):
        to_peer = out[arrays.destination[out] == peer]
        into[place] = around.sent[peer] + hops.onward[to_peer ^ 1].min()
        into[place, peer] = hops.first[to_peer ^ 1].min()
        onward[place] = around.onward[:, peer] + hops.onward[to_peer].min()
    through = onward.min(axis=0)[:, None] + into.min(axis=0)[None, :]
    with np.errstate(invalid="ignore"):
        gain_ppm = (around.sent - through) * 1000 / amount_sat
    gain_ppm[~np.isfinite(gain_ppm)] = -np.inf
    return peers, into.argmin(axis=0), onward.argmin(axis=0), gain_ppm


def _chance(topology: Topology, own: int, peers: Int64, gain_ppm: Float64) -> Float64:
    """Return how likely each pair is to pay, shape (receivers, senders)."""
    size = np.sqrt(topology.node_capacity_sat)
    able: Bool = np.bincount(topology.arrays.source, minlength=len(size)) >= _LAW.least_channels
    able[peers] = True
    able[own] = False
    worth_ppm = np.where(gain_ppm > -_NEAR_PPM, np.clip(gain_ppm, _NEAR_CHANCE * _WORTH_PPM, _WORTH_PPM), 0)
    chance: Float64 = worth_ppm * (size * able)[None, :] * (size * able)[:, None]
    np.fill_diagonal(chance, 0)
    return chance


def _made_unique(found: Candidates) -> Int64:
    """Return fee limits of which no two of one pair of nodes are the same, so that payments tell whose they are."""
    limit_ppm = found.fee_limit_ppm.copy()
    taken: set[tuple[int, int, int]] = set()
    for index, (sender, receiver) in enumerate(zip(found.sender.tolist(), found.receiver.tolist(), strict=True)):
        while (sender, receiver, int(limit_ppm[index])) in taken:
            limit_ppm[index] += 1
        taken.add((sender, receiver, int(limit_ppm[index])))
    return limit_ppm
