"""A short simulation that tells which flows reach a node, over which of its channels, and how often they settle.

Payments are sent on the balances and at the prices that the node had at moments of its past, so that hours in which it
was empty or dear count as such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from lnsim_gym.arrays import Bool, Float64, Int64
from lnsim_gym.episodes import Episodes, Problem
from lnsim_gym.episodes.simulated import SimulatedEpisodes
from lnsim_gym.own_node.demand.candidates import Candidates
from lnsim_gym.own_node.demand.past import Past
from lnsim_gym.own_node.demand.problem import laid_out, problem_of_draws, seeds_of
from lnsim_gym.payments import FORWARD_COUNTS, PaymentBatch
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.operator.features import PER_CHANNEL
from lnsim_gym.traffic import Flow, FlowsTraffic

__all__ = ["AMOUNT_LOG_SD", "Reached", "flows_of", "rehearse", "settled_through", "try_out"]

AMOUNT_LOG_SD: Final = 0.3
"""Standard deviation of the logarithm of the amounts of a candidate."""
_NETWORKS: Final = 32
"""Moments that are played at once."""
_PAYMENTS: Final = 50
"""Payments of each moment, on average: few, so that they hardly change the node's balances."""
_STEP_HOURS: Final = 1.0
_REHEARSED_DAYS: Final = 7
_FORWARDED_OUT: Final = FORWARD_COUNTS.index("forwarded_out")


class Reached(NamedTuple):
    """Payments of a pilot that settled through the node."""

    sent: Int64  # (candidates,) payments sent, settled or not
    candidate: Int64  # (payments,) whose each is
    peer_in: Int64  # (payments,) node index of the peer whence it came
    peer_out: Int64  # (payments,) node index of the peer it went on to
    amount_sat: Float64  # (payments,) what went on
    able: Int64  # (candidates,) payments sent when the own channel to the peer out could have carried them
    was_able: Bool  # (payments,) whether each was one of those


def flows_of(
    topology_nodes: tuple[str, ...], candidates: Candidates, per_day: Float64, which: Bool
) -> tuple[Flow, ...]:
    """Return candidates as flows.

    Args:
        topology_nodes: Names of the nodes.
        candidates: The candidates.
        per_day: How many payments each makes a day, shape (candidates,).
        which: Which of them, shape (candidates,).
    """
    return tuple(
        Flow(
            sender=topology_nodes[candidates.sender[index]],
            receiver=topology_nodes[candidates.receiver[index]],
            payments_per_day=float(per_day[index]),
            median_amount_sat=float(candidates.median_sat[index]),
            amount_log_sd=AMOUNT_LOG_SD,
            fee_limit_ppm=int(candidates.fee_limit_ppm[index]),
        )
        for index in np.flatnonzero(which).tolist()
    )


