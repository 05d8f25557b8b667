"""The demand around one node: who could pay through it, how much, and when."""

import heapq
from functools import cache

import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.network.public import public
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.traffic import DriftTraffic, MarketTraffic
from lnsim_gym.traffic.flows import DAY_MS, batch_of
from lnsim_gym.traffic.market import compile_market, draw_flow_pairs, way_out
from lnsim_gym.traffic.models import compile_traffic

TOPOLOGY = public(nodes=120, own_channels=8, own_capacity_sat=30_000_000, seed=2)
OWN = len(TOPOLOGY.nodes) - 1
STEP_MS = DAY_MS // 4
HOP_MSAT = 1 / 0.6 - 1
PAYMENT = PaymentOptions(attempt_cost_sat=8, attempt_cost_ppm=79)


def cheapest_msat(source, destination, amount_sat, through_own):
    """Return what an amount costs at least, its sender's own channels being free: Dijkstra's search from the end."""
    amount_msat, arrays = 1000 * amount_sat, TOPOLOGY.arrays
    hop_msat = HOP_MSAT * (1000 * PAYMENT.attempt_cost_sat + amount_msat * PAYMENT.attempt_cost_ppm / 1e6)
    best, queue = {}, [(0.0, destination, 0.0)]
    at_source = []
    while queue:
        cost, node, _ = heapq.heappop(queue)
        if node in best:
            continue
        best[node] = cost
        for direction in np.flatnonzero(arrays.destination == node).tolist():
            sender, both = int(arrays.source[direction]), TOPOLOGY.policies[direction // 2]
            policy = (both.initiator, both.peer)[direction % 2]
            fits = (
                policy.min_htlc_msat
                <= amount_msat
                <= min(policy.max_htlc_msat, 1000 * arrays.capacity_sat[direction // 2])
            )
            own = OWN in (sender, node)
            if not fits or (policy.disabled and not (through_own and sender == OWN)) or (own and not through_own):
                continue
            fee_msat = policy.fee_base_msat + amount_msat * policy.fee_rate_ppm / 1e6
            lock_msat = 15e-9 * amount_msat * policy.time_lock_delta
            if sender == source:
                at_source.append(cost + hop_msat)
            charged = lock_msat if through_own and sender == OWN else fee_msat + lock_msat
            heapq.heappush(queue, (cost + hop_msat + charged, sender, 0.0))
    return min(at_source, default=np.inf)


@pytest.fixture(scope="module")
def flows():
    return draw_flow_pairs(MarketTraffic(pairs=60), PAYMENT, TOPOLOGY, OWN)


def test_pairs_would_pay_the_node_what_the_way_around_costs_more(flows):
    amounts_sat = (30_000, 60_000, 500_000)
    for index in range(0, len(flows.source), 3):
        pair = int(flows.source[index]), int(flows.destination[index])
        amount_sat = amounts_sat[flows.kind[index]]
        around, through = (cheapest_msat(*pair, amount_sat, through_own) for through_own in (False, True))
        assert np.inf > around > through
        assert flows.reservation_msat[index] == pytest.approx(around - through)


def test_the_node_itself_neither_pays_nor_is_paid(flows):
    assert OWN not in flows.source
    assert OWN not in flows.destination
    assert (flows.source != flows.destination).all()
    channels = np.bincount(TOPOLOGY.arrays.source)
    assert min(channels[flows.source].min(), channels[flows.destination].min()) >= 3
    assert (flows.reservation_msat > 0).all()
    assert set(flows.kind.tolist()) == {0, 1, 2}


def test_half_of_the_pairs_pay_no_more_than_the_median_fee_limit_and_a_node_may_not_be_the_only_way():
    flows = draw_flow_pairs(MarketTraffic(pairs=300), PAYMENT, TOPOLOGY, OWN)
    assert np.isfinite(flows.reservation_msat).all()
    assert 350 < np.median(flows.fee_limit_ppm) < 700
    assert 0.5 < np.std(np.log(flows.fee_limit_ppm)) < 1.1


def test_payments_arrive_as_often_as_asked_in_order_and_by_day_more_than_by_night():
    program = compile_market(MarketTraffic(payments_per_day=200, day_swing=0.8), PAYMENT, TOPOLOGY, OWN, STEP_MS)
    counts, hours = [], []
    for seed in range(25):
        for step in range(32):
            batch, time_ms, limit_ppm = batch_of(program, 500, seed, 0, step)
            assert (np.diff(time_ms) >= 0).all()
            assert ((time_ms >= step * STEP_MS) & (time_ms < (step + 1) * STEP_MS)).all()
            assert (batch.amount_msat % 1000 == 0).all()
            assert (batch.amount_msat >= 1000).all()
            assert np.isin(limit_ppm, program.fee_limit_ppm).all()
            counts.append(len(time_ms))
            hours += (time_ms % DAY_MS / DAY_MS * 24).tolist()
    assert 0.9 < np.mean(counts) * 4 / 200 < 1.1
    noon = np.mean([9 <= hour < 15 for hour in hours])
    night = np.mean([hour < 3 or hour >= 21 for hour in hours])
    assert 2.5 < noon / night < 4.5  # 1.4 times the mean around noon, 0.4 times around midnight


def test_a_step_is_the_same_whenever_it_is_drawn_and_room_for_payments_bounds_it():
    program = compile_market(MarketTraffic(payments_per_day=200), PAYMENT, TOPOLOGY, OWN, STEP_MS)
    batch, time_ms, _ = batch_of(program, 500, 3, 1, 7)
    again, *_ = batch_of(program, 500, 3, 1, 7)
    fewer, fewer_ms, _ = batch_of(program, 10, 3, 1, 7)
    assert all(np.array_equal(one, other) for one, other in zip(batch, again, strict=True))
    assert len(fewer_ms) == 10
    assert np.array_equal(fewer_ms, time_ms[:10])
    assert np.array_equal(fewer.amount_msat, batch.amount_msat[:10])
    assert not np.array_equal(batch_of(program, 500, 4, 1, 7)[1], time_ms)


def test_pairs_that_are_active_a_tenth_of_the_time_pay_in_bursts():
    bursts = {
        "retail": {"active_share": 0.1, "spell_hours": 48},
        "merchants": {"weight": 0},
        "exchanges": {"weight": 0},
    }
    steady = {"retail": {"active_share": 1.0}, "merchants": {"weight": 0}, "exchanges": {"weight": 0}}
    spread = {}
    for name, kinds in (("bursts", bursts), ("steady", steady)):
        model = MarketTraffic(**{kind: type(MarketTraffic().retail)(**of) for kind, of in kinds.items()}, pairs=5)
        program = compile_market(model, PAYMENT, TOPOLOGY, OWN, STEP_MS)
        counts = [len(batch_of(program, 2000, seed, 0, step)[1]) for seed in range(10) for step in range(0, 80, 8)]
        spread[name] = np.std(counts) / np.mean(counts)
    assert spread["bursts"] > 2 * spread["steady"]


def test_a_node_that_nobody_could_pay_through_is_refused():
    channels = [{"initiator": "a", "peer": "b", "capacity_sat": 1_000_000}] * 2
    line = Topology.from_dict({"nodes": ["a", "b"], "channels": channels})
    with pytest.raises(ConfigError, match="no pair of nodes would pay through 'a'"):
        draw_flow_pairs(MarketTraffic(), PAYMENT, line, 0)


def test_other_tasks_have_no_market():
    with pytest.raises(ConfigError, match="needs task='operator'"):
        compile_traffic(MarketTraffic(), TOPOLOGY)
    assert compile_traffic(DriftTraffic(), TOPOLOGY).nodes == len(TOPOLOGY.nodes)


def test_payments_leave_the_node_by_the_channel_from_which_it_costs_least(flows):
    arrays = TOPOLOGY.arrays
    taken = way_out(MarketTraffic(pairs=60), PAYMENT, TOPOLOGY, OWN, flows)
    assert (arrays.source[taken] == OWN).all()
    assert len(set(taken.tolist())) > 1
    own = np.flatnonzero(arrays.source == OWN)
    for index in range(0, len(taken), 7):
        destination, amount_sat = int(flows.destination[index]), (30_000, 60_000, 500_000)[flows.kind[index]]
        costs_msat = {
            direction: beyond_msat(int(arrays.destination[direction]), destination, amount_sat)
            for direction in own.tolist()
            if arrays.max_htlc_msat[direction] >= 1000 * amount_sat
        }
        assert costs_msat[int(taken[index])] == pytest.approx(min(costs_msat.values()))


@cache
def beyond_msat(node, destination, amount_sat):
    """Return what it costs a node that passes an amount on to reach a destination, its own fee included, at least."""
    arrays, amount_msat = TOPOLOGY.arrays, 1000 * amount_sat
    hop_msat = HOP_MSAT * (1000 * PAYMENT.attempt_cost_sat + amount_msat * PAYMENT.attempt_cost_ppm / 1e6)
    best, queue = {}, [(0.0, destination)]
    while queue:
        cost, reached = heapq.heappop(queue)
        if reached in best:
            continue
        best[reached] = cost
        for direction in np.flatnonzero(arrays.destination == reached).tolist():
            sender, policy = int(arrays.source[direction]), TOPOLOGY.policy(direction)
            most_msat = min(policy.max_htlc_msat, 1000 * arrays.capacity_sat[direction // 2])
            if OWN in (sender, reached) or policy.disabled or not policy.min_htlc_msat <= amount_msat <= most_msat:
                continue
            fee_msat = policy.fee_base_msat + amount_msat * policy.fee_rate_ppm / 1e6
            heapq.heappush(queue, (cost + hop_msat + fee_msat + 15e-9 * amount_msat * policy.time_lock_delta, sender))
    return best.get(node, np.inf)
