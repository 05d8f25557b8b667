"""What changes bring against doing nothing, measured on the same simulated days, once for each draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from lnsim_gym.agents.evaluate import bootstrap
from lnsim_gym.arrays import Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.own_node.advice.told import Gain
from lnsim_gym.own_node.advice.trials import try_decisions

__all__ = ["Measured", "measure"]


class Measured(NamedTuple):
    """What scenarios brought, the first one of which is to do nothing; draws on the first axis of all arrays."""

    days: float
    net_sat: Float64  # (draws, scenarios)
    earned_sat: Float64  # (draws, scenarios)
    channel_sat: Float64  # (draws, scenarios, channels)
    out_sat: Float64  # (draws, scenarios, channels)
    local_sat: Float64  # (draws, scenarios, channels)

    def gain(self, scenario: int) -> Gain:
        """Return what a scenario brings against doing nothing."""
        differences = (self.net_sat[:, scenario] - self.net_sat[:, 0]) / self.days
        low, high = bootstrap(differences)
        return Gain(
            sat_per_day=float(differences.mean()),
            low=low,
            high=high,
            ahead=int((differences > 0).sum()),
            behind=int((differences < 0).sum()),
        )

    def only(self, scenario: int) -> Self:
        """Return the same of doing nothing and one scenario."""
        return self._replace(**{name: getattr(self, name)[:, [0, scenario]] for name in self._fields[1:]})


def measure(
    world: Callable[[int], Problem],
    decisions: Int64,
    draws: Sequence[int],
    days: float,
    seed: int,
    threads: int = 1,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Measured:
    """Let decisions live through the same days, once for each draw.

    Args:
        world: The node's environment of a draw.
        decisions: Shape (scenarios, len(Task.decision)), the first one of which is to do nothing.
        draws: The draws.
        days: How many days.
        seed: What others do in a draw is drawn of this and its number.
        threads: Threads that share simulated networks.
        tell: Called with how much is done, and of how much.
    """
    trials = []
    for place, draw in enumerate(draws):
        tell(place, len(draws))
        trials.append(try_decisions(world(draw), decisions, days, seed + draw, threads))
    tell(len(draws), len(draws))
    return Measured(days, *(np.stack(column) for column in zip(*trials, strict=True)))
