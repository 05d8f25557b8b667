"""Rules that rebalance, as programs that node operators use do; two of them set fees too."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnsim_gym.agents.operator.base import DAY_H, NEVER, OperatorRule, Plan, Seen
from lnsim_gym.agents.operator.fees import LndgFees
from lnsim_gym.arrays import Bool, Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = ["Bos", "LightningJet", "LnOperator", "OperatorLndg", "OperatorRebalanceLnd", "OperatorRegolancer", "Sling"]

MAX_TRANSACTION_SAT = 4_294_967
"""Most that ``OperatorRebalanceLnd`` moves at once."""
FIRST_LIMIT_PPM = 500.0
"""What ``LnOperator`` pays for a first refill."""
SOLD_ENOUGH_SAT = 2_000_000
"""What a channel must have sold before its price counts."""
SMALLEST_JET_SAT = 50_000
"""Least amount that ``LightningJet`` moves."""
SMALLEST_JET_CHANNEL_SAT = 990_000
"""Capacity from which it looks at channels that carry little."""
MOST_FAILURES = 5
"""After how many failures ``LnOperator`` gives a channel up."""


class OperatorLndg(LndgFees):
    """LNDg's auto-fees and its auto-rebalancer: fills the emptiest channels, for a share of what they charge.

    Source: LNDg (cryptosharks131/lndg bd75f83, ``rebalancer.py``): sources keep a local share of ``outbound`` after
    the move, targets have a remote share of at least ``inbound``, the emptiest first. The fee limit is ``max_cost``
    of the target's own fee rate, at most ``max_fee_ppm``, and must lie above the peer's. Amounts begin with
    ``amount`` of the target's capacity, grow by 21 % after a success and halve after a failure, down to 69,420 sat.

    Args:
        problem: See ``OperatorRule``.
        outbound: AR-Outbound%, as a share.
        inbound: AR-Inbound%, as a share.
        amount: AR-Target%, as a share.
        max_fee_ppm: AR-MaxFeeRate.
        settings: Those of ``LndgFees``; ``max_cost`` is AR-MaxCost% too.
    """

    NEEDS = "rebalance"

    def __init__(
        self,
        problem: Problem,
        outbound: float = 0.75,
        inbound: float = 0.9,
        amount: float = 0.03,
        max_fee_ppm: int = 500,
        **settings: Any,
    ) -> None:
        super().__init__(problem, **settings)
        _require_shares(outbound=outbound, inbound=inbound, amount=amount)
        self.outbound = outbound
        self.inbound = inbound
        self.amount = amount
        self.max_fee_ppm = max_fee_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        super().decide(seen, plan, rng)
        amount_sat = self.kept("amount_sat", self.amount * seen.capacity_sat)
        refills = self.refills(seen)
        grown_sat = np.where(refills.amount_sat > 0, 1.21 * amount_sat, amount_sat / 2)
        amount_sat[:] = np.where(refills.asked, np.maximum(grown_sat, 69_420), amount_sat)
        left = (seen.local_sat[:, :, None] - amount_sat[:, None, :]) / seen.capacity_sat[:, :, None]
        remote = seen.remote_sat / seen.capacity_sat
        limit_ppm = np.minimum(self.max_cost * seen.fee_rate_ppm, self.max_fee_ppm)
        target = (remote >= self.inbound) & (limit_ppm > seen.peer_fee_rate_ppm)
        urgency = np.where((left >= self.outbound) & target[:, None, :], remote[:, None, :] + 1e-6 * left, NEVER)
        self.rebalance(seen, plan, urgency, amount_sat[:, None, :], limit_ppm[:, None, :])


class LnOperator(OperatorRule):
    """Prices by what is local and by whether anything sells, and refills at what the last refill cost.

    Source: ln-operator (lnbright/ln-operator, 2026). Fee rate = max(sigmoid (1 + m), floor): the sigmoid falls from
    250 to 25 ppm with the local share; m rises by 0.15 a night after a forward and falls after 3 silent days, and
    jumps by 0.4 where a nearly empty channel refused an HTLC; the floor is 1.1 times the price of the last refill,
    and halves its distance every 3 days once the channel is idle for as long. Channels below 20 % local are filled to
    one half from those above 80 %, at what the last refill cost and 20 % more for each failure since, at most 1.25
    times what the channel sold for, once it sold 2 M sat. Amounts halve with each failure; after five the channel is
    given up.

    Args:
        problem: See ``OperatorRule``.
        low_ppm: Fee rate of a full channel.
        top_ppm: Fee rate of an empty channel.
        max_ppm: Greatest fee rate.
        most: Greatest m.
        markup: What a refilled channel sells for, as a multiple of the refill's price.
    """

    NEEDS = "rebalance"

    def __init__(
        self,
        problem: Problem,
        low_ppm: int = 25,
        top_ppm: int = 250,
        max_ppm: int = 5_000,
        most: float = 2.0,
        markup: float = 1.1,
    ) -> None:
        super().__init__(problem)
        if not 0 <= low_ppm <= top_ppm <= max_ppm:
            raise ConfigError(
                f"ln_operator needs 0 <= low_ppm <= top_ppm <= max_ppm, got {low_ppm}, {top_ppm}, {max_ppm}"
            )
        self.low_ppm = low_ppm
        self.top_ppm = top_ppm
        self.max_ppm = max_ppm
        self.most = most
        self.markup = markup

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        local, shape = seen.local, seen.local.shape
        refills = self.refills(seen)
        done = refills.amount_sat > 0
        paid_ppm, floor_ppm = self.kept("paid_ppm", np.zeros(shape)), self.kept("floor_ppm", np.zeros(shape))
        failures = self.kept("failures", np.zeros(shape))
        failures[:] = np.where(done, 0, failures + refills.asked)
        paid_ppm[done] = refills.cost_ppm[done]
        clearing_ppm = self._clearing_ppm(seen, local)
        idle = self.older_than(3) & (self.recent("out_3d", seen.forwarded_out, 3) == 0)
        sinks = idle & self.due(3 * DAY_H) & (floor_ppm > clearing_ppm)
        floor_ppm[sinks] = ((floor_ppm + clearing_ppm) / 2)[sinks]
        floor_ppm[done] = self.markup * paid_ppm[done]
        rate_ppm = np.minimum(np.maximum(clearing_ppm, floor_ppm), self.max_ppm)
        change_ppm = np.abs(np.trunc(rate_ppm) - seen.fee_rate_ppm)
        matters = (change_ppm >= 10) | (change_ppm >= 0.1 * seen.fee_rate_ppm)
        matters &= (change_ppm >= 30) | (DAY_H * seen.days_since_change >= 6)
        self.announce(seen, plan, rate_ppm, where=matters)
        self._refill(seen, plan, local, self._limit_ppm(seen, paid_ppm, failures), failures)

    def _clearing_ppm(self, seen: Seen, local: Float64) -> Float64:
        """Return fee rates as demand and what is local have them."""
        multiplier = self.kept("multiplier", np.zeros(local.shape))
        night = self.due(DAY_H) & self.older_than(1)
        sells = self.recent("forwards_1d", seen.forwarded_out + seen.forwarded_in, 1) > 0
        silent = self.older_than(3) & (self.recent("forwards_3d", seen.forwarded_out + seen.forwarded_in, 3) == 0)
        multiplier += 0.15 * (night & sells) - 0.15 * (night & silent)
        multiplier += 0.4 * ((local < 0.2) & (seen.failed_liquidity > 0))
        np.clip(multiplier, -0.5, self.most, out=multiplier)
        sigmoid_ppm = self.low_ppm + (self.top_ppm - self.low_ppm) / (1 + np.exp(8 * (local - 0.5)))
        clearing_ppm: Float64 = sigmoid_ppm * (1 + multiplier)
        return clearing_ppm

    def _limit_ppm(self, seen: Seen, paid_ppm: Float64, failures: Float64) -> Float64:
        """Return what a refill of each channel may cost."""
        sold_sat, earned_sat = (self.kept(name, np.zeros(paid_ppm.shape)) for name in ("sold_sat", "earned_sat"))
        sold_sat += seen.forwarded_out_sat
        earned_sat += seen.fee_earned_sat
        limit_ppm = np.where(paid_ppm > 0, paid_ppm, FIRST_LIMIT_PPM) * (1 + 0.2 * failures)
        worth_ppm = 1.25e6 * earned_sat / np.maximum(sold_sat, 1)
        most_ppm = np.where(sold_sat >= SOLD_ENOUGH_SAT, worth_ppm, self.max_ppm)
        allowed_ppm: Float64 = np.minimum(np.minimum(limit_ppm, most_ppm), self.max_ppm)
        return allowed_ppm

    def _refill(self, seen: Seen, plan: Plan, local: Float64, limit_ppm: Float64, failures: Float64) -> None:
        """Plan refills of nearly empty channels from nearly full ones."""
        surplus_sat = (local - 0.5) * (seen.local_sat + seen.remote_sat)
        amount_sat = np.minimum(surplus_sat[:, :, None], -surplus_sat[:, None, :])
        amount_sat = np.maximum(amount_sat / 2 ** failures[:, None, :], np.minimum(amount_sat, 100_000))
        target = (local < 0.2) & (failures < MOST_FAILURES)
        wanted = (local > 0.8)[:, :, None] & target[:, None, :]
        urgency = np.where(wanted, local[:, :, None] - local[:, None, :], NEVER)
        self.rebalance(seen, plan, urgency, amount_sat, limit_ppm[:, None, :])


class OperatorRegolancer(OperatorRule):
    """Moves between two random channels, for a share of what the one that takes charges.

    Source: regolancer (rkfg/regolancer, ``channels.go``): channels whose remote share is below ``pfrom`` may give,
    those whose local share is below ``pto`` may take; neither comes out on the other side of one half. The fee limit
    is ``econ_ratio`` of the taker's fee rate, less the giver's where profit that it loses counts.

    Args:
        problem: See ``OperatorRule``.
        pfrom: Remote share below which a channel may give.
        pto: Local share below which a channel may take.
        econ_ratio: Share of the taker's fee rate that may be paid.
        lost_profit: Whether what the giver would earn is taken off.
    """

    NEEDS = "rebalance"
    is_separable = False  # all networks draw from one stream

    def __init__(
        self,
        problem: Problem,
        pfrom: float = 0.5,
        pto: float = 0.5,
        econ_ratio: float = 0.65,
        lost_profit: bool = False,
    ) -> None:
        super().__init__(problem)
        _require_shares(pfrom=pfrom, pto=pto)
        self.pfrom = pfrom
        self.pto = pto
        self.econ_ratio = econ_ratio
        self.lost_profit = lost_profit

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        remote, local = seen.remote_sat / seen.capacity_sat, seen.local_sat / seen.capacity_sat
        spare_sat, lack_sat = (0.5 - remote) * seen.capacity_sat, (0.5 - local) * seen.capacity_sat
        fits = (remote < self.pfrom)[:, :, None] & (local < self.pto)[:, None, :]
        limit_ppm = np.broadcast_to(self.econ_ratio * seen.fee_rate_ppm[:, None, :], fits.shape)
        if self.lost_profit:
            limit_ppm = limit_ppm - seen.fee_rate_ppm[:, :, None]
        urgency = np.where(fits & (limit_ppm >= 1), rng.random(fits.shape), NEVER)
        self.rebalance(seen, plan, urgency, np.minimum(spare_sat[:, :, None], lack_sat[:, None, :]), limit_ppm)


class OperatorRebalanceLnd(OperatorRule):
    """Evens out the channel that lacks most from the one that has most to spare, for less than that gains.

    Source: rebalance-lnd (C-Otto/rebalance-lnd, ``rebalance.py``): takers have a local share below ``ratio``, givers
    one above ``1 - ratio``; the amount makes the two sides of one of them equal, up to 4,294,967 sat. The fee limit
    is what the amount earns at the taker less what it would earn at the giver, times ``fee_factor``.

    Args:
        problem: See ``OperatorRule``.
        ratio: Local share below which a channel takes, at most one half.
        fee_factor: Share of what is gained that may be paid.
    """

    NEEDS = "rebalance"

    def __init__(self, problem: Problem, ratio: float = 0.5, fee_factor: float = 1.0) -> None:
        super().__init__(problem)
        if not 0 < ratio <= 0.5:
            raise ConfigError(f"operator_rebalance_lnd needs ratio in (0, 0.5], got {ratio}")
        self.ratio = ratio
        self.fee_factor = fee_factor

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        surplus_sat = seen.local_sat - seen.remote_sat
        spare_sat, lack_sat = surplus_sat[:, :, None], -surplus_sat[:, None, :]
        fits = (seen.local > 1 - self.ratio)[:, :, None] & (seen.local < self.ratio)[:, None, :]
        limit_ppm = self.fee_factor * (seen.fee_rate_ppm[:, None, :] - seen.fee_rate_ppm[:, :, None])
        # The emptiest channel comes first, and among its partners the fullest.
        urgency = np.where(fits & (limit_ppm >= 1), lack_sat + 1e-6 * spare_sat, NEVER)
        amount_sat = np.minimum(np.minimum(spare_sat, lack_sat) / 2, MAX_TRANSACTION_SAT)
        self.rebalance(seen, plan, urgency, amount_sat, limit_ppm)


class Sling(OperatorRule):
    """Pulls a fixed amount into channels below their target, out of cheap channels that have enough left.

    Source: sling for Core Lightning (daywalker90/sling), one pull job for each channel that charges more than
    ``max_ppm``: candidates charge at most ``out_ppm`` themselves, and keep ``deplete_up_to`` of their capacity or 2 M
    sat, whichever is less.

    Args:
        problem: See ``OperatorRule``.
        max_ppm: Most that a rebalance may cost.
        out_ppm: Fee rate up to which a channel is a candidate to pull from.
        target: Local share that jobs fill up to.
        amount_sat: Amount of one rebalance.
        deplete_up_to: Share of the capacity that candidates keep.
    """

    NEEDS = "rebalance"

    def __init__(
        self,
        problem: Problem,
        max_ppm: int = 300,
        out_ppm: int = 100,
        target: float = 0.5,
        amount_sat: int = 100_000,
        deplete_up_to: float = 0.2,
    ) -> None:
        super().__init__(problem)
        _require_shares(target=target, deplete_up_to=deplete_up_to)
        self.max_ppm = max_ppm
        self.out_ppm = out_ppm
        self.target = target
        self.amount_sat = amount_sat
        self.deplete_up_to = deplete_up_to

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        stays_sat = np.minimum(self.deplete_up_to * seen.capacity_sat, 2_000_000)
        gives = (seen.fee_rate_ppm <= self.out_ppm) & (seen.local_sat - self.amount_sat >= stays_sat)
        takes = (seen.fee_rate_ppm > self.max_ppm) & (seen.local < self.target)
        urgency = np.where(
            gives[:, :, None] & takes[:, None, :], seen.local[:, :, None] - seen.local[:, None, :], NEVER
        )
        self.rebalance(seen, plan, urgency, np.array(float(self.amount_sat)), np.array(float(self.max_ppm)))


class Bos(OperatorRule):
    """Takes a channel with little to receive and one with much, at random, and moves what a first probe asks for.

    Source: Balance of Satoshis' ``bos rebalance`` without arguments (alexbosworth/balanceofsatoshis 0aac9ec,
    ``swaps/rebalance.js``): out through a peer with less than 4,294,967 sat to receive, in through one of those half
    with the most to receive of the peers that have more than twice that and charge less than the fee rate; probes begin
    with 200,000 to 400,000 sat. That the program then probes for more is left out, as a rebalance here has one amount.

    Args:
        problem: See ``OperatorRule``.
        max_fee_rate_ppm: Most that a rebalance may cost.
        max_fee_sat: The same in sat.
        out_sat: What a peer that is left may have to receive at most.
        in_sat: What a peer that is come back by must have to receive.
        probe_sat: Least amount; the greatest is twice that.
    """

    NEEDS = "rebalance"
    is_separable = False  # all networks draw from one stream

    def __init__(
        self,
        problem: Problem,
        max_fee_rate_ppm: int = 250,
        max_fee_sat: int = 1_337,
        out_sat: int = 4_294_967,
        in_sat: int = 8_589_934,
        probe_sat: int = 200_000,
    ) -> None:
        super().__init__(problem)
        self.max_fee_rate_ppm = max_fee_rate_ppm
        self.max_fee_sat = max_fee_sat
        self.out_sat = out_sat
        self.in_sat = in_sat
        self.probe_sat = probe_sat

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        up = seen.active > 0
        remote_sat = self.by_peer(np.where(up, seen.remote_sat, 0))
        dearest_ppm = np.where(self.same_peer, seen.peer_fee_rate_ppm[:, None, :], 0).max(axis=2)
        amount_sat = np.round(self.probe_sat * (1 + rng.random((len(up), 1, 1))))
        gives = up & (seen.spendable_sat > amount_sat[:, :, 0]) & (remote_sat < self.out_sat)
        takes = up & (remote_sat > self.in_sat) & (dearest_ppm < self.max_fee_rate_ppm)
        fits = gives[:, :, None] & takes[:, None, :] & ~self.same_peer
        most = np.where(fits, remote_sat[:, None, :], -1)
        rank = np.argsort(np.argsort(-most, axis=2, kind="stable"), axis=2)
        fits &= rank < np.ceil(fits.sum(axis=2, keepdims=True) / 2)
        # One channel to leave by is as likely as any other, and then one to come back by.
        urgency = rng.random(up.shape)[:, :, None] + 1e-6 * rng.random(fits.shape)
        limit_ppm: Float64 = np.minimum(float(self.max_fee_rate_ppm), 1e6 * self.max_fee_sat / amount_sat)
        self.rebalance(seen, plan, np.where(fits, urgency, NEVER), amount_sat, limit_ppm)


class LightningJet(OperatorRule):
    """Moves from channels through which payments come in to those through which they leave, for what these charge.

    Source: Lightning Jet (itsneski/lightning-jet 0023f57, ``service/autorebalance.js`` and ``api/analyze-fees.js``).
    A channel is inbound or outbound if it had ``share`` of a week's incoming or outgoing amounts, by the larger of the
    two; balanced otherwise, from 990,000 sat on. Inbound ones with 30 % local give 10 % of their capacity, or 25 % from
    75 % local on; balanced ones from 60 % local on a quarter of what they have above one half, at most 10 %. Outbound
    ones below one half take it, balanced ones below one half at most a quarter of what they lack; at least 50,000 sat
    each. The fee limit is what the taker charges itself, which must be more than its peer charges, at most ten times
    ``max_ppm``; a peer that charges nine times that is left alone.

    Args:
        problem: See ``OperatorRule``.
        share: Share of all that came in, or went out, from which a channel is inbound, or outbound.
        max_ppm: Usual limit of fees, ``maxAutoPpm``.
    """

    NEEDS = "rebalance"

    def __init__(self, problem: Problem, share: float = 0.05, max_ppm: int = 500) -> None:
        super().__init__(problem)
        _require_shares(share=share)
        self.share = share
        self.max_ppm = max_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        inbound, outbound, balanced, flow = self._classes(seen)
        local, half_sat = seen.local_sat / seen.capacity_sat, seen.capacity_sat / 2
        plenty = np.where(local > 0.75, 0.25, 0.1) * seen.capacity_sat
        spare = np.minimum(0.1 * seen.capacity_sat, 0.25 * (seen.local_sat - half_sat))
        given_sat = np.where(balanced, spare, plenty)[:, :, None]
        lack_sat = np.where(balanced, 0.25 * (half_sat - seen.local_sat), np.inf)[:, None, :]
        own_ppm = np.round(seen.fee_base_msat / 1000 + seen.fee_rate_ppm)
        peer_ppm = np.round(seen.peer_fee_base_msat / 1000 + seen.peer_fee_rate_ppm)
        pays = (own_ppm > peer_ppm) & (own_ppm < 11 * self.max_ppm) & (peer_ppm <= 9 * self.max_ppm)
        takes = (local < 0.5) & pays
        gives_first, gives_last = inbound & (local >= 0.3), balanced & (local >= 0.6)
        # Inbound to outbound channels come first, inbound to balanced ones next, those from balanced ones last.
        turn = np.where(outbound[:, None, :], 2.0, 1.0) * gives_first[:, :, None]
        urgency = turn + 0.5 * flow[:, :, None] + 1e-3 * flow[:, None, :]
        amount_sat = np.round(np.minimum(given_sat, lack_sat)).astype(np.float64)
        fits = (gives_first | gives_last)[:, :, None] & (takes & (outbound | balanced))[:, None, :]
        fits &= amount_sat >= SMALLEST_JET_SAT
        self.rebalance(seen, plan, np.where(fits, urgency, NEVER), amount_sat, own_ppm[:, None, :])

    def _classes(self, seen: Seen) -> tuple[Bool, Bool, Bool, Float64]:
        """Return which channels are inbound, outbound and balanced, and what orders those of a kind, 0 to 1."""
        shares = []
        for name, amounts_sat in (("in_7d", seen.forwarded_in_sat), ("out_7d", seen.forwarded_out_sat)):
            week_sat = self.recent(name, amounts_sat, 7)
            shares.append((week_sat, week_sat / np.maximum(week_sat.sum(axis=1, keepdims=True), 1)))
        (in_sat, in_share), (out_sat, out_share) = shares
        goes_in, goes_out = np.round(in_share, 2) >= self.share, np.round(out_share, 2) >= self.share
        inbound, outbound = goes_in & ~(goes_out & (out_sat > in_sat)), goes_out & ~(goes_in & (in_sat >= out_sat))
        balanced = ~inbound & ~outbound & (seen.capacity_sat >= SMALLEST_JET_CHANNEL_SAT)
        spare = np.clip((seen.local_sat - seen.capacity_sat / 2) / seen.capacity_sat, 0, 1)
        return inbound, outbound, balanced, np.where(inbound, in_share, np.where(outbound, out_share, spare))


def _require_shares(**shares: float) -> None:
    """Refuse settings that are no shares."""
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"expected {name} in 0..1, got {value}")
