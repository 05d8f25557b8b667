"""The operator's environment of a node of one's own: its true balances and policies, a demand fitted to its past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

import numpy as np

from lnsim_gym.environment import LightningNetEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.network import Topology
from lnsim_gym.own_node.demand import FittedDemand
from lnsim_gym.own_node.folder import OwnNode
from lnsim_gym.own_node.past import Past, around_own
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.traffic import Flow, FlowsTraffic
from lnsim_gym.traffic.random import PURPOSE_VARIANT, stream_start

__all__ = ["own_environment", "own_problem", "seeds_of"]

_ROOM: Final = 3.0
"""Room for the payments of a step, as a multiple of their mean, and ``_MORE_ROOM``."""
_MORE_ROOM: Final = 20


def own_environment(
    node: OwnNode,
    topology: Topology,
    demand: FittedDemand,
    *,
    draw: int,
    at_ns: int | None = None,
    **settings: Any,
) -> LightningNetEnv:
    """Return the operator's environment of a node as it was at some time.

    What the history leaves open of the demand differs from draw to draw; balances of others are drawn by each seed.

    Args:
        node: The node.
        topology: The network around it, with its balances.
        demand: What was fitted to its history.
        draw: Which draw of the demand, below ``demand.draws``.
        at_ns: When an episode begins, in ns since 1970, by default when the node was imported.
        **settings: Settings of the environment (``OperatorConfig``) that are not to be those of this one.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
    """
    return LightningNetEnv(**_settings(_network(node, topology, demand, at_ns), node, [demand.flows(draw)], settings))


def own_problem(
    node: OwnNode, topology: Topology, demand: FittedDemand, *, at_ns: int | None = None, **settings: Any
) -> Problem:
    """Return the operator's problem of a node with one variant for each draw of its demand.

    An episode of ``seeds_of(problem)[draw]`` has that draw's demand; see ``own_environment`` for all else.
    """
    network = _network(node, topology, demand, at_ns)
    flows = [demand.flows(draw) for draw in range(demand.draws)]
    common = _settings(network, node, flows, settings)
    each = [
        Problem.of(EnvironmentConfig.of({**common, "traffic": FlowsTraffic(flows=one, day_swing=demand.day_swing)}))
        for one in flows
    ]
    return replace(each[0], variants=tuple(each))


def seeds_of(problem: Problem, first: int = 0) -> list[int]:
    """Return for each variant of a problem the least seed of which the first episode is on it.

    Args:
        problem: The problem.
        first: Least seed to look at.
    """
    variants, found = len(problem.variants), dict[int, int]()
    for seed in count(first):
        place = stream_start(np.uint64(seed), np.int64(0), np.int64(0), PURPOSE_VARIANT) % variants
        found.setdefault(int(place), seed)
        if len(found) == variants:
            return [found[variant] for variant in range(variants)]
    raise AssertionError  # unreachable: seeds never end


def _network(node: OwnNode, topology: Topology, demand: FittedDemand, at_ns: int | None) -> Topology:
    """Return the part of the network that the demand is of, with the node as it was."""
    past = Past(node, around_own(topology, node.name, demand.nodes))
    return past.topology_at(past.end_ns if at_ns is None else at_ns)


def _settings(
    network: Topology, node: OwnNode, flows: Sequence[tuple[Flow, ...]], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the settings of the operator's environment of a node, with room for the payments of every demand."""
    days = float(settings.get("step_hours", 6.0)) / 24
    most = max(sum(flow.payments_per_day for flow in one) for one in flows) * days
    return {
        "task": "operator",
        "topology": network,
        "own_node": node.name,
        "action": "dict",
        "warm_up_days": 0,
        "traffic": FlowsTraffic(flows=flows[0]),
        "payments_per_step": round(_ROOM * most) + _MORE_ROOM,
        **settings,
    }
