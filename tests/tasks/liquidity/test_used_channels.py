"""A step on a large network looks only at the channels it used, and sees what looking at all of them would show."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.network.generators import scale_free


@pytest.mark.parametrize(
    "settings",
    [
        {"operation": "push"},
        {"operation": "circular", "circular_max_hops": 4, "rebalance_fee_limit_ppm": 500_000},
        {"operation": "circular", "circular_routes": "found", "action": "dict", "rebalance_fee_limit_ppm": 500_000},
        {"operation": "push", "payment": {"max_parts": 4}, "observation": "flows"},
    ],
)
@pytest.mark.slow
def test_used_channels_are_all_that_changes(settings):
    topology = scale_free(30, 70, seed=2, initiator_share=(0.3, 0.7))
    env = gym.make("LightningNet-v0", backend="simulator", topology=topology.to_dict(), payments_per_step=2, **settings)
    inner = env.unwrapped
    episodes = inner._episodes
    assert episodes._bound_task.state.looks_again == 1
    env.reset(seed=1)
    env.action_space.seed(1)
    applied = 0
    for _ in range(60):
        *_, info = env.step(env.action_space.sample())
        applied += info["rebalance"]["applied_sat"] > 0
        columns = episodes.columns
        seen = columns.observation.copy(), columns.allowed.copy(), episodes._state.columns.spendable_msat.copy()
        inner.problem.task.kernels.observe(episodes._address, episodes._task_address, 0, 1)
        now = columns.observation, columns.allowed, episodes._state.columns.spendable_msat
        for one, other in zip(seen, now, strict=True):
            np.testing.assert_array_equal(one, other)
    assert applied > 3
