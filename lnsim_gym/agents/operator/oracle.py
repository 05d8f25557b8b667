"""A rule that knows what no operator does: what every pair of the market would pay."""

from __future__ import annotations

import numpy as np

from lnsim_gym.agents.operator.base import OperatorRule, Plan, Seen
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.operator.task import OperatorTask
from lnsim_gym.traffic import MarketTraffic
from lnsim_gym.traffic.market import draw_flow_pairs, way_out

__all__ = ["FeeOracle"]


class FeeOracle(OperatorRule):
    """Sets the fee rate of each channel at which the pairs that would leave by it pay most in all.

    A pair pays no more than what its best route around the node costs more (its reservation fee), and than its fee
    limit. Knows both, and how much each pair pays; not how much liquidity there is, what competitors will do, nor which
    pairs are active. A reference for rules that set fees and nothing else; no bound, as prices may answer to balances.

    Args:
        problem: See ``OperatorRule``.
        share: Share of that fee rate to set: less than all, as amounts differ from the median.

    Raises:
        ConfigError: The traffic is no market.
    """

    def __init__(self, problem: Problem, share: float = 1.0) -> None:
        super().__init__(problem)
        self.share = share
        self._best_ppm: Float64 = np.stack([_best_ppm(task) for task in self.graphs.tasks])

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        self.announce(seen, plan, self.share * self._best_ppm[self.graphs.variant])
        plan.fee_base_msat[:] = 0


def _best_ppm(task: OperatorTask) -> Float64:
    """Return the fee rates at which the pairs of a market pay most, shape (channels,)."""
    market, payment = task.config.traffic, task.config.payment
    if not isinstance(market, MarketTraffic):
        raise ConfigError(f"FeeOracle needs traffic of kind 'market', got {market}")
    flows = draw_flow_pairs(market, payment, task.topology, task.own)
    leaves_by = way_out(market, payment, task.topology, task.own, flows)
    kinds = market.retail, market.merchants, market.exchanges
    amount_sat = np.array([kind.median_amount_sat for kind in kinds], np.float64)[flows.kind]
    worth_ppm = np.minimum(1000 * flows.reservation_msat / amount_sat, flows.fee_limit_ppm)
    volume = flows.weight * amount_sat
    best = [_dearest(worth_ppm[leaves_by == direction], volume[leaves_by == direction]) for direction in task.out]
    rates_ppm: Float64 = np.clip(np.array(best), 0, task.config.max_fee_rate_ppm)
    return rates_ppm


def _dearest(worth_ppm: Float64, volume: Float64) -> float:
    """Return the price at which those to whom it is worth as much pay most in all; 0 where there is nobody."""
    if not len(worth_ppm):
        return 0.0
    order = np.argsort(-worth_ppm, kind="stable")
    paid = worth_ppm[order] * np.cumsum(volume[order])
    return float(worth_ppm[order][paid.argmax()])
