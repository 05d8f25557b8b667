"""Rules of operators play the simulator, and are compared by what their own node gains."""

import csv
import json

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner

from lnsim_gym.agents import make_agent, view_of
from lnsim_gym.agents.evaluate import behind, evaluate
from lnsim_gym.agents.play import play
from lnsim_gym.cli import make_app
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.config import EnvironmentConfig

SMALL = {
    "topology": "public(nodes = 60, own_channels = 6, own_capacity_sat = 20_000_000)",
    "warm_up_days": 0.5,
    "payments_per_step": 100,
}
STEPS = 8
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["static", "ln_operator"])
def test_a_score_is_what_a_single_environment_pays_step_by_step(name):
    config = EnvironmentConfig.of({"task": "operator", **SMALL, **view_of(name, "operator")})
    problem = Problem.of(config)
    score = evaluate(name, make_agent(name, problem), range(3), STEPS)
    node, days = score.node, STEPS * 6 / 24
    nets, funds_sat = [], []
    for seed in range(3):
        settings = {**SMALL, **view_of(name, "operator")}
        with gym.make("LightningOperator-v0", **settings) as env:
            steps = list(play(env, make_agent(name, env.unwrapped.problem), STEPS, seed))
        money = [info["ledger"] for _, info in steps]
        costs = sum(step[cost] for step in money for cost in ("rebalance_fee_msat", "swap_fee_msat", "chain_fee_msat"))
        income = sum(step["income_msat"] for step in money)
        nets.append(sum(reward for reward, _ in steps) / days)
        assert nets[-1] == pytest.approx((income - costs) / 1000 / days)
        funds_sat.append(money[0]["funds_msat"] / 1000 - steps[0][0])
    assert node.net_sat_per_day_of_episodes == pytest.approx(nets)
    assert score.objective == node.net_sat_per_day == pytest.approx(np.mean(nets))
    costs = node.rebalance_fees_sat_per_day + node.swap_fees_sat_per_day + node.chain_fees_sat_per_day
    assert node.net_sat_per_day == pytest.approx(node.income_sat_per_day - costs)
    assert node.net_sat_per_day_per_100m_sat == pytest.approx(1e8 * np.mean(nets) / np.mean(funds_sat))
    assert behind(score, score) == (0.0, 0.0, 0.0)


def test_a_table_of_operators_shows_income_and_each_cost(tmp_path):
    files = [tmp_path / f"scores.{kind}" for kind in ("json", "csv", "md")]
    settings = [argument for name, value in SMALL.items() for argument in ("--set", f"{name}={json.dumps(value)}")]
    command = ["eval", "noop", "static", "targeted", "--env", "LightningOperator-v0", "--seeds", "0:2"]
    command += [*settings, "--set", f"max_episode_steps={STEPS}"]
    shown = CliRunner().invoke(make_app(), [*command, *(part for file in files for part in ("--out", str(file)))])
    assert shown.exit_code == 0, shown.output
    assert "targeted is left out: Targeted needs an environment with task 'liquidity'" in shown.output
    assert "net (sat/day)" in shown.output
    scores = json.loads(files[0].read_text())
    assert [score["agent"] for score in scores] == ["noop", "static"]
    with files[1].open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["net_sat_per_day"]) for row in rows] == [score["node"]["net_sat_per_day"] for score in scores]
    assert files[2].read_text().startswith("| agent | net (sat/day) |")


def test_a_rule_knows_the_graph_of_every_network_of_a_list():
    topologies = [
        f"public(nodes = 60, own_channels = 6, own_capacity_sat = 20_000_000, own_seed = {n})" for n in (0, 1)
    ]
    problem = Problem.of(
        EnvironmentConfig.of({"task": "operator", **SMALL, "topology": topologies, **view_of("feeadjuster")})
    )
    agent = make_agent("feeadjuster", problem)
    with gym.make("LightningOperator-v0", **{**SMALL, "topology": topologies, **view_of("feeadjuster")}) as env:
        seen = set()
        for seed in range(6):
            observation, info = env.reset(seed=seed)
            agent.act_one(observation, info, np.random.default_rng(0))
            (variant,) = agent.graphs.variant
            seen.add(int(variant))
            capacity = problem.variants[variant].task.actions.limits.capacity_msat
            assert observation["channels"][:, 0] == pytest.approx(capacity / 1e9)
    assert seen == {0, 1}
