"""Histories of a node whose demand is known: what the operator's environment makes of a policy, as an import has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from lnsim_gym.agents import make_agent
from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.start import open_episodes
from lnsim_gym.network import Topology
from lnsim_gym.own_node import OwnNode
from lnsim_gym.own_node.reading.channels import Channel
from lnsim_gym.own_node.reading.folder import _write
from lnsim_gym.own_node.reading.history import DAY_NS, Failures, Forwards, Refills
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.ledger import INCOME
from lnsim_gym.tasks.presentation import Presentation

BEGIN_NS = 1_700_000_000 * 10**9
MS_NS = 10**6


class History(NamedTuple):
    """A node after some days, and what is known of these."""

    node: OwnNode
    topology: Topology
    problem: Problem
    income_sat: np.ndarray
    """Earned in each step."""


def with_numbers(topology: Topology) -> Topology:
    """Give every channel a short channel id."""
    numbered = (
        msgspec.structs.replace(channel, chan_id=(800_000 + index) << 40)
        for index, channel in enumerate(topology.channels)
    )
    return msgspec.structs.replace(topology, channels=tuple(numbered))


def problem_of(topology: Topology, **settings) -> Problem:
    """Return the operator's problem on a network."""
    return Problem.of(
        EnvironmentConfig.of(
            {"task": "operator", "topology": topology, "own_node": topology.nodes[-1], "action": "dict", **settings}
        )
    )


Ways = Mapping[tuple[int, int], tuple[int, int]]
"""By sender and receiver, short channel ids of the own channels that lie on the cheapest way."""


def simulate(problem: Problem, policy: str, days: int, seed: int, ways: Ways | None = None) -> History:
    """Let a policy run the own node for some days, and export what happened; failed forwards where ways are known."""
    agent, episodes = make_agent(policy, problem), open_episodes(problem)
    one, rng, forwards, refills, income_sat = np.ones(1, np.bool_), np.random.default_rng(seed), [], [], []
    failures: list[tuple[int, ...]] = []
    episodes.seed(0, seed)
    episodes.begin(one)
    for step in range(round(24 * days / problem.config.step_hours)):
        play_step(agent, episodes, rng)
        income_sat.append(episodes.columns.ledger[0, INCOME] / 1000)
        begin_ns = BEGIN_NS + step * problem.task.step_ms * MS_NS
        forwards += _forwards(episodes, seed, step, begin_ns)
        failures += _refused(episodes, seed, step, begin_ns, ways or {})
        refills += _refills(episodes, begin_ns)
    node = _node(problem, episodes, BEGIN_NS + days * DAY_NS, forwards, refills)
    if ways is not None:
        node = replace(node, failures=Failures.of(failures), told=("payments", "failures"))
    return History(node, _topology_now(problem, episodes), problem, np.array(income_sat))


def play_step(agent, episodes: Episodes, rng) -> None:
    """Let an agent do one step on every network."""
    task, columns = episodes.problem.task, episodes.columns
    info = {
        "action_mask": task.actions.mask(columns.allowed),
        "seed": episodes.seeds.copy(),
        "episode_number": episodes.episodes.copy(),
        "step": episodes.steps.copy(),
    }
    chosen = agent.act(Presentation(task).present(columns.observation, columns.allowed), info, rng)
    episodes.step(np.ones(episodes.networks, np.bool_), task.actions.decode(chosen))


