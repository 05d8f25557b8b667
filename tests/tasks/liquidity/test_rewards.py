"""Reward terms and weights."""

import numpy as np
import pytest

from lnsim_gym.episodes.backed import measure
from lnsim_gym.episodes.columns import COUNTS, FIRST_FAILURE
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.liquidity.rewards import TERMS, reward_weights


def test_terms_and_counts_of_a_step_are_what_they_say():
    counts, terms = np.zeros(len(COUNTS), np.int64), np.zeros(len(TERMS))
    counts[[3, 4, 5]] = 100_000, 100_000, 1_500
    reward = measure(
        np.array([10_000, 20_000, 30_000, 40_000]),
        np.array([True, False, True, False]),
        np.array([0, 2, 0, 5], np.int32),
        np.array([0, 0, 2_500, 0]),
        1_000_000,
        reward_weights({"success_rate": 2.0, "rebalance_fees_sat": -1.0}),
        counts,
        terms,
    )
    assert dict(zip(TERMS, terms, strict=True)) == {
        "success_rate": 0.5,
        "volume_rate": 0.4,
        "routing_fees_sat": 2.5,
        "rebalance_fees_sat": 1.5,
        "rebalanced_share": 0.1,
    }
    assert reward == 2 * 0.5 - 1.5
    assert counts[:3].tolist() == [2, 40_000, 2_500]
    assert counts[FIRST_FAILURE:].tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_presets_weigh_the_terms_they_name():
    assert reward_weights("success_rate").tolist() == [1, 0, 0, 0, 0]
    assert reward_weights("volume").tolist() == [0, 1, 0, 0, 0]
    assert reward_weights("profit").tolist() == [0, 0, 1, -1, 0]


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        ("sucess_rate", "Did you mean 'success_rate'"),
        ({"volume": 1.0}, "unknown reward term 'volume'"),
        ({}, "at least one"),
        ({"volume_rate": float("nan")}, "finite"),
    ],
)
def test_unknown_rewards_are_refused(reward, complaint):
    with pytest.raises(ConfigError, match=complaint):
        reward_weights(reward)
