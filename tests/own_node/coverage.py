"""How often what happens lies in the intervals of what was foretold, over histories of which the law is known.

``python -m tests.own_node.coverage 30`` prints the table that the documentation shows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.network.public import public
from lnsim_gym.own_node import fit_demand
from lnsim_gym.own_node.backtest.stage import Stage, logged_agent
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.demand.pilot import settled_through
from lnsim_gym.own_node.demand.problem import seeds_of
from lnsim_gym.own_node.reading.history import DAY_NS
from lnsim_gym.tasks.operator.ledger import INCOME
from tests.own_node.histories import History, play_step, problem_of, simulate, with_numbers

POLICIES = ("static", "charge_lnd", "feelancer")
WEEKS = 5
STEPS = 28


class Foretold(NamedTuple):
    """A week as it was, and as it was foretold in every draw."""

    happened: np.ndarray
    """Shape (quantities,)."""
    draws: np.ndarray
    """Shape (draws, quantities)."""

    def inside(self) -> np.ndarray:
        """Return which of the quantities lie in the interval that holds 95 % of further draws."""
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0, method="weibull")
        return (low <= self.happened) & (self.happened <= high)


def history(seed: int, policy: str, *, weeks: int = WEEKS, nodes: int = 150, payments_per_day: int = 800) -> History:
    """Simulate a node of eight channels."""
    topology = with_numbers(public(nodes=nodes, own_channels=8, own_capacity_sat=40_000_000, seed=seed))
    traffic = {"kind": "market", "payments_per_day": payments_per_day, "seed": seed}
    return simulate(problem_of(topology, traffic=traffic, payments_per_step=payments_per_day), policy, 7 * weeks, seed)


def foretell(known: History, *, draws: int = 40, threads: int = 1) -> dict[str, Foretold]:
    """Fit all weeks but the last, and foretell it: income, forwards, forwards by channel out and by pair of peers."""
    node, topology = known.node, known.topology
    past = Past(node, topology)
    begin_ns = past.end_ns - 7 * DAY_NS
    demand = fit_demand(node, topology, end_ns=begin_ns, draws=draws, threads=threads)
    agent = logged_agent(Stage(past, topology, demand, begin_ns, threads))
    seeds = seeds_of(agent.problem)
    episodes, rng = open_episodes(agent.problem, len(seeds), threads), np.random.default_rng(0)
    for network, seed in enumerate(seeds):
        episodes.seed(network, seed)
    episodes.begin(np.ones(len(seeds), np.bool_))
    nodes = len(topology.nodes)
    income_sat, pairs = np.zeros(len(seeds)), np.zeros((len(seeds), nodes, nodes))
    for _ in range(STEPS):
        play_step(agent, episodes, rng)
        income_sat += episodes.columns.ledger[:, INCOME] / 1000
        for network in range(len(seeds)):
            settled, peer_in, peer_out, _ = settled_through(past, episodes, network)
            np.add.at(pairs[network], (peer_in[settled], peer_out[settled]), 1)
    told = past.forwards
    told = told.keep(told.time_ns > begin_ns)
    happened = np.zeros((nodes, nodes))
    np.add.at(happened, (past.peers[past.places(told.chan_in)], past.peers[past.places(told.chan_out)]), 1)
    peers = np.unique(past.peers)
    one, other = np.nonzero(~np.eye(len(peers), dtype=np.bool_))
    ends = peers[one], peers[other]
    return {
        "income": Foretold(np.array([known.income_sat[-STEPS:].sum()]), income_sat[:, None]),
        "forwards": Foretold(np.array([happened.sum()]), pairs.sum(axis=(1, 2))[:, None]),
        "forwards by channel out": Foretold(happened.sum(axis=0)[peers], pairs.sum(axis=1)[:, peers]),
        "forwards by pair": Foretold(happened[ends], pairs[:, *ends]),
    }


def foretold(seeds: Sequence[int]) -> Iterator[dict[str, Foretold]]:
    """Foretell the last week of histories of several seeds, each of a policy of its own."""
    for seed in seeds:
        yield foretell(history(seed, POLICIES[seed % len(POLICIES)]))


def main(count: int, first: int = 100) -> None:
    """Print how often what happened was inside, and the figures of each history."""
    inside: dict[str, list[bool]] = {}
    for seed, week in zip(range(first, first + count), foretold(range(first, first + count)), strict=True):
        for name, each in week.items():
            inside.setdefault(name, []).extend(each.inside().tolist())
            if "by" in name:  # those of which nothing was seen in any draw, and nothing came, say little
                busy = (each.happened > 0) | (each.draws.max(axis=0) > 0)
                inside.setdefault(f"{name}, where any", []).extend(each.inside()[busy].tolist())
        shown = ", ".join(
            f"{name} {each.happened.sum():.0f} of {each.draws.sum(axis=1).mean():.0f}"
            for name, each in list(week.items())[:2]
        )
        print(seed, POLICIES[seed % len(POLICIES)], shown, flush=True)
        print({name: f"{np.mean(found):.3f} of {len(found)}" for name, found in inside.items()}, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