def _number(problem: Problem, direction: int) -> int:
    return problem.topology.channels[direction // 2].chan_id


def _forwards(episodes: Episodes, seed: int, step: int, begin_ns: int) -> list[tuple[int, ...]]:
    """Return the forwards of the own node in the last step."""
    problem, task = episodes.problem, episodes.problem.task
    warm = problem.config.warm_up_steps
    _, time_ms, _ = task.payments(seed, 0, warm + step)
    outcomes, rows = episodes.outcomes(0), []
    for payment in np.flatnonzero(outcomes.succeeded).tolist():
        route = outcomes.part_route[payment, 0].tolist()
        for hop, direction in enumerate(route[1:], 1):
            if direction >= 0 and problem.topology.arrays.source[direction] == task.own:
                in_msat, out_msat = outcomes.part_hop_msat[payment, 0, hop - 1 : hop + 1].tolist()
                time_ns = begin_ns + (int(time_ms[payment]) - (warm + step) * task.step_ms) * MS_NS
                rows.append((time_ns, _number(problem, route[hop - 1]), _number(problem, direction), in_msat, out_msat))
    return rows


def _refused(episodes: Episodes, seed: int, step: int, begin_ns: int, ways: Ways) -> list[tuple[int, ...]]:
    """Return the payments of the last step that did not go their cheapest way in the end, on which they failed."""
    problem, task = episodes.problem, episodes.problem.task
    warm = problem.config.warm_up_steps
    batch, time_ms, _ = task.payments(seed, 0, warm + step)
    outcomes = episodes.outcomes(0)
    route = outcomes.part_route[:, 0, 1:]
    through = (route >= 0) & (problem.topology.arrays.source[route] == task.own)
    failed = np.flatnonzero(~(outcomes.succeeded & through.any(axis=1))).tolist()
    return [
        (
            begin_ns + (int(time_ms[payment]) - (warm + step) * task.step_ms) * MS_NS,
            *ways[int(batch.source[payment]), int(batch.destination[payment])],
            int(batch.amount_msat[payment]),
            1,
        )
        for payment in failed
        if (int(batch.source[payment]), int(batch.destination[payment])) in ways
    ]


def _refills(episodes: Episodes, begin_ns: int) -> list[tuple[int, ...]]:
    """Return the circular rebalances of the last step that came back."""
    task, columns, problem = episodes.problem.task, episodes.columns, episodes.problem
    done = task.interventions(columns.decision[0], columns.ledger[0])
    return [
        (
            begin_ns,
            _number(problem, one.route[0]),
            _number(problem, one.route[-1]),
            one.result.applied_msat,
            one.result.fee_msat,
        )
        for one in done
        if isinstance(one, Rebalance) and one.result.applied_msat and len(one.route) > 1
    ]


def _node(problem: Problem, episodes: Episodes, now_ns: int, forwards, refills) -> OwnNode:
    """Return what an import of the node would give."""
    topology, channels = problem.topology, []
    for direction in problem.task.out.tolist():
        local_msat, remote_msat = (int(episodes.columns.balances_msat[0].ravel()[direction ^ end]) for end in (0, 1))
        channels.append(
            Channel(
                remote_pubkey="02" + f"{topology.arrays.destination[direction]:064x}",
                capacity=int(topology.arrays.capacity_sat[direction // 2]),
                local_balance=local_msat // 1000,
                remote_balance=remote_msat // 1000,
                chan_id=_number(problem, direction),
                peer_alias=topology.nodes[topology.arrays.destination[direction]],
            )
        )
    return OwnNode(
        name=problem.config.own_node,
        public_key="02" + "0" * 64,
        imported_ns=now_ns,
        channels=tuple(channels),
        forwards=Forwards.of(forwards),
        failures=Failures.of([]),
        refills=Refills.of(refills),
        chain_fees={},
        told=("payments",),
        left_out={},
    )


def _topology_now(problem: Problem, episodes: Episodes) -> Topology:
    """Return the network with the policies and the own balances at the end."""
    topology, channels = episodes.topology(0), list(problem.topology.channels)
    own = {direction // 2 for direction in problem.task.out.tolist()}
    for index in own:
        initiator_sat = int(episodes.columns.balances_msat[0, index, 0]) // 1000
        channels[index] = msgspec.structs.replace(
            topology.channels[index], policies=topology.policies[index], initiator_balance_sat=initiator_sat
        )
    return msgspec.structs.replace(topology, channels=tuple(channels))


def recipe_of(folder, fee_rate_ppm: int) -> str:
    """Write the recipe of one fee rate on all channels."""
    path = folder / f"static_{fee_rate_ppm}.toml"
    view = '[view]\nobservation = "dict"\naction = "dict"\n'
    path.write_text(f'policy = "static"\nfee_rate_ppm = {fee_rate_ppm}\n{view}')
    return str(path)


def more_in_the_last_week(node, times: int):
    """Return a node that had so many times the forwards in its last week, out of the blue."""
    rows = node.forwards.rows()
    late = rows[:, 0] > node.imported_ns - 7 * DAY_NS
    copies = [tuple(map(int, row)) for row in np.concatenate([rows, *[rows[late]] * (times - 1)]).tolist()]
    return replace(node, forwards=Forwards.of(copies))


def write_folder(known: History, folder: Path) -> Path:
    """Keep a node as ``lnsim node import`` does, and return its folder."""
    _write(known.node, known.topology, folder)
    return folder
