"""A policy trained in the simulator does the same on real nodes, and gets the same for it."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.agents import make_agent, view_of

pytestmark = [pytest.mark.lnd, pytest.mark.timeout(300)]

STEPS = 8
LIVELY = {"payments_per_step": 10, "traffic": {"median_amount_sat": 100_000.0}}
"""Large payments, so that some fail within a few steps."""


def episode(**settings):
    """Play the trained agent; return its actions, the rewards, and the balances after each step."""
    with gym.make("LightningNet-v0", **view_of("dpi"), **LIVELY, **settings) as env:
        agent = make_agent("dpi", env.unwrapped.problem)
        rng = np.random.default_rng(0)
        observation, info = env.reset(seed=31)
        actions = []
        rewards = []
        balances_msat = []
        for _ in range(STEPS):
            actions.append(int(agent.act_one(observation, info, rng)))
            observation, reward, *_, info = env.step(actions[-1])
            rewards.append(reward)
            balances_msat.append(env.unwrapped.balances_msat())
        return actions, rewards, np.array(balances_msat)


def test_the_trained_agent_acts_and_fares_alike_on_real_nodes(live_launcher):
    actions, rewards, balances_msat = episode()
    real_actions, real_rewards, real_balances_msat = episode(backend="lnd", lnd={"launcher": live_launcher})
    assert real_actions == actions
    assert real_rewards == rewards
    np.testing.assert_array_equal(real_balances_msat, balances_msat)
    assert any(actions)
    assert min(rewards) < 1
