"""Small places of an own node, and episodes there in the exact engine."""

import numpy as np

from lnsim_gym.episodes import Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.features import KEEP

STILL = {
    "task": "operator",
    "topology": "public(nodes = 60, own_channels = 6, own_capacity_sat = 60_000_000, parallel_share = 0)",
    "start_balances": {"low": 0.5, "high": 0.5},
    "others": {"restore_days": 0, "competitors": 0},
    "gossip": "at_once",
    "traffic": {"kind": "market", "payments_per_day": 60, "max_amount_sat": 20_000},
    "warm_up_days": 0,
    "payments_per_step": 100,
    "action": "dict",
}
"""Nobody acts but the own node, and there is plenty of money everywhere."""


def problem_of(**settings):
    return Problem.of(EnvironmentConfig.of({**STILL, **settings}))


def fixed(corridor, rate_ppm, rebalance=(-1, 0, 0, 0)):
    """Policies and rebalances of a step for ``Corridor.step``: one fee rate, no base fee."""
    policies = np.full((corridor.networks, corridor.channels, 4), KEEP)
    policies[..., 0], policies[..., 1] = rate_ppm, 0
    return policies, np.tile(np.array(rebalance), (corridor.networks, 1, 1))


def played(problem, seed, steps, rate_ppm):
    """Forwards by step and channel, income by step, and last observation of an episode in the exact engine."""
    task, episodes = problem.task, open_episodes(problem)
    episodes.seed(0, seed)
    episodes.begin(np.ones(1, np.bool_))
    channels = len(task.out)
    action = {"fee_rate_ppm": [rate_ppm] * channels, "fee_base_msat": [0] * channels}
    counts, income_msat = [], []
    for _ in range(steps):
        episodes.step(np.ones(1, np.bool_), task.actions.decode([action]))
        rows = task.observations.by_channel(episodes.columns.observation[0]).astype(np.float64)
        counts.append(np.rint(rows[:, 12:16] * [10, 1e9, 10, 1e9]))
        income_msat.append(round(1000 * episodes.columns.terms[0, 0]))
    seen = task.observations.by_channel(episodes.columns.observation[0]).copy()
    episodes.close()
    return np.array(counts), np.array(income_msat), seen


def quiet_problem(position):
    """Small payments of a few pairs, without fee limits, that move no balance which matters, at a place of the node."""
    topology = STILL["topology"].replace(")", f", own_seed = {position})")
    market = problem_of(topology=topology)
    names, program = market.topology.nodes, market.task.flows
    pairs = dict.fromkeys(zip(program.source[:40].tolist(), program.destination[:40].tolist(), strict=True))
    flow = {"payments_per_day": 3, "median_amount_sat": 1_000}
    flows = [{"sender": names[source], "receiver": names[end], **flow} for source, end in pairs]
    return problem_of(topology=topology, traffic={"kind": "flows", "flows": flows})
