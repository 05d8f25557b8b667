"""The operator's environment of a node of one's own: its true balances and policies, a demand fitted to its past."""

from __future__ import annotations

from typing import Any

from lnsim_gym.environment import LightningNetEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Topology
from lnsim_gym.own_node.demand.fitted import FittedDemand
from lnsim_gym.own_node.demand.past import Past, around_own
from lnsim_gym.own_node.demand.problem import problem_of_draws, seeds_of, settings_of_draw
from lnsim_gym.own_node.reading.folder import OwnNode
from lnsim_gym.traffic import Flow

__all__ = ["own_environment", "own_problem", "seeds_of"]


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
    network = _network(node, topology, demand, at_ns)
    return LightningNetEnv(**settings_of_draw(network, node.name, _flows(demand, draw), demand.day_swing, **settings))


def own_problem(
    node: OwnNode, topology: Topology, demand: FittedDemand, *, at_ns: int | None = None, **settings: Any
) -> Problem:
    """Return the operator's problem of a node with one variant for each draw of its demand.

    An episode of ``seeds_of(problem)[draw]`` has that draw's demand; see ``own_environment`` for all else.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
    """
    draws = [_flows(demand, draw) for draw in range(demand.draws)]
    return problem_of_draws(_network(node, topology, demand, at_ns), node.name, draws, demand.day_swing, **settings)


def _flows(demand: FittedDemand, draw: int) -> tuple[Flow, ...]:
    """Return a draw of a demand.

    Raises:
        ConfigError: Nobody pays through the node in it.
    """
    flows = demand.flows(draw)
    if not flows:
        raise ConfigError(
            f"too few forwards lately to foretell anything: of the {demand.forwards:,} that were found, so few are of "
            "the last weeks that there may come none at all; import a newer history, or wait for more forwards"
        )
    return flows


def _network(node: OwnNode, topology: Topology, demand: FittedDemand, at_ns: int | None) -> Topology:
    """Return the part of the network that the demand is of, with the node as it was."""
    past = Past(node, around_own(topology, node.name, demand.nodes))
    return past.topology_at(past.end_ns if at_ns is None else at_ns)
