"""The rule that knows what pairs would pay, held to prices tried one by one."""

import numpy as np
import pytest

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.operator.oracle import _dearest
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.load import load_topology
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.traffic.market import draw_flow_pairs, way_out

SETTINGS = {
    "task": "operator",
    "topology": "public(nodes = 120, own_channels = 8, own_capacity_sat = 30_000_000, seed = 2)",
    "observation": "dict",
    "action": "dict",
}


def test_the_best_price_is_one_at_which_somebody_still_pays():
    # 100 pay 300 ppm, 300 more pay 120 ppm: 30,000 at 300 ppm, 48,000 at 120 ppm.
    assert _dearest(np.array([120.0, 300.0]), np.array([300.0, 100.0])) == 120
    assert _dearest(np.array([70.0, 300.0]), np.array([300.0, 100.0])) == 300
    assert _dearest(np.zeros(0), np.zeros(0)) == 0


def test_no_other_price_of_a_channel_would_be_paid_more_in_all():
    problem = Problem.of(EnvironmentConfig.of(SETTINGS))
    task = problem.task
    rates_ppm = make_agent("fee_oracle", problem)._best_ppm[0]
    market, payment = task.config.traffic, task.config.payment
    flows = draw_flow_pairs(market, payment, task.topology, task.own)
    taken = way_out(market, payment, task.topology, task.own, flows)
    median_sat = np.array([30_000, 60_000, 500_000])[flows.kind]
    worth_ppm = np.minimum(1000 * flows.reservation_msat / median_sat, flows.fee_limit_ppm)

    def paid(direction, rate_ppm):
        buys = (taken == direction) & (worth_ppm >= rate_ppm)
        return float(rate_ppm * (flows.weight * median_sat)[buys].sum())

    assert (rates_ppm > 0).sum() >= 4
    for direction, rate_ppm in zip(task.out.tolist(), rates_ppm.tolist(), strict=True):
        most = max(paid(direction, other_ppm) for other_ppm in range(0, 5_001, 5))
        assert paid(direction, rate_ppm) >= most * (1 - 1e-12)


def test_flows_that_are_listed_have_no_reservation_fees():
    topology = load_topology(SETTINGS["topology"])
    ends = {"sender": topology.nodes[0], "receiver": topology.nodes[1]}
    flow = {**ends, "payments_per_day": 1.0, "median_amount_sat": 50_000.0}
    listed = Problem.of(EnvironmentConfig.of({**SETTINGS, "traffic": {"kind": "flows", "flows": [flow]}}))
    with pytest.raises(ConfigError, match="needs traffic of kind 'market'"):
        make_agent("fee_oracle", listed)
