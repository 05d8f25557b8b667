"""Planners know or estimate the demand, beat the rules, and leave the network they plan for alone."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.evaluate import evaluate
from lnsim_gym.agents.planner import Forecast, Planner, PlannerOracle
from lnsim_gym.agents.play import play
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig

DRIFT = {"start_balances": {}, "traffic": {"median_amount_sat": 20_000, "weight_spread": 1.2}}
FLOWS = {"observation": "flows", "observation_history": 1}
FEW = {"horizon": 3, "samples": 4, "more_samples": 4}
PROBLEM = Problem.of(EnvironmentConfig.of(DRIFT))
SEEING = Problem.of(EnvironmentConfig.of({**DRIFT, **FLOWS}))


def test_planners_beat_doing_nothing_by_far_and_the_best_rule_clearly():
    seeds = range(500, 510)
    few = {"horizon": 6, "samples": 6, "more_samples": 18}
    idle, rule = (evaluate(name, make_agent(name, PROBLEM), seeds, 50) for name in ("noop", "targeted"))
    for agent in (PlannerOracle(PROBLEM, **few), Planner(SEEING, **few)):
        planned = evaluate("planner", agent, seeds, 50)
        assert planned.success_rate_low > idle.success_rate_high
        assert planned.success_rate > rule.success_rate + 0.02
        assert planned.refused == 0.0


def test_a_forecast_beats_the_best_rule_clearly_without_knowing_the_demand():
    seeds = range(500, 600)
    rule = evaluate("targeted", make_agent("targeted", PROBLEM), seeds, 100)
    forecast = evaluate("forecast", Forecast(SEEING), seeds, 100)
    assert forecast.success_rate > rule.success_rate + 0.03
    assert forecast.refused == 0.0


@pytest.mark.parametrize("kind", [Forecast, Planner])
def test_who_estimates_never_looks_at_the_seed(kind):
    """The same episode under other seeds in info: the same actions."""
    with gym.make("LightningNet-v0", **FLOWS) as env:
        settings = FEW if kind is Planner else {}
        honest, blind = (kind(env.unwrapped.problem, **settings) for _ in range(2))
        state, info = env.reset(seed=7)
        for step in range(12):
            action = honest.act_one(state, info, np.random.default_rng(step))
            lied = {**info, "seed": step, "episode_number": 9}
            assert action == blind.act_one(state, lied, np.random.default_rng(step))
            state, *_, info = env.step(action)


@pytest.mark.parametrize("kind", [Forecast, Planner])
def test_an_episode_starts_with_an_empty_memory(kind):
    with gym.make("LightningNet-v0", max_episode_steps=8, **FLOWS) as env:
        settings = FEW if kind is Planner else {}
        used, fresh = (kind(env.unwrapped.problem, **settings) for _ in range(2))
        for _ in play(env, used, 20, seed=1):
            pass
        replays = []
        for agent in (used, fresh):
            state, info = env.reset(seed=2)
            actions = []
            for step in range(8):
                actions.append(agent.act_one(state, info, np.random.default_rng(step)))
                state, *_, info = env.step(actions[-1])
            replays.append(actions)
        assert replays[0] == replays[1]


@pytest.mark.parametrize("settings", [{}, {"operation": "circular", "observation": "dict", "action": "multidiscrete"}])
@pytest.mark.parametrize("kind", [PlannerOracle, Planner])
def test_imagined_futures_never_touch_the_environment(kind, settings):
    settings = {**FLOWS, **settings}
    planned = gym.make("LightningNet-v0", **settings)
    blind = gym.make("LightningNet-v0", **settings)
    agent = kind(planned.unwrapped.problem, **FEW)
    rng = np.random.default_rng(0)
    state, info = planned.reset(seed=77)
    other, _ = blind.reset(seed=77)
    rebalanced = 0
    for _ in range(15):
        before = planned.unwrapped.balances_msat()
        action = agent.act_one(state, info, rng)
        assert np.array_equal(before, planned.unwrapped.balances_msat())
        state, reward, *_, info = planned.step(action)
        other, same_reward, *_ = blind.step(action)
        assert data_equivalence(state, other)
        assert reward == same_reward
        assert np.array_equal(planned.unwrapped.balances_msat(), blind.unwrapped.balances_msat())
        assert not info["rebalance"]["refused"]
        rebalanced += info["rebalance"]["applied_sat"] > 0
    assert rebalanced > 0


@pytest.mark.parametrize("action", ["discrete", "multidiscrete", "box"])
def test_every_action_space_means_the_same_plan(action):
    with gym.make("LightningNet-v0", action=action) as env:
        state, info = env.reset(seed=3)
        agent = PlannerOracle(env.unwrapped.problem, **FEW)
        chosen = agent.act_one(state, info, np.random.default_rng(1))
        rebalance = env.unwrapped.problem.task.actions.decode_one(chosen).tolist()
    with gym.make("LightningNet-v0") as env:
        state, info = env.reset(seed=3)
        agent = PlannerOracle(env.unwrapped.problem, **FEW)
        chosen = agent.act_one(state, info, np.random.default_rng(1))
        assert rebalance == env.unwrapped.problem.task.actions.decode_one(chosen).tolist()


def test_the_same_place_and_chance_give_the_same_plan():
    with gym.make("LightningNet-v0", **DRIFT) as env:
        state, info = env.reset(seed=3)
        plans = [
            PlannerOracle(PROBLEM, threads=threads).act_one(state, info, np.random.default_rng(1))
            for threads in (1, 1, 2)
        ]
    assert plans[0] == plans[1] == plans[2]


def test_threads_of_a_comparison_share_the_rollouts_and_change_nothing():
    agents = PlannerOracle(PROBLEM, **FEW), PlannerOracle(PROBLEM, **FEW)
    alone, shared = (
        evaluate("oracle", agent, range(3), 5, threads=threads) for threads, agent in enumerate(agents, start=1)
    )
    assert alone == shared
    assert [agent.threads for agent in agents] == [1, 2]


@pytest.mark.parametrize(("kind", "problem"), [(PlannerOracle, PROBLEM), (Planner, SEEING)])
def test_a_plan_does_not_depend_on_who_else_is_planned_for(kind, problem):
    """Also in a crowd larger than what is rolled out at once."""
    agent = kind(problem, **FEW)
    with gym.make("LightningNet-v0", **DRIFT, observation=problem.config.observation, observation_history=1) as env:
        state, info = env.reset(seed=5)
    crowd = 40
    states = np.repeat(state[None], crowd, axis=0)
    infos = {key: np.repeat(np.asarray(info[key])[None], crowd, axis=0) for key in agent.INFO}
    actions = agent.act(states, infos, np.random.default_rng(4))
    assert actions[0] == agent.act_one(state, info, np.random.default_rng(4))
    assert len(set(actions.tolist())) == 1


@pytest.mark.parametrize("traffic", ["classic", "simln", "card"])
def test_planners_play_any_traffic(traffic):
    problem = Problem.of(EnvironmentConfig.of({**FLOWS, "traffic": traffic, "start_balances": {}}))
    for kind in (PlannerOracle, Planner):
        assert 0 < evaluate("plan", kind(problem, **FEW), range(3), 5).success_rate <= 1


@pytest.mark.parametrize(
    ("kind", "config", "settings", "said"),
    [
        (Planner, {}, {}, r"'flows', 'averages' or 'dict', got 'balances'.*\[view\]"),
        (Forecast, {}, {}, "'flows', 'averages' or 'dict'"),
        (Planner, FLOWS, {"horizon": 26}, r"horizon must lie in 1\.\.25"),
        (PlannerOracle, {}, {"finalists": 0}, "finalists must be at least 1"),
        (PlannerOracle, {"variants": {"count": 2}}, {}, "leave out variants"),
        (Forecast, {"variants": {"count": 2}, **FLOWS}, {}, "leave out variants"),
        (Forecast, FLOWS, {"evenness": -1.0}, "evenness"),
        (Forecast, {"topology": "ring(nodes = 31)", **FLOWS}, {}, "at most 30 nodes, got 31"),
        (PlannerOracle, {"topology": "ring(nodes = 180)"}, {}, "about 100 nodes at most, got 180"),
        (Forecast, FLOWS, {"samples": 0}, "samples must be at least 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(kind, config, settings, said):
    with pytest.raises(ConfigError, match=said):
        kind(Problem.of(EnvironmentConfig.of(config)), **settings)
