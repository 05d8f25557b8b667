"""The demand around one node: who would pay whom if they could, as far as that node could have a part in it.

Of the millions of payments of a public network a node of some dozen channels sees a few hundred a day: those whose
cheapest route leads through it or nearly so. Only such pairs of nodes are drawn. A pair *could pay through the node* if
its cheapest route would do so, were the node's own fees nothing; what the best route around the node costs more than
that is the most that the pair would pay it (its reservation fee), so that the node's income answers to its prices in
steps. Pairs that would pay more are drawn more often; those that could pay over no other way are left out, as they
would pay any price. And each pair pays no more fees in all than its own fee limit. All other demand is left out; what
it does to the balances of others is drawn (``tasks.operator``).

Cheapest is meant as LND's senders see it (routing/pathfind.go): fees, 15 billionths of the amount for each block of
time lock, and for each hop what its chance to fail costs by the attempt cost of ``PaymentOptions`` and the a-priori
probability of 60 %.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.compiled import fused, kernel
from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import check_ranges
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.traffic.flows import DAY_MS, HOUR_MS, FlowProgram
from lnsim_gym.traffic.kernels import TABLE_CELLS
from lnsim_gym.traffic.models import Demand, MarketTraffic
from lnsim_gym.traffic.normal import normal_table

__all__ = ["Costs", "Flows", "HopCosts", "compile_market", "costs_msat", "draw_flow_pairs", "hop_costs_msat", "way_out"]

RISK_PER_BLOCK: Final = 15e-9
"""LND's ``DefaultRiskFactorBillionths``."""
APRIORI_PROBABILITY: Final = 0.6
_DESTINATIONS: Final = 150
"""Receivers of each kind of demand that routes are looked for to: enough to fill the pairs."""
_WORTH_PPM: Final = 300
"""Reservation fee up to which pairs are drawn the more often the more they would pay: few ppm are of no account."""
_MOST_HOPS: Final = 20


class Flows(NamedTuple):
    """Pairs of nodes that could pay through a node."""

    source: Int64  # (flows,)
    destination: Int64  # (flows,)
    reservation_msat: Float64  # (flows,) what they would pay the node at most for their median amount
    weight: Float64  # (flows,) share of all payments while all are active
    fee_limit_ppm: Int64  # (flows,) what they pay in fees at most, in millionths of the amount
    kind: Int64  # (flows,) place among ``_kinds``


class HopCosts(NamedTuple):
    """What it costs to send an amount over one channel, in msat, infinite where it does not fit."""

    onward: Float64  # (directions,) where a node passes it on
    first: Float64  # (directions,) where a sender sends it


class Costs(NamedTuple):
    """What the cheapest routes to some nodes cost, in msat, infinite where nothing leads."""

    sent: Float64  # (destinations, nodes) from a sender
    onward: Float64  # (destinations, nodes) from a node that passes it on, its own fee included


def compile_market(
    model: MarketTraffic, payment: PaymentOptions, topology: Topology, own: int, step_ms: int
) -> FlowProgram:
    """Compile the demand around a node.

    Args:
        model: Settings.
        payment: How payments are sent.
        topology: The network.
        own: The node.
        step_ms: Length of a step in ms of simulated time.

    Raises:
        ConfigError: No pair could pay through the node.
    """
    check_ranges(model, "traffic: ")
    flows = draw_flow_pairs(model, payment, topology, own)
    kinds = [_kinds(model)[index] for index in flows.kind.tolist()]
    active = np.array([kind.active_share for kind in kinds])
    mean_share = float((active * flows.weight).sum() / flows.weight.sum())
    return FlowProgram(
        source=flows.source,
        destination=flows.destination,
        cumulative=np.cumsum(flows.weight),
        median_sat=np.array([kind.median_amount_sat for kind in kinds], np.float64),
        log_sd=np.array([kind.amount_log_sd for kind in kinds], np.float64),
        fee_limit_ppm=flows.fee_limit_ppm,
        active_share=active,
        spell_ms=np.array([max(1, round(HOUR_MS * kind.spell_hours)) for kind in kinds], np.int64),
        normal_table=normal_table(TABLE_CELLS).copy(),
        arrivals_per_ms=model.payments_per_day / mean_share * (1.0 + model.day_swing) / DAY_MS,
        day_swing=float(model.day_swing),
        max_amount_sat=model.max_amount_sat,
        step_ms=step_ms,
    )


def _kinds(model: MarketTraffic) -> tuple[Demand, ...]:
    """Return the kinds of demand, in the order of ``Flows.kind``."""
    return model.retail, model.merchants, model.exchanges


