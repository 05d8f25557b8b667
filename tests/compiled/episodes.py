"""Driving episodes through every kernel, for tests of the memory that kernels touch."""

import dataclasses

import gymnasium as gym
import numpy as np

from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.tasks import EnvironmentConfig
from tests.tasks import pricing, skipping  # noqa: F401 - registers the tasks

PAIR = {"nodes": ["a", "b"], "channels": [{"initiator": "a", "peer": "b", "capacity_sat": 1_000_000}]}

SETTINGS = [
    {"topology": PAIR, "payments_per_step": 1},
    {"observation": "flows", "observation_history": 1, "start_balances": {"low": 0.0, "high": 1.0}},
    {"observation": "flows", "observation_history": 256, "payments_per_step": 3, "traffic": "card"},
    {"observation": "averages", "operation": "circular", "action_sizes": [0.01, 0.5], "traffic": "simln"},
    {"observation": "dict", "operation": "circular", "circular_max_hops": 5, "rebalance_fee_limit_ppm": 1_000_000},
    {"payment": {"max_parts": 16}, "traffic": {"median_amount_sat": 150_000}, "payments_per_step": 60},
    {
        "payment": {"max_parts": 2, "mission_control": "per_episode"},
        "traffic": {"median_amount_sat": 400_000},
        "topology": "scale_free(nodes = 24, channels = 60, seed = 1)",
    },
    {
        "payment": {"mission_control": "per_episode", "fee_limit_base_sat": 0, "fee_limit_ppm": 20},
        "traffic": {"kind": "classic", "max_amount_sat": 400_000},
        "topology": "scale_free(nodes = 25, channels = 40, seed = 3)",
    },
    {"task": "skipping", "payments_per_step": 7},
    {"task": "pricing", "variants": {"count": 3, "fee_base_msat": [100, 900]}, "payment": {"max_parts": 4}},
    {"task": "pricing", "gossip": "lnd", "payment": {"max_parts": 4}},
    {"variants": {"count": 4, "fee_base_msat": [100, 900], "traffic": {"redraw_every_steps": [1, 3]}}},
    {
        "payment": {"timeout_seconds": 1, "max_parts": 16},
        "traffic": {"median_amount_sat": 200_000, "redraw_every_steps": 1},
        "topology": "scale_free(nodes = 60, channels = 300, seed = 3)",
    },
    {
        "topology": [f"scale_free(nodes = 2500, channels = 3000, seed = {seed})" for seed in (1, 1)],
        "variants": {"count": 2, "fee_rate_ppm": [0, 3000]},
        "traffic": "classic",
        "payments_per_step": 10,
    },
    {
        "task": "operator",
        "action": "multidiscrete",
        "topology": "public(nodes = 40, own_channels = 5, own_capacity_sat = 15_000_000)",
        "traffic": {"payments_per_day": 80, "pairs": 30},
        "payments_per_step": 40,
        "warm_up_days": 0.5,
    },
]
"""One of everything: tasks, operations, observations, traffic models, parts, memory, variants, and 2 to 2,500 nodes."""


def drive(settings, networks=5, threads=1, steps=6, seed=0):
    """Run episodes of given settings; return copies of all results, and those of the payments kept at each step."""
    problem = Problem.of(EnvironmentConfig.of(settings))
    return drive_problem(problem, networks, threads, steps, seed)


def drive_problem(problem, networks=5, threads=1, steps=6, seed=0, apart=1):
    """Run episodes of a problem: resets, steps of all and of some networks, and what is read between steps.

    Seeds of the networks lie ``apart`` from each other; with 0 all of them draw the same payments.
    """
    runner = SimulatedEpisodes(problem, networks, threads)
    rng, results = np.random.default_rng(seed), []
    everyone = np.ones(networks, np.bool_)
    for network in range(networks):
        runner.seed(network, 100 * seed + apart * network)
    runner.begin(everyone)
    for step in range(steps):
        which = everyone if step % 3 else rng.random(networks) < 0.7
        runner.step(which, problem.task.actions.decode(draw_actions(problem, networks, rng)))
        results += [array.copy() for array in runner._living()]
        if step % 2:
            kept = runner.keep_step(step % networks)
            results += [array for part in kept()[:2] for array in fields(part)]
            results += fields(runner.outcomes((step + 1) % networks))
        if step == steps // 2:
            runner.begin(rng.random(networks) < 0.5)
    if networks == 1:
        runner.step_one(problem.task.actions.decode_one(0 * draw_actions(problem, 1, rng)[0]))
        results += [array.copy() for array in runner._living()]
    runner.close()
    return results


def draw_actions(problem, networks, rng):
    """Draw actions of a discrete space, or of one of several discrete numbers."""
    space = problem.task.actions.space
    if isinstance(space, gym.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(networks, len(space.nvec)))
    return rng.integers(space.n, size=networks)


def fields(value):
    """Return the arrays of a named tuple or dataclass."""
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [np.asarray(field) for field in value]


def assert_same(one, other):
    """Hold the results of two runs against each other, bit for bit."""
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes()
