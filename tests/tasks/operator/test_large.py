"""The environment of a public network's size plays as the small one does."""

import gymnasium as gym
import numpy as np
import pytest

pytestmark = pytest.mark.slow  # a day of payments in a large network before it begins

COSTS = ("rebalance_fee_msat", "swap_fee_msat", "chain_fee_msat")


def test_the_large_environment_has_its_size_and_counts_its_money_to_the_millisatoshi():
    env = gym.make("LightningOperatorLarge-v0", warm_up_days=0.25)
    task, topology = env.unwrapped.problem.task, env.unwrapped.topology
    assert (len(topology.nodes), len(task.out)) == (12_042, 60)
    assert len(topology.channels) == 46_978 + 60
    env.reset(seed=0)
    env.action_space.seed(0)
    settled, wallet_msat = 0, 1000 * env.unwrapped.config.wallet_sat
    for _ in range(6):
        funds_msat = env.unwrapped.balances_msat().ravel()[task.out].sum() + wallet_msat
        observation, reward, *_, info = env.step(env.action_space.sample())
        money, after_msat = info["ledger"], env.unwrapped.balances_msat()
        assert observation in env.observation_space
        assert np.array_equal(after_msat.sum(axis=1), topology.owned_total_msat)
        gained_msat = money["income_msat"] - sum(money[name] for name in COSTS)
        assert reward == gained_msat / 1000
        wallet_msat = money["wallet_msat"]
        assert after_msat.ravel()[task.out].sum() + wallet_msat - funds_msat == gained_msat
        settled += info["succeeded"]
    assert settled > 0
