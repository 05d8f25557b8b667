"""A backtest as data: weeks foretold and as they came, and what policies earned in them."""

from __future__ import annotations

from typing import Final

import msgspec

from lnsim_gym.own_node.backtest.calibration import widening

__all__ = ["LOGGED", "WEEK_DAYS", "Backtest", "Played", "Week"]

LOGGED: Final = "logged"
"""What the node's own policy is called."""
WEEK_DAYS: Final = 7


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy earned in simulated weeks, in sat a day; intervals are of what may come, not of means."""

    policy: str
    net: float
    net_low: float
    net_high: float
    income: float
    rebalance_fees: float
    swap_fees: float
    chain_fees: float
    ahead: float
    """By how much its net was above that of the node's own policy, on the same draws."""
    ahead_low: float
    ahead_high: float
    ahead_chance: float
    """Share of the draws in which it was above."""


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """One week, or its first days: what the node earned, and what the days before foretold of it, in sat a day."""

    begin_ns: int
    """When it began, in ns since 1970."""
    fitted: int
    """Forwards that the demand was fitted to."""
    unexplained: float
    """Share of them that no route of the graph explains."""
    forwards: int
    """Forwards of the week, or of its days that were played."""
    income: float
    refill_fees: float
    foretold: float
    foretold_low: float
    foretold_high: float
    log_likelihood: float | None
    """Of the forwards' pairs of peers, mean in nats by the fitted demand; None where there were none."""
    log_likelihood_pooled: float | None
    """The same by the pooled law."""
    log_error: float
    """How far the income lay above what was foretold; see ``calibration.log_error``."""

    @property
    def is_inside(self) -> bool:
        """Whether the income lies in the interval."""
        return self.foretold_low <= self.income <= self.foretold_high


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backtest found, in sat a day."""

    name: str
    """The node."""
    draws: int
    days: int
    """First days of each week that were played: all 7 unless the node is very busy."""
    level: float
    """What the intervals hold: less than 95 % where there are fewer than 39 draws."""
    weeks: list[Week]
    income: float
    """What the node earned in all weeks."""
    foretold: float
    foretold_low: float
    foretold_high: float
    rates_ppm: tuple[int, int]
    """Least and greatest fee rate that the node asked for, as far as its history tells."""
    policies: list[Played]
    """The node's own first, then the best net first; only the own one where the model does not foretell it."""
    unknown: list[str]
    """What the history does not tell; see ``Books.unknown``."""

    @property
    def is_reproduced(self) -> bool:
        """Whether what the node earned lies in the interval of what was foretold."""
        return self.foretold_low <= self.income <= self.foretold_high

    @property
    def widening(self) -> float:
        """How many times as wide as its draws forecasts of the node have to be; see ``calibration.widening``."""
        return widening([week.log_error for week in self.weeks])
