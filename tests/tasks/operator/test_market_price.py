"""How the default environment's income answers to one fee rate on all channels, beside what operators report."""

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES

DAYS = 30


def month(env, rate_ppm, seed):
    """Return income in sat, and settled forwards, of a month with all channels at a fee rate."""
    env.reset(seed=seed)
    channels = env.get_wrapper_attr("problem").task.actions.limits.channels
    fees = {"fee_rate_ppm": [rate_ppm] * channels, "fee_base_msat": [0] * channels}
    income_sat, forwards = 0.0, 0.0
    for _ in range(4 * DAYS):
        observation, _, _, _, info = env.step(fees)
        income_sat += info["ledger"]["income_msat"] / 1000
        forwards += 10 * observation["channels"][:, CHANNEL_FEATURES.index("forwarded_out")].sum()
    return income_sat, forwards


@pytest.mark.slow
def test_income_is_best_at_prices_that_real_nodes_sell_at():
    env = gym.make("LightningOperator-v0", action="dict", levers=["fees"])
    rates_ppm = (10, 200, 3_000)
    cheap, usual, dear = (np.mean([month(env, rate, seed) for seed in (7, 8)], axis=0) for rate in rates_ppm)
    assert usual[0] > 2 * cheap[0]
    assert usual[0] > 2 * dear[0]
    assert 10 < usual[1] / DAYS < cheap[1] / DAYS < 200
    assert 5 < usual[0] / usual[1] < 40
    assert dear[1] < 0.1 * usual[1]
    env.close()
