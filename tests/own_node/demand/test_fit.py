"""What a node's past tells of its demand, on histories of which the law is known."""

from dataclasses import replace

import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import public
from lnsim_gym.own_node import fit_demand, own_environment, own_problem, seeds_of
from lnsim_gym.own_node.demand.candidates import _Detours, _Ways, draw_candidates
from lnsim_gym.own_node.demand.past import Past, around_own
from lnsim_gym.own_node.demand.pilot import try_out
from lnsim_gym.own_node.reading.history import DAY_NS
from tests.own_node.histories import BEGIN_NS, problem_of, simulate, with_numbers

TOPOLOGY = with_numbers(public(nodes=60, own_channels=5, own_capacity_sat=25_000_000, seed=3))
TRAFFIC = {"kind": "market", "payments_per_day": 400, "seed": 3}
DAYS = 15


@pytest.fixture(scope="module")
def known():
    """A node that ran for some days with fee rates that move every day."""
    return simulate(problem_of(TOPOLOGY, traffic=TRAFFIC, warm_up_days=0), "charge_lnd", DAYS, 3)


@pytest.fixture(scope="module")
def demand(known):
    return fit_demand(known.node, known.topology, draws=12)


def test_what_was_held_is_what_is_held_less_what_moved_since(known):
    past, began = Past(known.node, known.topology), known.problem.start_balances_msat(3, 0)
    then_msat, now_msat = past.local_msat([BEGIN_NS, past.end_ns])
    assert then_msat == pytest.approx(began.ravel()[known.problem.task.out], abs=1_000)
    assert [channel.local_balance for channel in known.node.channels] == (now_msat // 1000).tolist()
    assert (then_msat != now_msat).sum() >= 4


def test_forwards_tell_the_fee_rates_that_they_paid(known):
    past, told = Past(known.node, known.topology), known.node.forwards
    arrays = known.topology.arrays
    rates_ppm = past.fee_rate_ppm(told.time_ns)
    places = past.places(told.chan_out)
    asked_ppm = rates_ppm[np.arange(len(told)), places]
    sent_msat = told.out_msat.astype(np.float64)
    fee_msat = arrays.fee_base_msat[past.out[places]] + asked_ppm * sent_msat / 1e6
    came = past.out[past.places(told.chan_in)]
    inbound_ppm = arrays.inbound_fee_rate_ppm[came]
    fee_msat += arrays.inbound_fee_base_msat[came] + inbound_ppm * (sent_msat + fee_msat) / 1e6
    telling = (told.out_msat >= 1_000_000) & (told.in_msat > told.out_msat)
    assert telling.sum() > 50
    assert np.maximum(fee_msat, 0)[telling] == pytest.approx((told.in_msat - told.out_msat)[telling], rel=0.02, abs=10)
    now_ppm = past.fee_rate_ppm([past.end_ns])[0]
    assert now_ppm.tolist() == arrays.fee_rate_ppm[past.out].tolist()
    assert (rates_ppm.max(axis=0) > rates_ppm.min(axis=0)).any()


def test_a_network_of_a_past_day_is_one_that_lnd_allows(known):
    past = Past(known.node, known.topology)
    for day in range(0, DAYS, 3):
        then = past.topology_at(BEGIN_NS + day * DAY_NS)  # a topology is checked when it is made
        held_msat = then.start_balances_msat().ravel()[past.out]
        assert held_msat == pytest.approx(past.local_msat([BEGIN_NS + day * DAY_NS])[0], abs=400_000)


def test_what_matters_around_a_node_are_its_peers_and_the_largest():
    part = around_own(TOPOLOGY, TOPOLOGY.nodes[-1], 20)
    own = TOPOLOGY.node_index[TOPOLOGY.nodes[-1]]
    peers = {TOPOLOGY.nodes[peer] for peer in TOPOLOGY.arrays.destination[TOPOLOGY.arrays.source == own].tolist()}
    assert {TOPOLOGY.nodes[-1], *peers} <= set(part.nodes)
    assert 20 <= len(part.nodes) <= 22
    assert around_own(TOPOLOGY, TOPOLOGY.nodes[-1], len(TOPOLOGY.nodes)) is TOPOLOGY
    dropped = set(TOPOLOGY.nodes) - set(part.nodes) - peers
    least = min(TOPOLOGY.node_capacity_sat[TOPOLOGY.node_index[name]] for name in set(part.nodes) - peers)
    assert all(TOPOLOGY.node_capacity_sat[TOPOLOGY.node_index[name]] <= least for name in dropped)


def test_most_candidates_come_by_the_peers_that_they_were_drawn_for(known):
    past = Past(known.node, known.topology)
    count = len(np.unique(past.peers))
    wanted = 4 * (1 - np.eye(count, dtype=np.int64))[None]
    rng = np.random.default_rng(0)
    payment = known.problem.config.payment
    drawn = draw_candidates(known.topology, past.own, payment, [np.array([20_000.0])], wanted, wanted > 1, rng)
    assert (drawn.peer_in != drawn.peer_out).all()
    assert past.own not in {*drawn.sender.tolist(), *drawn.receiver.tolist()}
    reached = try_out(past, drawn, np.full(64, past.end_ns), seed=0)
    plain = ~drawn.by_detour[reached.candidate]
    home = drawn.peer_in[reached.candidate] == reached.peer_in
    home &= drawn.peer_out[reached.candidate] == reached.peer_out
    assert plain.sum() > 100
    assert home[plain].mean() > 0.6
    assert reached.sent.sum() > len(home)


def test_the_fitted_demand_has_as_many_forwards_as_the_history(known, demand):
    per_day = len(known.node.forwards) / DAYS
    assert demand.expected.sum(axis=(1, 2)).mean() == pytest.approx(per_day, rel=0.5)
    assert demand.forwards == len(Past(known.node, known.topology).forwards)
    assert demand.unexplained < 0.2
    told = known.node.forwards
    past = Past(known.node, known.topology)
    fitted, pooled = demand.surprise(past.peers[past.places(told.chan_in)], past.peers[past.places(told.chan_out)])
    assert pooled < fitted < 0


def test_an_environment_has_the_balances_and_the_demand_of_a_draw(known, demand):
    env = own_environment(known.node, known.topology, demand, draw=1, max_episode_steps=4)
    env.reset(seed=0)
    flows = demand.flows(1)
    assert env.unwrapped.config.traffic.flows == flows
    past = Past(known.node, known.topology)
    task = env.unwrapped.problem.task
    began_msat = env.unwrapped.problem.start_balances_msat(0, 0).ravel()[task.out]
    assert began_msat == pytest.approx(past.local_msat([past.end_ns])[0], abs=400_000)
    *_, truncated, _ = [env.step({}) for _ in range(4)][-1]
    assert truncated
    problem = own_problem(known.node, known.topology, demand, step_hours=24)
    assert [variant.config.traffic.flows for variant in problem.variants][1] == flows
    assert len(set(seeds_of(problem))) == demand.draws == 12


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"begin_ns": BEGIN_NS + 10 * DAY_NS}, "expected 20 forwards in 7 days at least .* got .* in 5.0"),
        ({"end_ns": BEGIN_NS + DAY_NS}, "import a longer history"),
        ({"half_life_days": 0}, "half_life_days above 0"),
    ],
)
def test_too_short_a_history_is_refused(known, settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        fit_demand(known.node, known.topology, **settings)


def test_what_is_not_there_is_refused(known, demand):
    with pytest.raises(ConfigError, match=r"draw in 0\.\.11, got 12"):
        demand.flows(12)
    with pytest.raises(ConfigError, match="is not in the network"):
        Past(known.node, public(nodes=20, own_channels=0, seed=0))


def test_a_draw_in_which_nobody_pays_is_told_as_too_few_forwards(known, demand):
    quiet = replace(demand, per_day=np.zeros_like(demand.per_day))
    with pytest.raises(ConfigError, match="too few forwards lately to foretell anything"):
        own_environment(known.node, known.topology, quiet, draw=0)
    with pytest.raises(ConfigError, match="too few forwards lately to foretell anything"):
        own_problem(known.node, known.topology, quiet)


def test_detours_are_drawn_the_more_often_the_less_they_cost():
    rng = np.random.default_rng(5)
    into, onward, around = rng.uniform(0, 300, (2, 6)), rng.uniform(0, 300, (2, 6)), rng.uniform(0, 600, (6, 6))
    into[0, 1] = onward[1, 2] = around[3, 4] = around[0, 5] = np.inf
    into[1] += 200_000  # so dear that chances are beyond the smallest number, but for those that are compared
    size = rng.uniform(0, 1, (6, 6))
    np.fill_diagonal(size, 0)
    detours = _Detours(_Ways(np.array([7, 8]), into, onward, around), size)
    for peer_in, peer_out in ((0, 1), (1, 0)):
        best = np.minimum(around, onward.min(axis=0)[:, None] + into.min(axis=0)[None, :])
        detour_ppm = onward[peer_out][:, None] + into[peer_in][None, :] - best
        expected = size * np.exp(-(detour_ppm - detour_ppm.min()) / 100)
        drawn = np.concatenate([detours.draw(peer_in, peer_out, 1, rng) for _ in range(6_000)], axis=1)
        assert drawn.shape[1] == 6_000
        assert {tuple(ends) for ends in drawn[2:].T.tolist()} == {(peer_in, peer_out)}
        counts = np.zeros((6, 6))
        np.add.at(counts, (drawn[1], drawn[0]), 1)
        np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.03)
    nobody = _Detours(_Ways(np.array([7, 8]), np.full((2, 6), np.inf), onward, around), size)
    assert nobody.draw(0, 1, 3, rng).shape == (4, 0)
