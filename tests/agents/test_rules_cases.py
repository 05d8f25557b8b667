"""What each rule chooses in small cases worked out by hand, on every action space and both operations."""

import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.rules import (
    Autoloop,
    Lndg,
    MostUnbalanced,
    Proportional,
    RebalanceLnd,
    Regolancer,
    Ring,
    Targeted,
    TargetTable,
    Threshold,
)
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.liquidity.routes import NO_OP

SPACES = ("discrete", "multidiscrete", "box")
TRIANGLE = {
    "nodes": ["ann", "ben", "cat"],
    "channels": [
        {"initiator": "ann", "peer": "ben", "capacity_sat": 1_000_000},
        {"initiator": "ben", "peer": "cat", "capacity_sat": 1_000_000},
        {"initiator": "cat", "peer": "ann", "capacity_sat": 1_000_000},
    ],
}


def problem_of(action="discrete", **settings):
    return Problem.of(EnvironmentConfig.of({"topology": TRIANGLE, "action": action, **settings}))


PUSH = {action: problem_of(action) for action in SPACES}
CIRCULAR = {action: problem_of(action, operation="circular") for action in SPACES}


def chosen(agent, initiator_shares, step=0, seed=0):
    """Route (pairs of node names) and amount in sat that an agent chooses for shares of the initiators."""
    problem = agent.problem
    topology = problem.topology
    balances_msat = np.floor(np.array(initiator_shares)[:, None] * 1_000_000).astype(np.int64) * [[1000]]
    balances_msat = np.concatenate([balances_msat, topology.owned_total_msat[:, None] - balances_msat], axis=1)
    observation = (balances_msat.ravel() * problem.task.per_capacity).astype(np.float32)[None]
    free_msat = topology.spendable_msat(balances_msat).ravel()
    allowed = np.concatenate([[1], free_msat[problem.task.first_direction] >= problem.task.needed_msat]).astype(
        np.int8
    )[None]
    place = {"seed": np.zeros(1, np.int64), "episode_number": np.zeros(1, np.int64), "step": np.array([step])}
    info = {"action_mask": problem.task.actions.mask(allowed), **place}
    ((row, amount_msat),) = problem.task.actions.decode(agent.act(observation, info, np.random.default_rng(seed)))
    if row == NO_OP:
        return None
    ends = zip(topology.arrays.source, topology.arrays.destination, strict=True)
    names = [tuple(topology.nodes[node] for node in pair) for pair in ends]
    return [names[direction] for direction in problem.task.routes.route(int(row))], int(amount_msat) // 1000


