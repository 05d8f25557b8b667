"""The rules of programs that node operators use to manage liquidity, one rebalance per step.

A program looks after one node; here each rule looks after all of them, and the most urgent rebalance of any node is
done. Settings that the programs leave to the operator are tuned in the recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lnsim_gym.agents.rules.base import NEVER, Rule
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Autoloop", "Lndg", "RebalanceLnd", "Regolancer"]

MAX_TRANSACTION_SAT: Final = 4_294_967
"""Most that ``RebalanceLnd`` moves at once."""
FEE_TIE_BREAK: Final = 1e-12
"""Urgency that a msat of fees costs: only ever decides between equals."""


class Autoloop(Rule):
    """Keeps minimum shares of incoming and of outgoing liquidity on every channel end.

    Source: Lightning Labs' autoloop (lightninglabs/loop, ``liquidity/threshold_rule.go``). An end whose incoming share
    is below its minimum swaps out ``midpoint - incoming``, the midpoint lying between the minimum and the most that
    leaves the outgoing minimum; it does nothing when that would take outgoing liquidity below its minimum. The
    largest swap comes first. A push stands for the swap; the other end's swap in is the same push.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``push``.
        incoming: Minimum incoming share of the capacity.
        outgoing: Minimum outgoing share.
    """

    OPERATIONS = ("push",)

    def __init__(self, problem: Problem, incoming: float = 0.25, outgoing: float = 0.25) -> None:
        super().__init__(problem)
        if not (incoming >= 0 and outgoing >= 0 and incoming + outgoing < 1):
            raise ConfigError(
                f"autoloop needs incoming and outgoing >= 0 with a sum below 1, got {incoming} and {outgoing}"
            )
        self.incoming = incoming
        self.outgoing = outgoing

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        outgoing = shares[:, self.giver]
        incoming = shares[:, self.giver ^ 1]
        required = (self.incoming + 1 - self.outgoing) / 2 - incoming
        loops = (incoming < self.incoming) & (outgoing - self.outgoing >= required)
        return np.where(loops, required, NEVER), required


class Lndg(Rule):
    """Refills the channel with the largest inbound share from any that keeps enough outbound liquidity.

    Source: LNDg's auto-rebalancer (cryptosharks131/lndg, ``rebalancer.py``): targets are channels whose remote share
    is at least AR-Inbound%, the largest multiple of it first; sources are those whose local share, less the amount,
    is at least AR-Outbound% (75 by default); the amount is AR-Target% of the target's capacity (5 by default). LND
    then takes the cheapest route.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``circular``.
        inbound: AR-Inbound%, as a share.
        outbound: AR-Outbound%, as a share.
        amount: AR-Target%, as a share.
    """

    OPERATIONS = ("circular",)

    def __init__(self, problem: Problem, inbound: float = 1.0, outbound: float = 0.75, amount: float = 0.05) -> None:
        super().__init__(problem)
        if not (0 < inbound <= 1 and 0 <= outbound <= 1 and 0 < amount <= 1):
            raise ConfigError(
                f"lndg needs inbound and amount in (0, 1] and outbound in 0..1, got {inbound}, {amount}, {outbound}"
            )
        self.inbound = inbound
        self.outbound = outbound
        self._amount_sat = amount * self.capacity_sat[self.taker]
        self._spent = self._amount_sat / self.capacity_sat[self.giver]
        self._fees_msat = self.needed_msat[0, :, 0] - self.liquidity.actions.amounts_msat[:, 0]

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        local = shares[:, self.giver] - self._spent
        remote = shares[:, self.taker ^ 1]
        wanted = (local >= self.outbound) & (remote >= self.inbound)
        urgency = remote / self.inbound - FEE_TIE_BREAK * self._fees_msat
        return np.where(wanted, urgency, NEVER), self._amount_sat / self.liquidity.routes.smallest_capacity_sat


class Regolancer(Rule):
    """Moves between two random channels of a node, one short of inbound and one short of outbound liquidity.

    Source: regolancer (rkfg/regolancer, ``channels.go``): channels whose remote share is below ``pfrom`` may give,
    those whose local share is below ``pto`` may take; a pair is picked at random, and neither may come out on the
    other side of one half.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``circular``.
        pfrom: Remote share below which a channel may give.
        pto: Local share below which a channel may take.
        amount: Most to move, as a share of the smallest channel on the route.
    """

    OPERATIONS = ("circular",)
    is_separable = False  # all networks draw from one stream

    def __init__(self, problem: Problem, pfrom: float = 0.5, pto: float = 0.5, amount: float = 0.1) -> None:
        super().__init__(problem)
        if not (0 < pfrom <= 1 and 0 < pto <= 1 and 0 < amount <= 1):
            raise ConfigError(f"regolancer needs pfrom, pto and amount in (0, 1], got {pfrom}, {pto}, {amount}")
        self.pfrom = pfrom
        self.pto = pto
        self._unit_sat = self.liquidity.routes.smallest_capacity_sat
        self._most_sat = amount * self._unit_sat
        self._from_sat = self.capacity_sat[self.giver]
        self._to_sat = self.capacity_sat[self.taker]

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        remote = shares[:, self.giver ^ 1]
        local = shares[:, self.taker]
        least_sat = np.minimum((0.5 - remote) * self._from_sat, (0.5 - local) * self._to_sat)
        candidate = (remote < self.pfrom) & (local < self.pto) & (least_sat > 0)
        amount_sat = np.minimum(least_sat, self._most_sat)
        fits = candidate & (amount_sat >= self.sizes[0] / 2 * self._unit_sat)
        return np.where(fits, rng.random(fits.shape), NEVER), amount_sat / self._unit_sat


class RebalanceLnd(Rule):
    """Evens out the channel that lacks most, from the channel of the same node that has most to spare.

    Source: rebalance-lnd (C-Otto/rebalance-lnd, ``rebalance.py``): candidates to take have a local share of the two
    balances below ``ratio``, candidates to give one above ``1 - ratio``, both by how much one side has more than the
    other; the amount makes the two sides of the taking channel equal, or those of the giving one if that is less, up
    to 4,294,967 sat.

    Args:
        problem: The problem of the environment it acts on; its operation must be ``circular``.
        ratio: Local share below which a channel takes, at most one half.
    """

    OPERATIONS = ("circular",)

    def __init__(self, problem: Problem, ratio: float = 0.5) -> None:
        super().__init__(problem)
        if not 0 < ratio <= 0.5:
            raise ConfigError(f"rebalance_lnd needs ratio in (0, 0.5], got {ratio}")
        self.ratio = ratio
        self._unit_sat = self.liquidity.routes.smallest_capacity_sat

    def wishes(
        self,
        shares: Float64,
        info: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> tuple[Float64, Float64 | float]:
        """See ``Rule.wishes``."""
        balance_sat = shares * self.capacity_sat
        other_sat = balance_sat.reshape(len(shares), -1, 2)[:, :, ::-1].reshape(balance_sat.shape)
        ratio = balance_sat / (balance_sat + other_sat)
        surplus_sat = balance_sat - other_sat
        lack_sat = -surplus_sat[:, self.taker]
        spare_sat = surplus_sat[:, self.giver]
        wanted = (ratio[:, self.taker] < self.ratio) & (ratio[:, self.giver] > 1 - self.ratio)
        amount_sat = np.minimum(np.minimum(lack_sat, spare_sat) / 2, MAX_TRANSACTION_SAT)
        # The emptiest channel comes first, and among its partners the fullest.
        urgency = lack_sat + spare_sat / (1 + spare_sat.max(initial=0.0) * 1e6)
        return np.where(wanted, urgency, NEVER), amount_sat / self._unit_sat
