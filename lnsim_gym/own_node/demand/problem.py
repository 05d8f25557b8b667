"""The operator's problem with the demands of several draws: one variant for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

import numpy as np

from lnsim_gym.compiled.memory import copied
from lnsim_gym.episodes import Problem
from lnsim_gym.network import Topology
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.state import Variants, make_variants
from lnsim_gym.traffic import Flow, FlowsTraffic
from lnsim_gym.traffic.random import PURPOSE_VARIANT, stream_start

__all__ = ["laid_out", "problem_of_draws", "seeds_of", "settings_of_draw"]

_ROOM: Final = 3.0
"""Room for the payments of a step, as a multiple of their mean, and ``_MORE_ROOM``."""
_MORE_ROOM: Final = 20


def settings_of_draw(
    network: Topology, own: str, flows: tuple[Flow, ...], day_swing: float, **settings: Any
) -> dict[str, Any]:
    """Return the settings of the operator's environment of a node.

    Args:
        network: The network, with the node's balances and policies.
        own: The node, by name.
        flows: The demand.
        day_swing: How much busier noon is than the mean of the day, as a share of it.
        **settings: Settings that are not to be those of this one.
    """
    days = float(settings.get("step_hours", 6.0)) / 24
    expected = sum(flow.payments_per_day for flow in flows) * days
    return {
        "task": "operator",
        "topology": network,
        "own_node": own,
        "action": "dict",
        "warm_up_days": 0,
        "traffic": FlowsTraffic(flows=flows, day_swing=day_swing),
        "payments_per_step": round(_ROOM * expected) + _MORE_ROOM,
        **settings,
    }


def problem_of_draws(
    network: Topology, own: str, draws: Sequence[tuple[Flow, ...]], day_swing: float, **settings: Any
) -> Problem:
    """Return the operator's problem of a node with one variant for each demand; see ``settings_of_draw``."""
    each = [settings_of_draw(network, own, flows, day_swing, **settings) for flows in draws]
    room = max(one["payments_per_step"] for one in each)
    variants = [Problem.of(EnvironmentConfig.of({**one, "payments_per_step": room})) for one in each]
    return replace(variants[0], variants=tuple(variants))


def laid_out(problem: Problem) -> Variants:
    """Lay out the variants of a problem that differ in demand alone: the one network of all is compiled once.

    Args:
        problem: As ``problem_of_draws`` returns it.
    """
    one = make_variants(problem.config, [problem.topology], [problem.traffic], linked=problem.is_linked)
    count = len(problem.variants)
    networks = _repeated(one.networks, count)._replace(variant=copied(np.arange(count)))
    links = networks.links
    starts = _repeated(one.starts, count)
    starts = starts._replace(policy=networks.policy, inbound=links.inbound, disabled=links.disabled)
    return Variants(networks, _repeated(one.programs, count), starts)


def _repeated(stack: Any, count: int) -> Any:
    """Return stacks of one as stacks of so many."""
    if isinstance(stack, tuple):
        return type(stack)(*(_repeated(each, count) for each in stack))
    return copied(np.repeat(stack, count, axis=0)) if isinstance(stack, np.ndarray) else stack


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
            break
    return [found[variant] for variant in range(variants)]