AB = ("ann", "ben")
BC = ("ben", "cat")
CA = ("cat", "ann")
BA = AB[::-1]
CB = BC[::-1]
AC = CA[::-1]


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize(
    ("kind", "settings", "shares", "expected"),
    [
        # Initiators ann, ben, cat hold these shares; what both own is 0.99653 of the capacity.
        (Targeted, {}, (0.5, 0.6, 0.3), ([AC], 200_000)),
        (Targeted, {}, (0.5, 0.6, 0.4), None),
        (Targeted, {"low": 0.45, "high": 0.55, "size": 0.1}, (0.5, 0.6, 0.5), ([BC], 100_000)),
        (Targeted, {}, (0.9, 0.6, 0.05), ([AC], 200_000)),
        (MostUnbalanced, {}, (0.5, 0.48, 0.45), ([AC], 200_000)),
        (MostUnbalanced, {"size": 0.05}, (0.52, 0.47, 0.5), ([CB], 50_000)),
        (Threshold, {}, (0.5, 0.62, 0.5), None),
        (Threshold, {}, (0.5, 0.66, 0.5), ([BC], 200_000)),
        (Threshold, {"low": 0.4, "high": 0.6}, (0.5, 0.61, 0.5), ([BC], 100_000)),
        (Threshold, {"low": 0.45, "high": 0.55}, (0.56, 0.5, 0.5), ([AB], 50_000)),
        (Proportional, {}, (0.5, 0.58, 0.5), ([BC], 100_000)),
        (Proportional, {"gain": 2.0}, (0.5, 0.58, 0.5), ([BC], 200_000)),
        (Proportional, {"gain": 0.25}, (0.5, 0.58, 0.5), None),
        (Proportional, {"dead_band": 0.1}, (0.5, 0.58, 0.5), None),
        # ann's incoming share is 0.19653, below 0.3: the midpoint of 0.3 and 0.7 lacks 0.30347.
        (Autoloop, {"incoming": 0.3, "outgoing": 0.3}, (0.8, 0.5, 0.5), ([AB], 200_000)),
        # ben's incoming share is 0.39, below 0.4: the midpoint of 0.4 and 0.5 lacks 0.06.
        (Autoloop, {"incoming": 0.4, "outgoing": 0.5}, (0.39, 0.5, 0.5), ([BA], 50_000)),
        # and below 0.4 it lacks 0.16 to the midpoint 0.55, which would leave 0.44653 of an outgoing minimum of 0.3.
        (Autoloop, {"incoming": 0.4, "outgoing": 0.3}, (0.39, 0.5, 0.5), ([BA], 200_000)),
        (Autoloop, {"incoming": 0.3, "outgoing": 0.3}, (0.6, 0.5, 0.5), None),
        # ann is to hold 0.7 and has 0.6, ben 0.5 and has 0.7: he has the larger surplus.
        (TargetTable, {"targets": {"ann:ben": 0.7, "ben:cat": 0.5}}, (0.6, 0.7, 0.0), ([BC], 200_000)),
        (TargetTable, {"targets": {"ben:ann": 0.3, "ben:cat": 0.5}}, (0.6, 0.55, 0.0), ([BA], 100_000)),
        (TargetTable, {"targets": {"ann:ben": 0.4}, "cap_sat": 60_000}, (0.8, 0.5, 0.5), ([AB], 50_000)),
        (TargetTable, {"targets": {"ann:ben": 0.59}}, (0.6, 0.5, 0.5), None),
    ],
)
def test_a_rule_pushes_what_its_source_says(action, kind, settings, shares, expected):
    assert chosen(kind(PUSH[action], **settings), shares) == expected


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize(
    ("kind", "settings", "shares", "expected"),
    [
        # ann holds 0.8 towards ben and 0.1 of the channel with cat; ben 0.5 towards cat.
        (Targeted, {}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 200_000)),
        (MostUnbalanced, {"size": 0.1}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        (Threshold, {"target": 0.5}, (0.8, 0.5, 0.8), ([AB, BC, CA], 200_000)),
        (Threshold, {"target": 0.6}, (0.7, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        (Proportional, {"gain": 0.3}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        (TargetTable, {"targets": {"ann:ben": 0.7, "cat:ann": 0.6}}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        # ann's channel with cat is 0.8965 remote; ann keeps 0.75 of the other after 5 %.
        (Lndg, {"inbound": 0.85}, (0.81, 0.5, 0.8965), ([AB, BC, CA], 50_000)),
        (Lndg, {"inbound": 0.9}, (0.81, 0.5, 0.8965), None),
        (Lndg, {"inbound": 0.85, "outbound": 0.77}, (0.81, 0.5, 0.8965), None),
        (Lndg, {"inbound": 0.85, "amount": 0.1, "outbound": 0.7}, (0.81, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        # Remote 0.19653 and local 0.1: up to half there is 0.30347 and 0.4, cut to the amount.
        (Regolancer, {}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        (Regolancer, {"amount": 0.2}, (0.6, 0.5, 0.8965), ([AB, BC, CA], 100_000)),
        (Regolancer, {"pfrom": 0.15}, (0.8, 0.5, 0.8965), None),
        (RebalanceLnd, {}, (0.8, 0.5, 0.8965), ([AB, BC, CA], 200_000)),
        (RebalanceLnd, {}, (0.55, 0.4983, 0.8965), ([AB, BC, CA], 50_000)),
        (RebalanceLnd, {"ratio": 0.4}, (0.55, 0.4983, 0.8965), None),
    ],
)
def test_a_rule_sends_around_what_its_source_says(action, kind, settings, shares, expected):
    assert chosen(kind(CIRCULAR[action], **settings), shares) == expected


@pytest.mark.parametrize("action", SPACES)
def test_the_ring_goes_around_one_hop_per_step_where_the_sender_is_well_filled(action):
    rule = Ring(PUSH[action])
    shares = (0.7, 0.5, 0.6)
    assert [chosen(rule, shares, step) for step in range(5)] == [
        ([AB], 50_000),
        None,
        ([CA], 50_000),
        ([AB], 50_000),
        None,
    ]
    backwards = Ring(PUSH[action], nodes=["ann", "cat", "ben"], at_least=0.3, amount_sat=300_000, most=0.1)
    assert [chosen(backwards, shares, step) for step in range(3)] == [([AC], 100_000), ([CB], 100_000), None]


@pytest.mark.parametrize("action", SPACES)
def test_a_rule_never_asks_for_what_a_forwarder_cannot_send(action):
    """ben has 0.13 towards cat: with his reserve, enough to forward a tenth but no fifth; 0.02 is not enough at all.

    Then his own circle is next: ann can forward a twentieth of it.
    """
    assert chosen(Targeted(CIRCULAR[action]), (0.8, 0.13, 0.8965)) == ([AB, BC, CA], 100_000)
    assert chosen(Targeted(CIRCULAR[action]), (0.8, 0.02, 0.8965)) == ([BA, AC, CB], 50_000)


@pytest.mark.parametrize("action", SPACES)
def test_a_rule_sends_less_where_the_payer_has_less(action):
    assert chosen(TargetTable(PUSH[action], {"ann:ben": 0.0}), (0.17, 0.5, 0.5)) == ([AB], 100_000)
    assert chosen(TargetTable(PUSH[action], {"ann:ben": 0.0}), (0.03, 0.5, 0.5)) is None


def test_a_rule_leaves_what_costs_more_than_the_fee_limit():
    dear = problem_of(operation="circular", rebalance_fee_limit_ppm=1)
    assert chosen(Targeted(dear), (0.8, 0.5, 0.8965)) is None


def test_regolancer_picks_every_candidate_now_and_then():
    """Each of the three nodes has a channel to give and one to take; ann may move most."""
    seen = {str(chosen(Regolancer(CIRCULAR["discrete"]), (0.8, 0.56, 0.8), seed=seed)) for seed in range(40)}
    circles = (([AB, BC, CA], 100_000), ([BC, CA, AB], 50_000), ([CA, AB, BC], 50_000))
    assert seen == {str(circle) for circle in circles}


@pytest.mark.parametrize("name", ["lndg", "regolancer", "rebalance_lnd"])
def test_programs_that_rebalance_in_circles_say_so(name):
    with pytest.raises(ConfigError, match="operation 'circular', got 'push': set operation=circular"):
        make_agent(name, PUSH["discrete"])


@pytest.mark.parametrize("name", ["ring", "autoloop"])
def test_rules_that_push_say_so(name):
    with pytest.raises(ConfigError, match="operation 'push', got 'circular'"):
        make_agent(name, CIRCULAR["discrete"])


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (Threshold, {"low": 0.6}, "low <= target <= high"),
        (MostUnbalanced, {"size": 0.0}, "size in"),
        (Proportional, {"gain": 0.0}, "gain > 0"),
        (Autoloop, {"incoming": 0.6, "outgoing": 0.4}, "sum below 1"),
        (TargetTable, {"targets": {"ann:bem": 0.5}}, "Did you mean 'ben'"),
        (TargetTable, {"targets": {"ann": 0.5}}, '"alice:bob" = 0.6'),
        (TargetTable, {"targets": {"ann:ben": 60}}, '"alice:bob" = 0.6'),
        (TargetTable, {"targets": {}, "cap_sat": 9_999}, "cap_sat of at least 10,000"),
        (Ring, {"nodes": ["ann"]}, "at least 2 nodes"),
        (Ring, {"nodes": ["ann", "ben", "dan"]}, "unknown node 'dan'"),
        (Ring, {"at_least": 60.0}, "at_least in 0..1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, said):
    with pytest.raises(ConfigError) as refusal:
        kind(PUSH["discrete"], **settings)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "settings"), [(Lndg, {"amount": 0.0}), (Regolancer, {"pto": 2.0}), (RebalanceLnd, {"ratio": 0.6})]
)
def test_settings_of_circular_rules_out_of_range_are_refused(kind, settings):
    with pytest.raises(ConfigError, match="needs"):
        kind(CIRCULAR["discrete"], **settings)