def try_out(
    past: Past,
    candidates: Candidates,
    moments_ns: Int64,
    seed: int,
    threads: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Reached:
    """Send payments of all candidates, all equally often, at moments of the past.

    Args:
        past: The node's past, on the network of the candidates.
        candidates: Who pays whom.
        moments_ns: The moments, in ns since 1970; cut to a multiple of the networks that are played at once.
        seed: Seed of all draws.
        threads: Threads that share simulated networks.
        tell: Called with the number of moments done, and of those to do.
    """
    problem = _problem(past, candidates)
    episodes = SimulatedEpisodes(problem, _NETWORKS, threads)
    everywhere = np.ones(_NETWORKS, np.bool_)
    whose = {
        key: index
        for index, key in enumerate(
            zip(
                candidates.sender.tolist(), candidates.receiver.tolist(), candidates.fee_limit_ppm.tolist(), strict=True
            )
        )
    }
    sent, able, found = *np.zeros((2, len(candidates.sender)), np.int64), []
    home_out = np.searchsorted(np.unique(past.peers), candidates.peer_out)
    for network in range(_NETWORKS):
        episodes.seed(network, seed + network)
    try:
        for first in range(0, len(moments_ns) - _NETWORKS + 1, _NETWORKS):
            moments = moments_ns[first : first + _NETWORKS]
            episodes.begin(everywhere, _balances_msat(past, problem, episodes, moments))
            episodes.step(everywhere, _decisions(past, problem, moments))
            sellable_msat = past.sellable_msat(moments)
            for network in range(_NETWORKS):
                place = int(episodes.seeds[network]), int(episodes.episodes[network]), 0
                batch, _, limit_ppm = problem.task.payments(*place)
                mine = _candidates_of(batch, limit_ppm, whose)
                sent += np.bincount(mine, minlength=len(sent))
                fits = batch.amount_msat <= sellable_msat[network, home_out[mine]]
                able += np.bincount(mine[fits], minlength=len(able))
                found.append((mine, fits, *settled_through(past, episodes, network)))
            if tell is not None:
                tell(first + _NETWORKS, len(moments_ns))
    finally:
        episodes.close()
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    mine, fits, settled, peer_in, peer_out, amount_sat = columns
    through = mine[settled], peer_in[settled], peer_out[settled], amount_sat[settled]
    return Reached(sent, *through, able, fits[settled])


def rehearse(
    past: Past, draws: Sequence[tuple[Flow, ...]], day_swing: float, begins_ns: Sequence[int], seed: int, threads: int
) -> float:
    """Play weeks of the past with each demand, prices as they were at the begin, and return the mean forwards a day.

    Args:
        past: The node's past.
        draws: The demands.
        day_swing: How much busier noon is than the mean of the day.
        begins_ns: When the weeks begin, in ns since 1970.
        seed: Least seed of what is drawn.
        threads: Threads that share simulated networks.
    """
    forwards = 0
    for begin_ns in begins_ns:
        problem = problem_of_draws(past.topology_at(begin_ns), past.node.name, draws, day_swing, step_hours=24)
        seeds = seeds_of(problem, seed)
        episodes = SimulatedEpisodes(problem, len(seeds), threads, laid_out(problem))
        everywhere = np.ones(len(seeds), np.bool_)
        decisions = problem.task.actions.idle(len(seeds)).whole  # type: ignore[attr-defined]
        for network, each in enumerate(seeds):
            episodes.seed(network, each)
        try:
            episodes.begin(everywhere)
            for _ in range(_REHEARSED_DAYS):
                episodes.step(everywhere, decisions)
                forwards += int(episodes.columns.forwards[:, :, _FORWARDED_OUT].sum())
        finally:
            episodes.close()
    return forwards / (_REHEARSED_DAYS * len(draws) * len(begins_ns))


def _problem(past: Past, candidates: Candidates) -> Problem:
    """Return the operator's problem with all candidates paying equally often."""
    count = len(candidates.sender)
    per_day = np.full(count, 24 / _STEP_HOURS * _PAYMENTS / count)
    flows = flows_of(past.topology.nodes, candidates, per_day, np.ones(count, np.bool_))
    return Problem.of(
        EnvironmentConfig.of(
            {
                "task": "operator",
                "topology": past.topology,
                "own_node": past.node.name,
                "action": "dict",
                "warm_up_days": 0,
                "step_hours": _STEP_HOURS,
                "gossip": "at_once",
                "fee_change_hours": 0,
                "least_change": 0,
                "max_fee_rate_ppm": 1_000_000,
                "payments_per_step": 3 * _PAYMENTS,
                "traffic": FlowsTraffic(flows=flows),
            }
        )
    )


def _balances_msat(past: Past, problem: Problem, episodes: Episodes, moments_ns: Int64) -> Int64:
    """Return balances at moments of the past: the own ones as they were, those of others drawn."""
    numbers = zip(episodes.seeds.tolist(), (episodes.episodes + 1).tolist(), strict=True)
    drawn = np.stack([problem.start_balances_msat(seed, episode) for seed, episode in numbers])
    channel, side = np.divmod(past.out, 2)
    local_msat = past.local_msat(moments_ns)
    drawn[:, channel, side] = local_msat
    drawn[:, channel, 1 - side] = past.topology.owned_total_msat[channel] - local_msat
    return drawn


def _decisions(past: Past, problem: Problem, moments_ns: Int64) -> Int64:
    """Return decisions that announce the fee rates of moments of the past."""
    idle = problem.task.actions.idle(len(moments_ns)).whole  # type: ignore[attr-defined]
    decisions: Int64 = np.array(idle, np.int64)
    decisions[:, : PER_CHANNEL * len(past.out) : PER_CHANNEL] = past.fee_rate_ppm(moments_ns)
    return decisions


def _candidates_of(batch: PaymentBatch, limit_ppm: Int64, whose: dict[tuple[int, int, int], int]) -> Int64:
    """Return whose each payment is."""
    keys = zip(batch.source.tolist(), batch.destination.tolist(), limit_ppm.tolist(), strict=True)
    return np.array([whose[key] for key in keys], np.int64)


def settled_through(past: Past, episodes: Episodes, network: int) -> tuple[Bool, Int64, Int64, Float64]:
    """Return which payments of a network's last step settled through the node, and how.

    Returns:
        For each payment whether it did, node indices of the peers whence it came and it went on to, and the sat that
        went on.
    """
    outcomes = episodes.outcomes(network)
    arrays, route = past.topology.arrays, outcomes.part_route[:, 0].astype(np.int64)
    leaves = (route >= 0) & (arrays.source[route] == past.own)
    leaves[:, 0] = False  # its own payments
    hop = leaves.argmax(axis=1)
    settled = leaves.any(axis=1) & outcomes.succeeded
    payments = np.arange(len(route))
    peer_in = arrays.source[route[payments, np.maximum(hop - 1, 0)]].astype(np.int64)
    peer_out = arrays.destination[route[payments, hop]].astype(np.int64)
    return settled, peer_in, peer_out, outcomes.part_amount_msat[:, 0] / 1000
