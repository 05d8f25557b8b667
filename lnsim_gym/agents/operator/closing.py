"""Rules that close channels."""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.agents.operator.base import NEVER, OperatorRule, Plan, Seen
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["CloseDeadChannels"]

WEEK_DAYS: Final = 7.0


class CloseDeadChannels(OperatorRule):
    """Closes channels over which nothing went for weeks, those with the most money first, and does nothing else.

    Source: cl_revenue_ops flags such channels for closing (lightning-goats/cl_revenue_ops,
    ``docs/audit/contribution/capital-side.md``, hypothesis CP-H2): of 22 that were flagged, 20 forwarded nothing in the
    14 days that followed, against 8 of 24 others of their size (p = 1.4e-4). The weeks, what has to be freed, and the
    price of the chain at which it waits are the operator's choice.

    Args:
        problem: See ``OperatorRule``.
        weeks: How long nothing came in nor went out.
        least_sat: Own balance below which closing frees too little.
        max_sat_per_vbyte: Fee rate of the chain above which it waits.
        keep_channels: Channels that stay, however dead.
    """

    NEEDS = "close"

    def __init__(
        self,
        problem: Problem,
        weeks: float = 2.0,
        least_sat: int = 100_000,
        max_sat_per_vbyte: float = 5.0,
        keep_channels: int = 2,
    ) -> None:
        super().__init__(problem)
        if weeks <= 0 or least_sat < 0 or max_sat_per_vbyte <= 0 or keep_channels < 0:
            raise ConfigError(
                "close_dead_channels needs weeks and max_sat_per_vbyte above 0, others not below, "
                f"got {weeks}, {max_sat_per_vbyte}, {least_sat} and {keep_channels}"
            )
        self.days = WEEK_DAYS * weeks
        self.least_sat = least_sat
        self.max_sat_per_vbyte = max_sat_per_vbyte
        self.keep_channels = keep_channels

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        there = seen.local_sat + seen.remote_sat > 0
        forwards = self.recent("forwards", seen.forwarded_in + seen.forwarded_out, self.days)
        away = self.recent("away", (~there).astype(np.float64), self.days)
        dead = (forwards == 0) & (away == 0) & self.older_than(self.days) & (seen.active > 0)
        worth = dead & (seen.local_sat >= self.least_sat) & (seen.sat_per_vbyte <= self.max_sat_per_vbyte)
        left = np.where(worth, seen.local_sat, NEVER)
        spare = there.sum(axis=1) - self.keep_channels
        networks = np.arange(len(left))
        for slot in range(plan.close.shape[1]):
            channel = left.argmax(axis=1)
            some = (left[networks, channel] > NEVER) & (spare > slot)
            plan.close[some, slot] = channel[some]
            left[networks, channel] = NEVER
