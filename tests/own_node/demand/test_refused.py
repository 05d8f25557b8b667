"""Forwards that were refused for lack of balance count as demand, on histories of which the demand is known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from lnsim_gym.network.public import public
from lnsim_gym.own_node import fit_demand
from lnsim_gym.own_node.demand.candidates import draw_candidates
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.demand.pilot import flows_of
from lnsim_gym.own_node.reading.history import DAY_NS, SECOND_NS, Failures, Forwards
from lnsim_gym.traffic import FlowsTraffic
from tests.own_node.histories import BEGIN_NS, problem_of, simulate, with_numbers

TOPOLOGY = with_numbers(public(nodes=60, own_channels=5, own_capacity_sat=25_000_000, seed=3))
OWN = TOPOLOGY.nodes[-1]
DRY = 2
"""Place of the channel that is empty."""
DAYS = 15
PER_DAY = 3.0
"""Payments that each candidate makes."""


def free(topology):
    """Return a network in which the own node asks for nothing."""
    out = np.flatnonzero(topology.arrays.source == topology.node_index[OWN]).tolist()
    asked = {one: msgspec.structs.replace(topology.policy(one), fee_base_msat=0, fee_rate_ppm=0) for one in out}
    return topology.with_policies(asked)


def drained(topology, direction):
    """Return a network in which the own node holds nothing in a channel."""
    channels = list(topology.channels)
    index, side = divmod(direction, 2)
    capacity_sat = int(topology.arrays.capacity_sat[index])
    initiator_sat = capacity_sat // 100 if side == 0 else capacity_sat - 10_000
    channels[index] = msgspec.structs.replace(channels[index], initiator_balance_sat=initiator_sat)
    return msgspec.structs.replace(topology, channels=tuple(channels))


@pytest.fixture(scope="module")
def known():
    """A node that sells nothing over one of its channels, which is empty, though many would pay through it."""
    own = TOPOLOGY.node_index[OWN]
    out = np.flatnonzero(TOPOLOGY.arrays.source == own)
    peers = TOPOLOGY.arrays.destination[out]
    dry, topology = int(peers[DRY]), drained(free(TOPOLOGY), int(out[DRY]))
    count, payment = len(peers), problem_of(topology, traffic={"kind": "market"}).config.payment
    wanted = 8 * (1 - np.eye(count, dtype=np.int64))[None]
    drawn = draw_candidates(
        topology, own, payment, [np.array([10_000.0])], wanted, wanted > 1, np.random.default_rng(1)
    )
    paying = (drawn.peer_in != dry) & ~drawn.by_detour & (drawn.reservation_ppm > 0)
    flows = flows_of(topology.nodes, drawn, np.full(len(paying), PER_DAY), paying)
    channel_of = {
        int(peer): topology.channels[direction // 2].chan_id for peer, direction in zip(peers, out, strict=True)
    }
    ways = {
        (int(drawn.sender[one]), int(drawn.receiver[one])): (
            channel_of[int(drawn.peer_in[one])],
            channel_of[int(drawn.peer_out[one])],
        )
        for one in np.flatnonzero(paying)
    }
    problem = problem_of(topology, traffic=FlowsTraffic(flows=flows), warm_up_days=0, payments_per_step=200)
    history = simulate(problem, "noop", DAYS, 5, ways)
    return history, dry, PER_DAY * float((paying & (drawn.peer_out == dry)).sum())


def test_the_demand_for_a_drained_channel_is_nearer_to_the_truth_with_what_was_refused(known):
    history, dry, true_per_day = known
    node = history.node
    assert true_per_day > 3
    assert (node.failures.chan_out == node.channels[DRY].number).sum() > 0.7 * true_per_day * DAYS
    assert (node.forwards.chan_out == node.channels[DRY].number).sum() == 0
    told = []
    for each in (node, replace(node, failures=Failures.of([]), told=("payments",))):
        demand = fit_demand(each, history.topology)
        told.append(float(demand.per_day[:, demand.candidates.peer_out == dry].sum(axis=1).mean()))
        refused = Past(each, history.topology).refused
        assert demand.refused == (refused.time_ns >= node.forwards.time_ns[0]).sum()
    error_with, error_without = (abs(np.log(per_day / true_per_day)) for per_day in told)
    assert error_with < error_without / 2
    assert error_with < np.log(2)


def past_with(history, failures, forwards=()):
    node = replace(history.node, failures=Failures.of(failures), forwards=Forwards.of(list(forwards)))
    return Past(node, history.topology)


def test_one_payment_that_is_tried_again_counts_once_and_not_at_all_where_it_settles(known):
    history, *_ = known
    empty, full, other = (history.node.channels[place].number for place in (DRY, 3, 1))
    at_ns, minute_ns = BEGIN_NS + DAY_NS, 60 * SECOND_NS

    def refused(seconds, is_dry=1, chan_in=full, chan_out=empty, amount_msat=100_000_000):
        return (at_ns + seconds * SECOND_NS, chan_in, chan_out, amount_msat, is_dry)

    tries = [refused(0), refused(20), refused(70), refused(3_600), refused(10, chan_in=other)]
    assert past_with(history, tries).refused.time_ns.tolist() == [at_ns, at_ns + 10 * SECOND_NS, at_ns + 60 * minute_ns]
    settled = [(at_ns + 40 * SECOND_NS, full, empty, 100_001_000, 100_000_000)]
    assert len(past_with(history, tries, settled).refused) == 2
    elsewhere = [refused(0, chan_out=5), refused(0, chan_in=empty, chan_out=empty)]
    assert len(past_with(history, elsewhere).refused) == 0


def test_where_no_cause_is_kept_the_balance_of_the_moment_tells(known):
    history, *_ = known
    empty, full = (history.node.channels[place].number for place in (DRY, 3))
    at_ns = BEGIN_NS + DAY_NS
    rows = [(at_ns, full, empty, 100_000_000, 0), (at_ns, empty, full, 1_000, 0)]
    assert past_with(history, rows).refused.chan_out.tolist() == [empty]
