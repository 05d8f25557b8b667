"""Circular rebalances over parallel channels: what a step notes names the channels that carried them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.backends.interventions import balances_after, settle
from lnsim_gym.network import Channel, Topology

pytestmark = pytest.mark.slow  # networks with links are compiled for a minute
PAIRS = ("ab", "bc", "bc", "cb", "ca")


@pytest.mark.parametrize("task", ["liquidity", "every_node"])
def test_interventions_name_the_channels_that_carried_a_rebalance(task):
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=1_000_000, initiator_balance_sat=500_000)
        for one, other in PAIRS
    )
    topology = Topology(nodes=("a", "b", "c"), channels=channels)
    env = gym.make(
        "LightningNet-v0",
        task=task,
        topology=topology,
        operation="circular",
        circular_max_hops=3,
        rebalance_fee_limit_ppm=500_000,
        payments_per_step=1,
    )
    inner = env.unwrapped
    env.reset(seed=0)
    env.action_space.seed(0)
    others, applied = 0, 0
    for _ in range(40):
        before = inner.balances_msat()
        _, _, _, over, _ = env.step(env.action_space.sample())
        done = inner.interventions()
        after = balances_after(topology, before, done)
        outcomes = inner.last_outcomes()
        for part in range(int(outcomes.parts[0])):
            route = tuple(outcomes.part_route[0, part][outcomes.part_route[0, part] >= 0].tolist())
            hop_msat = outcomes.part_hop_msat[0, part][: len(route)].tolist()
            settle(topology, after.reshape(-1), route, int(outcomes.part_amount_msat[0, part]), hop_msat)
        np.testing.assert_array_equal(after, inner.balances_msat())
        applied += sum(each.result.applied_msat > 0 for each in done)
        others += sum(each.carried_by != each.route for each in done)
        if over:
            env.reset()
    assert applied > 5
    assert others > 0
