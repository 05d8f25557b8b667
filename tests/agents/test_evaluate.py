"""Scores: equal seeds give equal scores, and they are what a single environment gives step by step."""

import gymnasium as gym
import msgspec
import numpy as np
import pytest

from lnsim_gym.agents import Agent, make_agent
from lnsim_gym.agents.evaluate import behind, bootstrap, evaluate
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.tasks.config import EnvironmentConfig

PROBLEM = Problem.of(EnvironmentConfig.of(gym.spec("LightningNet-v0").kwargs))
SEEDS = range(40, 46)
STEPS = 30


def score_of(name, seeds=SEEDS, **options):
    return evaluate(name, make_agent(name, PROBLEM), seeds, STEPS, **options)


@pytest.mark.parametrize("name", ["noop", "random", "targeted"])
def test_the_same_seeds_give_the_same_scores_with_any_number_of_threads(name):
    assert score_of(name) == score_of(name) == score_of(name, threads=2)
    assert score_of(name) != score_of(name, seeds=range(140, 146))


@pytest.mark.parametrize("name", ["noop", "random", "targeted"])
def test_the_interval_brackets_the_mean_and_narrows_with_more_seeds(name):
    few = score_of(name)
    many = score_of(name, seeds=range(40, 240))
    for score in (few, many):
        assert score.success_rate_low < score.success_rate < score.success_rate_high
    assert many.success_rate_high - many.success_rate_low < 0.5 * (few.success_rate_high - few.success_rate_low)


def test_agents_are_compared_seed_by_seed():
    best, idle = (score_of(name, seeds=range(40, 240)) for name in ("targeted", "noop"))
    assert np.mean(best.success_rates) == pytest.approx(best.success_rate)
    assert best.success_rates[:6] == score_of("targeted").success_rates
    difference, low, high = behind(idle, best)
    assert low < difference < high
    assert difference == pytest.approx(best.success_rate - idle.success_rate)
    assert high - low < best.success_rate_high - best.success_rate_low + idle.success_rate_high - idle.success_rate_low
    assert behind(best, best) == (0.0, 0.0, 0.0)


def test_a_single_seed_gives_an_interval_of_one_point():
    score = score_of("noop", seeds=range(9, 10))
    assert score.episodes == 1
    assert score.success_rate_low == score.success_rate == score.success_rate_high


@pytest.mark.parametrize("name", ["noop", "targeted"])
def test_scores_are_those_of_a_single_environment_played_step_by_step(name):
    sums = {"succeeded": 0, "reward": 0.0, "volume_msat": 0, "fees_msat": 0, "applied_sat": 0, "fee_msat": 0}
    asked = refused = 0
    with gym.make("LightningNet-v0") as env:
        network = env.unwrapped
        agent = make_agent(name, network.problem)
        rng = np.random.default_rng(0)
        for seed in SEEDS:
            state, info = env.reset(seed=seed)
            for _ in range(STEPS):
                state, reward, *_, info = env.step(agent.act_one(state, info, rng))
                batch = network.last_batch()
                outcomes = network.last_outcomes()
                sums["succeeded"] += int(outcomes.succeeded.sum())
                sums["volume_msat"] += int(batch.amount_msat[outcomes.succeeded.astype(bool)].sum())
                sums["fees_msat"] += info["fees_msat"]
                sums["reward"] += reward
                for key in ("applied_sat", "fee_msat"):
                    sums[key] += info["rebalance"][key]
                asked += info["rebalance"]["requested_sat"] > 0
                refused += info["rebalance"]["refused"]
    count = len(SEEDS)
    expected = {
        "agent": name,
        "episodes": count,
        "success_rate": sums["succeeded"] / (count * STEPS * 20),
        "reward": sums["reward"] / count,
        "volume_sat": sums["volume_msat"] / count / 1000,
        "routing_fees_sat": sums["fees_msat"] / count / 1000,
        "rebalanced_sat": sums["applied_sat"] / count,
        "rebalance_fees_sat": sums["fee_msat"] / count / 1000,
        "refused": refused / asked if asked else 0.0,
    }
    score = msgspec.to_builtins(score_of(name))
    assert {key: score[key] for key in expected} == pytest.approx(expected)
    assert (asked > 0) == (name == "targeted")


def test_progress_is_told_after_every_step():
    told = []
    score_of("noop", tell=lambda done, total: told.append((done, total)))
    assert told == [(step, STEPS) for step in range(1, STEPS + 1)]


def test_seeds_need_not_lie_in_a_row():
    listed = score_of("targeted", seeds=[40, 43, 45])
    assert listed.success_rates == tuple(score_of("targeted").success_rates[place] for place in (0, 3, 5))


@pytest.mark.parametrize(("seeds", "steps"), [(range(0), 5), (range(3), 0)])
def test_nothing_to_play_is_refused(seeds, steps):
    with pytest.raises(ConfigError, match="at least one seed and one step"):
        evaluate("noop", make_agent("noop", PROBLEM), seeds, steps)


def test_an_agent_that_forgets_a_network_is_refused():
    class Forgetful(Agent):
        def act(self, observation, info, rng):
            return np.zeros(len(observation) - 1, np.int64)

    with pytest.raises(InvalidAction, match="each of 6 networks, got 5"):
        evaluate("forgetful", Forgetful(PROBLEM), SEEDS, STEPS)


def test_intervals_over_groups_resample_whole_groups():
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 25)
    low, high = bootstrap(values, groups=4)
    assert (low, high) == bootstrap(np.array([0.0, 1.0, 2.0, 3.0]))
    narrow_low, narrow_high = bootstrap(values)
    assert low < narrow_low < 1.5 < narrow_high < high