def draw_flow_pairs(model: MarketTraffic, payment: PaymentOptions, topology: Topology, own: int) -> Flows:
    """Draw the pairs that could pay through a node, and how much they pay.

    Raises:
        ConfigError: There is none.
    """
    rng = np.random.default_rng([model.seed, own])
    nodes = len(topology.nodes)
    capacity_sat = topology.node_capacity_sat
    able = np.bincount(topology.arrays.source, minlength=nodes) >= model.least_channels
    sends = receives = np.sqrt(capacity_sat) * able
    merchants = _some(rng, able, model.merchant_share)
    exchanges = np.zeros(nodes, np.bool_)
    exchanges[np.argsort(-capacity_sat, kind="stable")[: max(1, round(model.exchange_share * nodes))]] = True
    everyone = np.ones(nodes, np.bool_)
    parties = ((everyone, everyone), (everyone, merchants), (exchanges, everyone), (everyone, exchanges))
    drawn: list[Flows] = []
    for place, (senders, receivers) in enumerate(parties):
        kind = min(place, 2)
        demand = _kinds(model)[kind]
        share = demand.weight / (2 if kind == 2 else 1)
        if share == 0:
            continue
        pairs = max(1, round(model.pairs * share / sum(each.weight for each in _kinds(model))))
        found = _pairs_through(
            topology, payment, own, demand.median_amount_sat, sends * senders, receives * receivers, pairs, rng
        )
        weight = np.exp(model.weight_spread * rng.standard_normal(len(found[0])))
        weight *= share / max(weight.sum(), 1e-300)
        limit = np.exp(demand.fee_limit_log_sd * rng.standard_normal(len(weight))) * demand.median_fee_limit_ppm
        drawn.append(Flows(*found, weight, np.minimum(limit, 1e6).astype(np.int64), np.full(len(weight), kind)))
    flows = Flows(*(np.concatenate(column) for column in zip(*drawn, strict=True))) if drawn else None
    if flows is None or not len(flows.source):
        raise ConfigError(
            f"no pair of nodes would pay through {topology.nodes[own]!r}, even if it asked for nothing: "
            "give it channels to more, and larger, peers"
        )
    return flows


