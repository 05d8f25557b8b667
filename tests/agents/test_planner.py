"""The planner knows the demand, beats doing nothing, and leaves the world it plans for alone."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.evaluate import evaluate
from lnsim_gym.agents.planner import PlannerOracle
from lnsim_gym.config import EnvironmentConfig
from lnsim_gym.episodes import Problem

DRIFT = {"start_balances": {}, "traffic": {"median_amount_sat": 20_000, "weight_spread": 1.2}}


def test_the_planner_beats_doing_nothing_by_far():
    problem = Problem.of(EnvironmentConfig.of(DRIFT))
    seeds = range(500, 506)
    idle, planned = (evaluate(name, make_agent(name, problem), seeds, 50) for name in ("noop", "planner_oracle"))
    assert planned.success_rate_low > idle.success_rate_high
    assert planned.success_rate > idle.success_rate + 0.1


@pytest.mark.parametrize("settings", [{}, {"operation": "circular", "observation": "dict", "action": "multidiscrete"}])
def test_imagined_futures_never_touch_the_environment(settings):
    planned, blind = gym.make("LightningNet-v0", **settings), gym.make("LightningNet-v0", **settings)
    agent, rng = PlannerOracle(planned.unwrapped.problem, horizon=3, samples=4), np.random.default_rng(0)
    (state, info), (other, _) = planned.reset(seed=77), blind.reset(seed=77)
    rebalanced = 0
    for _ in range(30):
        before = planned.unwrapped.balances_msat()
        action = agent.act_one(state, info, rng)
        assert np.array_equal(before, planned.unwrapped.balances_msat())
        state, reward, *_, info = planned.step(action)
        other, same_reward, *_ = blind.step(action)
        assert data_equivalence(state, other)
        assert reward == same_reward
        assert np.array_equal(planned.unwrapped.balances_msat(), blind.unwrapped.balances_msat())
        rebalanced += info["rebalance"]["applied_sat"] > 0
    assert rebalanced >= 3


def test_the_same_place_and_chance_give_the_same_plan():
    problem = Problem.of(EnvironmentConfig.of(DRIFT))
    with gym.make("LightningNet-v0", **DRIFT) as env:
        state, info = env.reset(seed=3)
        plans = [
            PlannerOracle(problem, threads=threads).act_one(state, info, np.random.default_rng(1))
            for threads in (1, 1, 2)
        ]
    assert plans[0] == plans[1] == plans[2]


def test_a_plan_does_not_depend_on_who_else_is_planned_for():
    """Also in a crowd larger than what is rolled out at once."""
    agent = PlannerOracle(Problem.of(EnvironmentConfig.of(DRIFT)), samples=2)
    with gym.make("LightningNet-v0", **DRIFT) as env:
        state, info = env.reset(seed=5)
    crowd = 70
    states = np.repeat(state[None], crowd, axis=0)
    infos = {key: np.repeat(np.asarray(info[key])[None], crowd, axis=0) for key in agent.INFO}
    actions = agent.act(states, infos, np.random.default_rng(4))
    assert actions[0] == agent.act_one(state, info, np.random.default_rng(4))
    assert len(set(actions[:64].tolist())) == 1
