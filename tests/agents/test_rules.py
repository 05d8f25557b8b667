"""Rule agents on every action space: what they choose, and that it is what they promise."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnsim_gym.agents import make_agent
from lnsim_gym.agents.evaluate import evaluate
from lnsim_gym.agents.play import play
from lnsim_gym.agents.rules import NoOp, RandomActions, Targeted
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.liquidity.routes import NO_OP

SPACES = ("discrete", "multidiscrete", "box")
OBSERVATIONS = ("balances", "flows", "dict")
PROBLEMS = {action: Problem.of(EnvironmentConfig.of({"action": action})) for action in SPACES}
CHANNELS = 7
CAPACITY_SAT = 1_000_000


def info_of(problem, count, allowed=None):
    """Info of a batch of networks; everything is allowed unless said otherwise."""
    if allowed is None:
        allowed = np.ones((count, 1 + problem.task.needed_msat.size), np.int8)
    place = {name: np.zeros(count, np.int64) for name in ("seed", "episode_number", "step")}
    return {"action_mask": problem.task.actions.mask(allowed), **place}


def observe(shares):
    """Observations of networks whose initiators have these shares of what a channel holds, shape (n, channels)."""
    return np.stack([shares, 1 - shares], axis=2).reshape(len(shares), -1).astype(np.float32)


def decoded(problem, agent, shares, seed=0):
    actions = agent.act(observe(shares), info_of(problem, len(shares)), np.random.default_rng(seed))
    assert all(problem.task.actions.space.contains(action) for action in actions)
    return problem.task.actions.decode(actions).T


@pytest.mark.parametrize("action", SPACES)
def test_noop_never_rebalances(action):
    problem = PROBLEMS[action]
    row, amount_msat = decoded(problem, NoOp(problem), np.random.default_rng(0).random((50, CHANNELS)))
    assert (row == NO_OP).all()
    assert (amount_msat == 0).all()


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize("masked", [True, False])
def test_random_reaches_every_rebalance_and_the_no_op_when_all_are_allowed(action, masked):
    problem = PROBLEMS[action]
    row, amount_msat = decoded(problem, RandomActions(problem, masked=masked), np.full((4000, CHANNELS), 0.5))
    seen = set(zip(row.tolist(), (amount_msat // 1000).tolist(), strict=True))
    sizes = (50_000, 100_000, 200_000)
    assert seen == {(NO_OP, 0), *((r, size) for r in range(2 * CHANNELS) for size in sizes)}


def test_masked_random_chooses_only_what_balances_allow_and_unmasked_does_not_care():
    problem = PROBLEMS["discrete"]
    rng = np.random.default_rng(1)
    allowed = (rng.random((2000, 43)) < 0.1).astype(np.int8)
    allowed[:, 0] = 1
    info = info_of(problem, 2000, allowed)
    nothing_seen = np.zeros((2000, 2 * CHANNELS), np.float32)
    masked = RandomActions(problem).act(nothing_seen, info, np.random.default_rng(2))
    assert allowed[np.arange(2000), masked].all()
    unmasked = RandomActions(problem, masked=False).act(nothing_seen, info, np.random.default_rng(2))
    assert 0.05 < allowed[np.arange(2000), unmasked].mean() < 0.2


def test_masked_random_is_never_refused_and_unmasked_is():
    for agent, refusals in (("masked", 0), ("unmasked", 1)):
        with gym.make("LightningNet-v0", start_balances={"low": 0.0, "high": 0.1}) as env:
            player = RandomActions(env.unwrapped.problem, masked=agent == "masked")
            refused = sum(info["rebalance"]["refused"] for _, info in play(env, player, 100, seed=5))
        assert min(refused, 1) == refusals


@pytest.mark.parametrize("action", SPACES)
@settings(max_examples=60)
@given(shares=st.lists(st.floats(0.03125, 0.96875, width=32), min_size=CHANNELS, max_size=CHANNELS))
def test_targeted_moves_a_fifth_once_from_the_fuller_to_the_emptier_end_of_the_worst_channel(action, shares):
    problem = PROBLEMS[action]
    shares = np.array([shares])
    row, amount_msat = decoded(problem, Targeted(problem), shares)
    assert row.shape == (1,)
    seen = observe(shares).reshape(CHANNELS, 2).astype(np.float64)
    unbalanced = np.abs(seen[:, 0] - 0.5)
    outside = (seen.max(axis=1) > 0.65) | (seen.min(axis=1) < 0.35)
    if not outside.any():
        assert (row[0], amount_msat[0]) == (NO_OP, 0)
        return
    channel, peer_pays = divmod(int(row[0]), 2)
    assert unbalanced[channel] == pytest.approx(unbalanced[outside].max())
    assert seen[channel, peer_pays] > seen[channel, 1 - peer_pays]
    assert amount_msat[0] == 1000 * CAPACITY_SAT // 5


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_targeted_turns_a_full_channel_into_80_20_and_never_60_40(action, observation):
    with gym.make("LightningNet-v0", action=action, observation=observation, payments_per_step=1) as env:
        network = env.unwrapped
        total_msat = network.topology.owned_total_msat
        balances = np.stack([total_msat // 2, total_msat - total_msat // 2], axis=1)
        balances[3] = total_msat[3], 0
        state, info = env.reset(seed=0, options={"balances_msat": balances})
        agent = Targeted(network.problem)
        env.step(agent.act_one(state, info, np.random.default_rng(0)))
        route, requested_msat, result = network.last_rebalance()
    assert route == (6,)
    assert requested_msat == result.applied_msat == 200_000_000


def test_targeted_brings_every_channel_into_its_band_and_then_rests():
    with gym.make("LightningNet-v0", traffic={"kind": "classic"}, payments_per_step=1, max_episode_steps=400) as env:
        agent = Targeted(env.unwrapped.problem)
        start = env.unwrapped.topology.start_balances_msat()
        state, info = env.reset(seed=0, options={"balances_msat": start})
        moved = []
        for _ in range(30):
            state, *_, info = env.step(agent.act_one(state, info, np.random.default_rng(0)))
            moved.append(info["rebalance"]["applied_sat"])
        shares = agent.balance_shares(state[None])[0]
    assert sum(amount > 0 for amount in moved) == 2 * CHANNELS
    assert not any(moved[2 * CHANNELS :])
    assert ((shares > 0.34) & (shares < 0.66)).all()


def test_targeted_needs_a_band():
    with pytest.raises(ConfigError, match="low < high"):
        Targeted(PROBLEMS["discrete"], low=0.7, high=0.3)


RULES = {
    "push": ("targeted", "target_table", "ring", "threshold", "most_unbalanced", "proportional", "autoloop"),
    "circular": ("targeted", "threshold", "most_unbalanced", "proportional", "lndg", "regolancer", "rebalance_lnd"),
}


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize("operation", RULES)
def test_no_rule_is_ever_refused_and_each_does_something(action, operation):
    config = {"operation": operation, "action": action, "start_balances": {"low": 0.05, "high": 0.95}}
    problem = Problem.of(EnvironmentConfig.of(config))
    for name in RULES[operation]:
        score = evaluate(name, make_agent(name, problem), range(900, 908), 40)
        assert (name, score.refused) == (name, 0.0)
        assert (name, score.rebalanced_sat > 0) == (name, True)


def test_rules_play_a_large_network_too():
    problem = Problem.of(EnvironmentConfig.of(gym.spec("LightningNet100-v0").kwargs))
    idle, moved = (evaluate(name, make_agent(name, problem), range(900, 903), 20) for name in ("noop", "targeted"))
    assert moved.rebalanced_sat > 0
    assert moved.refused == 0
    assert idle.rebalanced_sat == 0


@pytest.mark.parametrize("action", SPACES)
@pytest.mark.parametrize("operation", ["push", "circular"])
def test_noop_and_random_play_with_any_operation(action, operation):
    with gym.make("LightningNet-v0", action=action, operation=operation) as env:
        for agent in (NoOp(env.unwrapped.problem), RandomActions(env.unwrapped.problem)):
            rewards = [reward for reward, _ in play(env, agent, 10, seed=1)]
            assert len(rewards) == 10
            assert all(0 <= reward <= 1 for reward in rewards)