def way_out(model: MarketTraffic, payment: PaymentOptions, topology: Topology, own: int, flows: Flows) -> Int64:
    """Return the direction by which payments of each pair would leave a node that charges as much for each, (flows,).

    Args:
        model: Settings.
        payment: How payments are sent.
        topology: The network.
        own: The node.
        flows: The pairs.
    """
    arrays = topology.arrays
    out = np.flatnonzero(arrays.source == own)
    peers, taken = arrays.destination[out], np.full(len(flows.source), -1, np.int64)
    for kind, demand in enumerate(_kinds(model)):
        of_kind = np.flatnonzero(flows.kind == kind)
        destinations, row = np.unique(flows.destination[of_kind], return_inverse=True)
        hops = hop_costs_msat(topology, payment, demand.median_amount_sat, without=own)
        onward = costs_msat(topology, hops, destinations).onward[:, peers]
        most_msat = np.minimum(arrays.max_htlc_msat[out], 1000 * arrays.capacity_sat[out // 2])
        fits = 1000 * demand.median_amount_sat <= most_msat
        taken[of_kind] = out[np.where(fits, onward, np.inf).argmin(axis=1)][row]
    return taken


def _some(rng: np.random.Generator, able: Bool, share: float) -> Bool:
    """Mark as many of the nodes that are able as are a share of all nodes, at random, at least one if there is any."""
    marked, candidates = np.zeros(len(able), np.bool_), np.flatnonzero(able)
    count = min(max(1, round(share * len(able))), len(candidates))
    marked[rng.choice(candidates, count, replace=False)] = True
    return marked


def _pairs_through(
    topology: Topology,
    payment: PaymentOptions,
    own: int,
    amount_sat: float,
    sends: Float64,
    receives: Float64,
    pairs: int,
    rng: np.random.Generator,
) -> tuple[Int64, Int64, Float64]:
    """Draw pairs that could pay an amount through a node: senders, receivers, and their reservation fees in msat.

    Chances are in proportion to the weights of both and, up to a limit, to the reservation fee.
    """
    receives = receives.copy()
    receives[own] = 0
    candidates = np.flatnonzero(receives)
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if not len(candidates):
        return nobody
    count = min(_DESTINATIONS, len(candidates))
    weight = receives[candidates]
    destinations = np.sort(rng.choice(candidates, count, replace=False, p=weight / weight.sum()))
    around = costs_msat(topology, hop_costs_msat(topology, payment, amount_sat, without=own), destinations).sent
    through = costs_msat(topology, hop_costs_msat(topology, payment, amount_sat, free=own), destinations).sent
    with np.errstate(invalid="ignore"):
        gain = around - through
    gain[~np.isfinite(gain)] = 0
    worth_ppm = np.clip(1000 * gain / amount_sat, 0, _WORTH_PPM)
    chance = sends[None, :] * receives[destinations][:, None] * worth_ppm
    chance[:, own] = 0
    chance[np.arange(count), destinations] = 0
    offered = np.flatnonzero(chance.ravel())
    if not len(offered):
        return nobody
    likely = chance.ravel()[offered]
    chosen = rng.choice(offered, min(pairs, len(offered)), replace=False, p=likely / likely.sum())
    row, source = np.divmod(chosen, len(sends))
    return source, destinations[row], gain.ravel()[chosen]


def hop_costs_msat(
    topology: Topology,
    payment: PaymentOptions,
    amount_sat: float,
    *,
    without: int | None = None,
    free: int | None = None,
) -> HopCosts:
    """Return what an amount costs over each channel: its fee, its time lock, and its chance to fail.

    Args:
        topology: The network.
        payment: How payments are sent.
        amount_sat: The amount, in sat; fees upon fees are left out.
        without: A node that is not passed through.
        free: A node that charges nothing.
    """
    arrays = topology.arrays
    amount_msat = 1000 * amount_sat
    policies = [policy for both in topology.policies for policy in (both.initiator, both.peer)]
    fee_msat = np.array([policy.fee_base_msat + amount_msat * policy.fee_rate_ppm / 1e6 for policy in policies])
    lock = np.array([policy.time_lock_delta for policy in policies])
    most_msat = np.array([policy.max_htlc_msat or 2**62 for policy in policies])
    least_msat = np.array([policy.min_htlc_msat for policy in policies])
    closed = np.array([policy.disabled for policy in policies])
    capacity_msat = 1000 * np.repeat(arrays.capacity_sat, 2)
    closed |= (np.minimum(most_msat, capacity_msat) < amount_msat) | (least_msat > amount_msat)
    closed &= arrays.source != free
    attempt_msat = 1000 * payment.attempt_cost_sat + amount_msat * payment.attempt_cost_ppm / 1e6
    hop_msat = attempt_msat * (1 / APRIORI_PROBABILITY - 1)
    first = np.where(closed, np.inf, np.full(len(lock), hop_msat))
    if free is not None:
        fee_msat[arrays.source == free] = 0
    onward = first + fee_msat + RISK_PER_BLOCK * amount_msat * lock
    if without is not None:
        onward[(arrays.source == without) | (arrays.destination == without)] = np.inf
        first = np.where(np.isinf(onward), np.inf, first)
    return HopCosts(onward, first)


def costs_msat(topology: Topology, hops: HopCosts, destinations: Int64) -> Costs:
    """Return what an amount costs from every node to some.

    Args:
        topology: The network.
        hops: What it costs over each channel.
        destinations: Node indices.
    """
    arrays, nodes = topology.arrays, len(topology.nodes)
    order = np.argsort(arrays.source, kind="stable")
    first = np.searchsorted(arrays.source[order], np.arange(nodes + 1))
    edges = first, arrays.destination[order].astype(np.int64), hops.onward[order], hops.first[order]
    found = Costs(*np.empty((2, len(destinations), nodes)))
    _cheapest(edges, destinations.astype(np.int64), np.empty((2, nodes)), found)
    return found


@kernel
def _cheapest(edges: Any, destinations: Any, work: Any, found: Any) -> None:
    """Fill in what the cheapest routes from all nodes to some cost (Bellman and Ford, ``_MOST_HOPS`` hops at most).

    Args:
        edges: First edge out of each node, with the number of edges at the end, shape (nodes + 1,); where each edge
            leads, what it costs to forward over it, and what it costs a sender, each of shape (edges,).
        destinations: Node indices, shape (destinations,).
        work: Room for the search, shape (2, nodes).
        found: ``Costs`` to fill in.
    """
    first, target, onward, first_hop = edges
    sent, passed_on = found
    for row in range(destinations.shape[0]):
        destination, cost, better = destinations[row], work[0], work[1]
        cost[:] = np.inf
        cost[destination] = 0.0
        for _ in range(_MOST_HOPS):
            changes = False
            for node in range(cost.shape[0]):
                better[node] = _least(first, target, onward, cost, node, cost[node])
                changes |= better[node] < cost[node]
            if not changes:
                break
            cost, better = better, cost
        for node in range(cost.shape[0]):
            passed_on[row, node] = cost[node]
            sent[row, node] = _least(first, target, first_hop, cost, node, np.inf)
        sent[row, destination] = 0.0


@fused
def _least(first: Any, target: Any, price: Any, cost: Any, node: Any, least: Any) -> Any:
    """Return the least that it costs from a node over one of its edges and onward, or ``least`` where that is less."""
    for edge in range(first[node], first[node + 1]):
        least = min(least, cost[target[edge]] + price[edge])
    return least
