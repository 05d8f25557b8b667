"""Reward terms and weights."""

import dataclasses

import numpy as np
import pytest

from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import RebalanceResult
from lnsim_gym.tasks import EnvironmentConfig
from lnsim_gym.tasks.columns import FIRST_FAILURE, LEDGER
from lnsim_gym.tasks.liquidity.rewards import TERMS, reward_weights
from tests.records.neighbours import Neighbours


class Scripted(Neighbours):
    """Settles the first and third of four payments, whatever they are, and charges 1,500 msat for each rebalance."""

    def rebalance(self, route, amount_msat):
        return RebalanceResult(applied_msat=amount_msat, fee_msat=1_500)

    def pay(self, batch, time_ms=None):
        settled = np.array([True, False, True, False])
        return dataclasses.replace(
            super().pay(batch),
            succeeded=settled,
            failure_reason=np.array([0, 2, 0, 5], np.int32),
            fee_msat=np.where(settled, [0, 0, 2_500, 0], 0),
        )


def test_terms_and_counts_of_a_step_are_what_they_say():
    reward = {"success_rate": 2.0, "rebalance_fees_sat": -1.0}
    problem = Problem.of(EnvironmentConfig.of({"payments_per_step": 4, "action_sizes": [0.1], "reward": reward}))
    episodes = BackendEpisodes(problem, Scripted(problem.topology))
    episodes.seed(0, 1)
    episodes.begin(np.ones(1, np.bool_))
    episodes.step_one(problem.task.actions.decode_one(1))
    columns = episodes.columns
    asked_msat = episodes.batch(0).amount_msat
    delivered_msat = int(asked_msat[[0, 2]].sum())
    assert dict(zip(TERMS, columns.terms[0].tolist(), strict=True)) == {
        "success_rate": 0.5,
        "volume_rate": delivered_msat / asked_msat.sum(),
        "routing_fees_sat": 2.5,
        "rebalance_fees_sat": 1.5,
        "rebalanced_share": 0.1,
    }
    assert columns.reward[0] == 2 * 0.5 - 1.5
    assert columns.counts[0, :3].tolist() == [2, delivered_msat, 2_500]
    assert columns.counts[0, FIRST_FAILURE:LEDGER].tolist() == [0, 0, 1, 0, 0, 1, 0]
    assert columns.ledger[0].tolist() == [100_000_000, 100_000_000, 1_500, 0, -1]


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
