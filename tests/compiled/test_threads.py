"""Threads share nothing that they write to: any number of them gives the results of one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lnsim_gym.backends.simulator import prepare
from lnsim_gym.backends.simulator.engine import compile_network
from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.attempts import AttemptCounter
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.tasks import EnvironmentConfig
from tests.compiled.episodes import assert_same, drive_problem

THREADS = (2, 3, 8)


def problem_of(nodes, channels, **settings):
    topology = f"scale_free(nodes = {nodes}, channels = {channels}, seed = 1)"
    return Problem.of(EnvironmentConfig.of({"topology": topology, "start_balances": {}, **settings}))


def assert_threads_change_nothing(problem, networks=16, steps=2, repeats=1, apart=1):
    alone = drive_problem(problem, networks, 1, steps, apart=apart)
    for threads in THREADS:
        for _ in range(repeats):
            assert_same(drive_problem(problem, networks, threads, steps, apart=apart), alone)


@pytest.mark.parametrize("nodes", [24, 25])
def test_threads_change_nothing_where_weights_are_counted_or_halved(nodes):
    assert_threads_change_nothing(problem_of(nodes, 3 * nodes), steps=20)


@pytest.mark.parametrize("nodes", [prepare.PREBUILT_NODES, prepare.PREBUILT_NODES + 1])
def test_threads_change_nothing_whether_the_network_or_the_thread_holds_the_hop_rows(nodes):
    """All networks draw the same payments, so that threads need the hops of the same senders at the same time."""
    assert_threads_change_nothing(problem_of(nodes, 2 * nodes, payments_per_step=60), repeats=3, apart=0)


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_threads_change_nothing_where_senders_and_variants_share_hop_rows(monkeypatch, rows):
    problem = problem_of(2100, 4200, variants={"count": 3, "fee_rate_ppm": [0, 2000]})
    plenty = drive_problem(problem, 16, 1, 2)
    monkeypatch.setattr(prepare, "HOP_TABLE_BYTES", rows * 2100)
    assert_same(drive_problem(problem, 16, 1, 2), plenty)
    assert_threads_change_nothing(problem)


@pytest.mark.parametrize("max_parts", [1, pytest.param(16, marks=pytest.mark.slow)])
def test_threads_change_nothing_where_the_senders_memory_is_full(monkeypatch, max_parts):
    monkeypatch.setattr(prepare, "MOST_RECORDS", 10)
    payment = {"mission_control": "per_episode", "max_parts": max_parts}
    problem = problem_of(30, 120, payment=payment, payments_per_step=60, traffic={"median_amount_sat": 500_000})
    runner = SimulatedEpisodes(problem, 1)
    runner.seed(0, 0)
    runner.begin(runner.columns.reward == 0)
    for _ in range(6):
        runner.step_one(problem.task.actions.decode_one(0))
    memories = runner._state.memories
    assert memories.used[0, 0] == memories.next.shape[1] == 10
    assert_threads_change_nothing(problem, steps=6)


def test_attempts_are_counted_the_same_by_many_threads_at_once():
    problem = problem_of(2100, 4200, payment={"timeout_seconds": 3600}, traffic={"median_amount_sat": 900_000})
    counter = AttemptCounter(prepare.stack([compile_network(problem.topology)]), problem.config.payment)
    runner = SimulatedEpisodes(problem, 8)
    everyone = runner.columns.reward == 0
    for network in range(8):
        runner.seed(network, network)
    runner.begin(everyone)
    runner.step(everyone, problem.task.actions.decode(np.zeros(8, np.int64)))
    columns = runner._state.columns
    assert (columns.attempts < 0).any()

    def count(network):
        made = runner.columns.outcomes(network)
        made_on, balances_msat = runner._stepped_network(network), columns.served_from_msat[network]
        counter.count(made_on, balances_msat, int(columns.served_draws[network]), runner.batch(network), made)
        return made.attempts

    alone = [count(network) for network in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert_same(list(pool.map(count, range(8))), alone)
    runner.close()
