"""The compiled loop and the step on any backend are one and the same episode."""

from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.backends.simulator.engine import UNCOUNTED
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.backed import BackendEpisodes
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.oracle.engine import CompiledNetwork

VARIATIONS = [
    {},
    {"observation": "flows", "start_balances": {"low": 0.0, "high": 1.0}},
    {"operation": "circular", "action_sizes": [0.01, 0.3], "rebalance_fee_limit_ppm": 500},
    {"operation": "circular", "circular_max_hops": 5, "action": "box"},
    {
        "payment": {"mission_control": "per_episode"},
        "traffic": {"median_amount_sat": 60_000},
        "observation": "averages",
        "observation_averages": [3, 12],
    },
    {"payment": {"mission_control": "per_episode"}, "traffic": "simln", "operation": "circular"},
    {"payment": {"max_parts": 16}, "traffic": {"median_amount_sat": 150_000}},
    {
        "traffic": {"kind": "classic", "max_amount_sat": 400_000},
        "topology": "scale_free(nodes = 20, channels = 40, seed = 3)",
    },
    {"payment": {"fee_limit_base_sat": 0, "fee_limit_ppm": 20}},
    {"payment": {"timeout_seconds": 1}, "topology": "scale_free(nodes = 20, channels = 40, seed = 3)"},
]


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_the_compiled_loop_equals_the_step_on_the_simulator_backend(variation):
    problem = Problem.of(EnvironmentConfig.of({"start_balances": {}, **variation}))
    backend = SimulatorBackend(problem.topology, problem.config.payment, payment_ms=problem.traffic.payment_ms)
    compiled = SimulatedEpisodes(problem, 1)
    stepwise = BackendEpisodes(problem, backend)
    everyone = np.ones(1, np.bool_)
    rng = np.random.default_rng(0)
    settled = failed = refused = uncounted = 0
    kept = []
    expected = []
    for seed in (3, 4):
        for runner in (compiled, stepwise):
            runner.seed(0, seed)
        for _ in range(2):
            for runner in (compiled, stepwise):
                runner.begin(everyone)
            assert_equal_columns(compiled, stepwise)
            for _ in range(40):
                row = int(rng.integers(-1, len(problem.task.routes.hops)))
                amount_msat = 0 if row < 0 else int(rng.choice(problem.task.actions.amounts_msat[row]))
                for runner in (compiled, stepwise):
                    runner.step_one(np.array([row, amount_msat]).data)
                kept.append(compiled.keep_step(0))
                uncounted += int((compiled.columns.attempts == UNCOUNTED).sum())
                expected.append(stepwise.outcomes(0))
                assert_equal_fields(compiled.outcomes(0), expected[-1])
                assert_equal_columns(compiled, stepwise)
                assert compiled.interventions(0) == stepwise.interventions(0)
                assert bool(compiled.interventions(0)) == (row >= 0)
                settled += int(compiled.columns.counts[0, 0])
                failed += problem.config.payments_per_step - int(compiled.columns.counts[0, 0])
                refused += any(done.result.reason for done in compiled.interventions(0))
    assert settled
    assert failed
    assert refused
    options = problem.config.payment
    assert (uncounted > 0) == (options.mission_control == "per_payment" and options.timeout_seconds > 1)
    for unpack, outcomes in zip(kept, expected, strict=True):
        assert_equal_fields(unpack()[1], outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("variation", [{}, {"payment": {"mission_control": "per_episode"}, "warm_up_days": 1}], ids=str)
def test_an_operator_is_the_same_on_the_simulator_backend(variation):
    env = gym.make("LightningOperatorLive-v0", backend="simulator", **variation).unwrapped
    problem, actions = env.problem, env.problem.task.actions
    compiled = SimulatedEpisodes(problem, 1)
    stepwise = BackendEpisodes(problem, SimulatorBackend(problem.topology, problem.config.payment))
    everyone = np.ones(1, np.bool_)
    env.action_space.seed(5)
    moved = refused = 0
    for runner in (compiled, stepwise):
        runner.seed(0, 3)
    for _ in range(2):
        for runner in (compiled, stepwise):
            runner.begin(everyone)
        assert_equal_columns(compiled, stepwise)
        for _ in range(30):
            decision = actions.decode_one(env.action_space.sample())
            for runner in (compiled, stepwise):
                runner.step_one(decision)
            assert_equal_columns(compiled, stepwise)
            assert compiled.interventions(0) == stepwise.interventions(0)
            assert compiled.topology(0) == stepwise.topology(0)
            info = {}
            problem.task.add_info(info, compiled.columns.ledger[0].tolist(), compiled.columns.terms[0].tolist())
            moved += sum(each["applied_sat"] > 0 for each in info["rebalances"])
            refused += sum(each["refused"] for each in info["rebalances"])
    assert moved
    assert refused
    assert compiled.columns.forwards.any()


def assert_equal_columns(compiled, stepwise):
    assert_equal_fields(compiled.columns, stepwise.columns)


def assert_equal_fields(one, other):
    for field in fields(one):
        left = getattr(one, field.name)
        right = getattr(other, field.name)
        np.testing.assert_array_equal(left, right, field.name)


def test_networks_of_a_batch_do_not_touch_each_other():
    problem = Problem.of(EnvironmentConfig.of({"start_balances": {}, "payment": {"mission_control": "per_episode"}}))
    batch = SimulatedEpisodes(problem, 3)
    alone = SimulatedEpisodes(problem, 1)
    for network in range(3):
        batch.seed(network, 10 + network)
    batch.begin(np.ones(3, np.bool_))
    alone.seed(0, 11)
    alone.begin(np.ones(1, np.bool_))
    for step in range(30):
        # Network 0 rests now and then; network 1 must not notice.
        which = np.array([step % 3 == 0, True, True])
        before = batch.columns.balances_msat[0].copy()
        batch.step(which, np.array([[5, 10_000_000], [3, 50_000_000], [-1, 0]]))
        alone.step_one(np.array([3, 50_000_000]).data)
        for field in fields(batch.columns):
            left = getattr(batch.columns, field.name)[1]
            right = getattr(alone.columns, field.name)[0]
            np.testing.assert_array_equal(left, right, field.name)
        if not which[0]:
            np.testing.assert_array_equal(batch.columns.balances_msat[0], before)


def test_attempts_are_counted_on_the_network_and_from_the_balances_of_their_step():
    """Networks that rest, that begin another variant, or that start where LND would not have let them."""
    config = {"variants": {"count": 5}, "start_balances": {}}
    problem = Problem.of(EnvironmentConfig.of(config))
    runner = SimulatedEpisodes(problem, 4, threads=2)
    everyone = np.ones(4, np.bool_)
    rest = np.array([True, True, False, True])
    for network in range(4):
        runner.seed(network, 20 + network)
    runner.begin(everyone)
    drained = np.zeros((4, len(problem.topology.channels), 2), np.int64)
    drained[:, :, 1] = problem.topology.owned_total_msat
    expected = {}
    kept = {}
    for step in range(12):
        which = everyone if step % 2 else rest
        before = {network: runner.columns.balances_msat[network].copy() for network in np.flatnonzero(which)}
        on = runner.variants.copy()
        runner.step(which, np.tile([-1, 0], (4, 1)))
        for network in np.flatnonzero(which):
            expected[network] = attempts_again(problem, int(on[network]), before[network], runner.batch(network))
            kept[network] = runner.keep_step(network)
        if step % 3 == 0:
            runner.begin(everyone, drained if step % 2 else None)
        for network, attempts in expected.items():
            np.testing.assert_array_equal(runner.outcomes(network).attempts, attempts)
            np.testing.assert_array_equal(kept[network]()[1].attempts, attempts)


def attempts_again(problem, variant, balances_msat, batch):
    """Make payments with every attempt, one network by itself."""
    options = problem.config.payment
    network = CompiledNetwork(problem.variants[variant].topology, balances_msat)
    limits_msat = options.fee_limit_msat(batch.amount_msat)
    return [network.pay(*payment).attempts for payment in zip(*batch[:3], limits_msat, strict=True)]


def test_senders_of_a_hundred_nodes_remember_a_whole_episode():
    env = gym.make("LightningNet100-v0", payment={"mission_control": "per_episode"}).unwrapped
    problem = Problem.of(env.config)
    runner = SimulatedEpisodes(problem, 1)
    runner.seed(0, 0)
    runner.begin(np.ones(1, np.bool_))
    for _ in range(100):
        runner.step_one(problem.task.actions.decode_one(0))
    memory = runner._state.memories
    assert 10_000 < memory.used.item() < memory.next.size
