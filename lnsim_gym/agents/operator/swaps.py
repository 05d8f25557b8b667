"""Rules that swap between channels and the chain."""

from __future__ import annotations

import numpy as np

from lnsim_gym.agents.operator.base import NEVER, OperatorRule, Plan, Seen
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["BoltzAutoswap", "OperatorAutoloop", "SwapOut"]


class Swapper(OperatorRule):
    """Swaps as long as it is cheap, and within a budget of a week.

    Args:
        problem: See ``OperatorRule``.
        max_fee: Share of its amount that a swap may cost, all fees together.
        budget_sat: What swaps may cost in 7 days.
    """

    NEEDS = "swap"

    def __init__(self, problem: Problem, max_fee: float, budget_sat: int) -> None:
        super().__init__(problem)
        if max_fee < 0 or budget_sat < 0:
            raise ConfigError(f"expected max_fee and budget_sat of at least 0, got {max_fee} and {budget_sat}")
        self.max_fee = max_fee
        self.budget_sat = budget_sat

    def swap_within_budget(self, seen: Seen, plan: Plan, urgency: Float64, amount_sat: Float64) -> None:
        """Plan the most urgent swaps that are cheap enough; see ``OperatorRule.swap``."""
        cost_sat = self.cost_sat(seen, amount_sat)
        spent_sat = self.recent("spent_sat", np.zeros(urgency.shape), 7).sum(axis=1, keepdims=True)
        cheap = (cost_sat <= self.max_fee * np.abs(amount_sat)) & (spent_sat + cost_sat <= self.budget_sat)
        self.swap(seen, plan, np.where(cheap, urgency, NEVER), amount_sat)
        network, slot = np.nonzero(plan.swap[:, :, 0] >= 0)
        channel, swapped_sat = plan.swap[network, slot].T
        planned_sat = np.zeros(urgency.shape)
        planned_sat[network, channel] = swapped_sat
        self.note("spent_sat", self.cost_sat(seen, planned_sat) * (planned_sat != 0))

    def cost_sat(self, seen: Seen, amount_sat: Float64) -> Float64:
        """Return what swaps cost: service, off-chain way and transactions."""
        terms = self.swap_terms
        ppm = np.where(amount_sat > 0, terms.out_fee_ppm + terms.routing_fee_ppm, terms.in_fee_ppm)
        cost_sat: Float64 = 1e-6 * ppm * np.abs(amount_sat) + terms.transaction_vbytes * seen.sat_per_vbyte
        return cost_sat


class SwapOut(Swapper):
    """Swaps out of channels that are nearly full, and does nothing else.

    Source: the plain rule that beat learnt swapping in most scenarios of the RebEL benchmark (arXiv 2210.07302).

    Args:
        problem: See ``OperatorRule``.
        high: Local share above which a channel swaps out.
        target: Local share that it comes down to.
        max_fee: See ``Swapper``.
        budget_sat: See ``Swapper``.
    """

    def __init__(
        self,
        problem: Problem,
        high: float = 0.9,
        target: float = 0.5,
        max_fee: float = 0.02,
        budget_sat: int = 100_000,
    ) -> None:
        super().__init__(problem, max_fee, budget_sat)
        if not 0 <= target <= high <= 1:
            raise ConfigError(f"swap_out needs 0 <= target <= high <= 1, got {target} and {high}")
        self.high = high
        self.target = target

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        amount_sat = (seen.local - self.target) * (seen.local_sat + seen.remote_sat)
        self.swap_within_budget(seen, plan, np.where(seen.local > self.high, amount_sat, NEVER), amount_sat)


class OperatorAutoloop(Swapper):
    """Swaps out of channels that can receive too little, at what it costs.

    Source: Lightning Labs' autoloop (lightninglabs/loop f6b0253, ``liquidity/threshold_rule.go``): a channel whose
    incoming share is below its minimum swaps out to the middle between that and the most that leaves the outgoing
    minimum, the largest swap first, unless that would take outgoing liquidity below its minimum. A swap may cost 2 %,
    and a week its budget; both shares and the budget are the operator's choice.

    Args:
        problem: See ``OperatorRule``.
        incoming: Minimum incoming share of the capacity.
        outgoing: Minimum outgoing share.
        max_fee: See ``Swapper``.
        budget_sat: See ``Swapper``.
    """

    def __init__(
        self,
        problem: Problem,
        incoming: float = 0.25,
        outgoing: float = 0.25,
        max_fee: float = 0.02,
        budget_sat: int = 25_000,
    ) -> None:
        super().__init__(problem, max_fee, budget_sat)
        if not (incoming >= 0 and outgoing >= 0 and incoming + outgoing < 1):
            raise ConfigError(
                f"operator_autoloop needs incoming and outgoing >= 0 with a sum below 1, got {incoming} and {outgoing}"
            )
        self.incoming = incoming
        self.outgoing = outgoing

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        incoming, outgoing = seen.remote_sat / seen.capacity_sat, seen.local_sat / seen.capacity_sat
        required = (self.incoming + 1 - self.outgoing) / 2 - incoming
        loops = (incoming < self.incoming) & (outgoing - self.outgoing >= required)
        amount_sat = required * seen.capacity_sat
        self.swap_within_budget(seen, plan, np.where(loops, amount_sat, NEVER), amount_sat)


class BoltzAutoswap(Swapper):
    """Swaps to one half where a channel has little on either side.

    Source: Boltz' autoswap (BoltzExchange/boltz-client ddc4890), for each channel: below ``threshold`` local it swaps
    in, below it remote it swaps out, to the middle; a swap may cost 1 %, a week 100,000 sat.

    Args:
        problem: See ``OperatorRule``.
        threshold: Share of the capacity below which a side has too little.
        max_fee: See ``Swapper``.
        budget_sat: See ``Swapper``.
    """

    def __init__(
        self, problem: Problem, threshold: float = 0.25, max_fee: float = 0.01, budget_sat: int = 100_000
    ) -> None:
        super().__init__(problem, max_fee, budget_sat)
        if not 0 <= threshold <= 0.5:
            raise ConfigError(f"boltz_autoswap needs threshold in 0..0.5, got {threshold}")
        self.threshold = threshold

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        amount_sat = (seen.local_sat - seen.remote_sat) / 2
        short = np.minimum(seen.local_sat, seen.remote_sat) < self.threshold * seen.capacity_sat
        self.swap_within_budget(seen, plan, np.where(short, np.abs(amount_sat), NEVER), amount_sat)
