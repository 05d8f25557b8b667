"""Rules that set fees, as programs that node operators use do."""

from __future__ import annotations

from typing import Final

import numpy as np

from lnsim_gym.agents.operator.base import DAY_H, OperatorRule, Plan, Seen
from lnsim_gym.arrays import Float64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError

__all__ = [
    "Autofees",
    "BrlnAutofee",
    "ChargeLnd",
    "Clboss",
    "FeeAdjuster",
    "Feelancer",
    "LndgFees",
    "Lndmanage",
    "StaticFees",
]


LEAST_STEP_PPM: Final = 15
"""Change of a fee rate that ``BrlnAutofee`` announces at least."""
CARDS: Final = 5
"""Price levels of a deck of ``Clboss``."""


class StaticFees(OperatorRule):
    """Sets one fee rate on all channels, and lets them be.

    Source: operators who sort channels by hand into levels of fee rates and never rebalance (five-satoshi.com).

    Args:
        problem: See ``OperatorRule``.
        fee_rate_ppm: Fee rate of all channels.
        fee_base_msat: Base fee of all channels.
    """

    def __init__(self, problem: Problem, fee_rate_ppm: int = 250, fee_base_msat: int = 0) -> None:
        super().__init__(problem)
        _require_no_less(0, fee_rate_ppm=fee_rate_ppm, fee_base_msat=fee_base_msat)
        self.fee_rate_ppm = fee_rate_ppm
        self.fee_base_msat = fee_base_msat

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        plan.fee_rate_ppm[:] = self.fee_rate_ppm
        plan.fee_base_msat[:] = self.fee_base_msat


class ChargeLnd(OperatorRule):
    """Charges more the less is left to sell, from ``min_fee_ppm`` to ``max_fee_ppm``.

    Source: charge-lnd's strategy ``proportional`` (accumulator/charge-lnd 17039cd) with ``sum_peer_chans``; the
    bounds are those of its documentation. Changes by less than 10 ppm are left out.

    Args:
        problem: See ``OperatorRule``.
        min_fee_ppm: Fee rate of a full channel.
        max_fee_ppm: Fee rate of an empty channel.
        min_fee_ppm_delta: Least change of a fee rate.
    """

    def __init__(
        self, problem: Problem, min_fee_ppm: int = 10, max_fee_ppm: int = 200, min_fee_ppm_delta: int = 10
    ) -> None:
        super().__init__(problem)
        _require_order(min_fee_ppm=min_fee_ppm, max_fee_ppm=max_fee_ppm)
        self.min_fee_ppm = min_fee_ppm
        self.max_fee_ppm = max_fee_ppm
        self.min_fee_ppm_delta = min_fee_ppm_delta

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        remote = 1 - self.local_of_peer(seen)
        rate_ppm = self.min_fee_ppm + remote * (self.max_fee_ppm - self.min_fee_ppm)
        self.announce(seen, plan, rate_ppm, least_ppm=self.min_fee_ppm_delta)


class Feelancer(OperatorRule):
    """Trades margin and spread: fee rate = margin + spread, inbound fee rate = -spread, the spread by a controller.

    Source: feelancer (feelancer21/feelancer 6534fbc, ``docs/concept.md`` and ``pid/analytics.py``). The error of a
    peer is how far its inbound share lies from that of the whole node, from -0.5 to 0.5. The spread grows by a trend,
    in proportion to the error, to its exponentially weighted average, and to its decaying change; all of it taken as
    linear between two steps. New numbers are announced at most once a day, where they change by 10 ppm.

    Args:
        problem: See ``OperatorRule``.
        margin_ppm: Margin, the same for all; operators choose their own.
        k_t: Trend, in ppm a day.
        k_p: Gain of the error, in ppm a day.
        k_i: Gain of its average, in ppm a day.
        alpha_i: Decay of that average, a day.
        k_d: Gain of its change, in ppm.
        alpha_d: Decay of that change, a day.
    """

    def __init__(
        self,
        problem: Problem,
        margin_ppm: float = 50.0,
        k_t: float = 0.1,
        k_p: float = 1.0,
        k_i: float = 4.8,
        alpha_i: float = 0.04,
        k_d: float = 2.4,
        alpha_d: float = 1.0,
    ) -> None:
        super().__init__(problem)
        if not (alpha_i > 0 and alpha_d > 0):
            raise ConfigError(f"feelancer needs alpha_i and alpha_d above 0, got {alpha_i} and {alpha_d}")
        self.margin_ppm = margin_ppm
        self.k_t = k_t
        self.k_p = k_p
        self.k_i = k_i
        self.alpha_i = alpha_i
        self.k_d = k_d
        self.alpha_d = alpha_d

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        spread_ppm = self.kept("spread_ppm", seen.fee_rate_ppm - self.margin_ppm)
        spread_ppm += self._gain_ppm(_error_of(seen, 1 - self.local_of_peer(seen)))
        rate_ppm = np.maximum(self.margin_ppm + spread_ppm, 0)
        changed = self.announce(seen, plan, rate_ppm, least_ppm=10, least_hours=DAY_H)
        plan.inbound_fee_rate_ppm[changed] = np.minimum(np.trunc(-spread_ppm), 0)[changed].astype(np.int64)

    def _gain_ppm(self, error: Float64) -> Float64:
        """Return by how much spreads grow since the last step, and remember errors, their averages and changes."""
        before, average, change = (
            self.kept(name, np.zeros(error.shape)) for name in ("error", "error_average", "error_change")
        )
        days = self.hours / DAY_H
        mean, slope = (error + before) / 2, (error - before) / days
        fade_i, fade_d = np.exp(-self.alpha_i * days), np.exp(-self.alpha_d * days)
        lag = slope / self.alpha_i
        from_average = days * (mean - lag) + (1 - fade_i) * (average + lag - before) / self.alpha_i
        from_change = error - before + (1 - fade_d) * (change - slope) / self.alpha_d
        gain_ppm: Float64 = self.k_t * days + self.k_p * mean * days + self.k_i * from_average + self.k_d * from_change
        average[:] = error - lag + fade_i * (average + lag - before)
        change[:] = slope + fade_d * (change - slope)
        before[:] = error
        return gain_ppm


class LndgFees(OperatorRule):
    """Moves fee rates by steps once a day, as what is local and what was forwarded in a week have it.

    Source: LNDg's auto-fees (cryptosharks131/lndg bd75f83, ``af.py``), for each peer. A nearly empty channel that
    refused more than 25 HTLCs a day for lack of balance, and took none in, charges more; one without any flow in a
    week less; one that sold more than once its capacity, on balance, more; a nearly full one that only takes in less.
    Inbound discounts move the other way, down to ``max_cost`` of the fee rate. Forwards of less than 1,000 sat count
    too.

    Args:
        problem: See ``OperatorRule``.
        max_rate_ppm: AF-MaxRate.
        min_rate_ppm: AF-MinRate.
        increment_ppm: AF-Increment: fee rates are multiples of it.
        multiplier: AF-Multiplier: what steps are multiples of.
        failed_htlcs: AF-FailedHTLCs.
        low: AF-LowLiqLimit, as a share.
        excess: AF-ExcessLimit, as a share.
        max_cost: Share of the fee rate that the inbound discount takes at most.
    """

    def __init__(
        self,
        problem: Problem,
        max_rate_ppm: int = 2_500,
        min_rate_ppm: int = 0,
        increment_ppm: int = 5,
        multiplier: int = 5,
        failed_htlcs: int = 25,
        low: float = 0.15,
        excess: float = 0.95,
        max_cost: float = 0.65,
    ) -> None:
        super().__init__(problem)
        _require_order(min_rate_ppm=min_rate_ppm, max_rate_ppm=max_rate_ppm)
        _require_order(low=low, excess=excess)
        _require_no_less(1, increment_ppm=increment_ppm)
        self.max_rate_ppm = max_rate_ppm
        self.min_rate_ppm = min_rate_ppm
        self.increment_ppm = increment_ppm
        self.multiplier = multiplier
        self.failed_htlcs = failed_htlcs
        self.low = low
        self.excess = excess
        self.max_cost = max_cost

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        steps, discounts = self._moves(seen)
        rate_ppm = self.increment_ppm * np.rint((seen.fee_rate_ppm + self.multiplier * steps) / self.increment_ppm)
        rate_ppm = np.clip(rate_ppm, self.min_rate_ppm, self.max_rate_ppm)
        inbound_ppm = seen.inbound_fee_rate_ppm + self.multiplier * discounts
        inbound_ppm = np.clip(np.rint(inbound_ppm), -np.trunc(self.max_cost * rate_ppm), 0)
        due = self.due(DAY_H) & self.older_than(1)
        self.announce(seen, plan, rate_ppm, where=due & (steps != 0), least_hours=DAY_H)
        moves = due & (discounts != 0) & (DAY_H * seen.days_since_change >= DAY_H)
        plan.inbound_fee_rate_ppm[moves] = inbound_ppm[moves].astype(np.int64)

    def _moves(self, seen: Seen) -> tuple[Float64, Float64]:
        """Return by how many multiples of the multiplier fee rates and inbound fee rates move."""
        local = self.by_peer(seen.local_sat) / self.by_peer(seen.capacity_sat)
        came_today_sat = self.by_peer(self.recent("in_sat_1d", seen.forwarded_in_sat, 1))
        came_sat = self.by_peer(self.recent("in_sat_7d", seen.forwarded_in_sat, 7))
        went_sat = self.by_peer(self.recent("out_sat_7d", seen.forwarded_out_sat, 7))
        failed = self.by_peer(self.recent("failed_1d", seen.failed_liquidity, 1))
        earned_sat = self.by_peer(self.recent("earned_sat_7d", seen.fee_earned_sat, 7))
        assisted_sat = self.by_peer(self.recent("sourced_sat_7d", seen.fee_sourced_sat, 7))
        net = (went_sat - came_sat) / self.by_peer(seen.capacity_sat)
        idle = self.older_than(7) & (came_sat + went_sat == 0)
        empty, full = local <= self.low, local >= self.excess
        between = ~(empty | full)
        wanted = empty & (failed > self.failed_htlcs) & (came_today_sat == 0)
        source = full & (idle | ((net < 0) & (assisted_sat > 10 * earned_sat)))
        cases = [wanted, source, between & idle, between & (net > 1)]
        return (
            np.select(
                cases, [np.full(net.shape, 5.0), np.full(net.shape, -5.0), np.full(net.shape, -3.0), 2 * (1 + net)]
            ),
            np.select(
                cases, [np.full(net.shape, -12.0), np.full(net.shape, 12.0), np.full(net.shape, 7.0), -5 * (1 + net)]
            ),
        )


class FeeAdjuster(OperatorRule):
    """Charges what others pay to reach the peer, times a factor of how much is local.

    Source: the plugin feeadjuster of Core Lightning (lightningd/plugins c0b768f): the median of the peer's incoming
    fee rates (or ``global_ppm`` where none lies in 0..5,000) times ``base ** (0.5 - local)``, anew after a forward
    that moved the local share by more than ``threshold``.

    Args:
        problem: See ``OperatorRule``.
        base: 50 by default; 10 in its mode ``soft``.
        threshold: Change of the local share that counts.
        global_ppm: Fee rate where the peer's neighbours tell none.
        highest_ppm: Greatest fee rate of neighbours that counts.
    """

    def __init__(
        self,
        problem: Problem,
        base: float = 50.0,
        threshold: float = 0.05,
        global_ppm: int = 10,
        highest_ppm: int = 5_000,
    ) -> None:
        super().__init__(problem)
        _require_no_less(1, base=base)
        self.base = base
        self.threshold = threshold
        self.global_ppm = global_ppm
        self.highest_ppm = highest_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        local = self.local_of_peer(seen)
        set_for = self.kept("set_for", np.full(local.shape, np.inf))
        median_ppm = self.peers_pay_ppm(0.5)
        usable = (median_ppm > 0) & (median_ppm < self.highest_ppm)
        rate_ppm = np.where(usable, median_ppm, self.global_ppm) * self.base ** (0.5 - local)
        moved = np.abs(local - set_for) > self.threshold
        self.announce(seen, plan, rate_ppm, where=moved)
        set_for[moved] = local[moved]


class Lndmanage(OperatorRule):
    """Steers each peer's outgoing flow to a target by weekly changes of its fee rate.

    Source: lndmanage (bitromortac/lndmanage, ``update-fees``): ppm times ``1 + c (r / target - 1)``, r what was
    forwarded out a day, within a floor and 1.5; the floor is 0.5 where all is local, 1 at one half, and 1.05 below
    500,000 sat local. Fee rates start at 2,500 ppm.

    Args:
        problem: See ``OperatorRule``.
        target_sat_per_day: Flow out that a peer should have.
        cap: c, how far one change goes.
        min_ppm: Least fee rate.
        max_ppm: Greatest fee rate.
        initial_ppm: Fee rate to start with.
    """

    def __init__(
        self,
        problem: Problem,
        target_sat_per_day: float = 14_286.0,
        cap: float = 0.5,
        min_ppm: int = 5,
        max_ppm: int = 5_000,
        initial_ppm: int = 2_500,
    ) -> None:
        super().__init__(problem)
        _require_order(min_ppm=min_ppm, max_ppm=max_ppm)
        _require_no_less(1, target_sat_per_day=target_sat_per_day)
        self.target_sat_per_day = target_sat_per_day
        self.cap = cap
        self.min_ppm = min_ppm
        self.max_ppm = max_ppm
        self.initial_ppm = initial_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        went_sat = self.by_peer(self.recent("out_sat_7d", seen.forwarded_out_sat, 7))
        local_sat = self.by_peer(seen.local_sat)
        floor = np.interp(self.local_of_peer(seen), [0.0, 0.5, 1.0], [1.0, 1.0, 0.5])
        floor = np.where(local_sat < 500_000, 1.05, floor)
        change = np.clip(1 + self.cap * (went_sat / 7 / self.target_sat_per_day - 1), floor, 1.5)
        rate_ppm = np.clip(seen.fee_rate_ppm * change, self.min_ppm, self.max_ppm)
        starts = ~self.older_than(self.hours / DAY_H)
        rate_ppm = np.where(starts, float(self.initial_ppm), rate_ppm)
        self.announce(seen, plan, rate_ppm, where=starts | self.due(7 * DAY_H))


class Autofees(OperatorRule):
    """Lowers fee rates of channels that sell less than the best peers do, and raises those that sell more.

    Source: Lightning Terminal's Autofees, of its documentation and an open re-make (Primexz/recharge-lnd,
    ``internal/fees/autofees.go``). The target is the mean throughput of the best earning peers; each three days a
    small step towards it, a larger one up where the channel is nearly drained. Fee rates start high.

    Args:
        problem: See ``OperatorRule``.
        best: How many of the best earning peers set the target.
        step: Share by which a fee rate moves.
        drained: Local share below which it moves up twice as far.
        days: Days that earnings and throughput are counted over.
        min_ppm: Least fee rate.
        initial_ppm: Fee rate to start with, and the greatest.
    """

    def __init__(
        self,
        problem: Problem,
        best: int = 5,
        step: float = 0.1,
        drained: float = 0.125,
        days: float = 60.0,
        min_ppm: int = 1,
        initial_ppm: int = 2_500,
    ) -> None:
        super().__init__(problem)
        _require_order(min_ppm=min_ppm, initial_ppm=initial_ppm)
        _require_no_less(1, best=best)
        self.best = best
        self.step = step
        self.drained = drained
        self.days = days
        self.min_ppm = min_ppm
        self.initial_ppm = initial_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        flow_sat = self.by_peer(self.recent("out_sat", seen.forwarded_out_sat, self.days))
        earned_sat = self.by_peer(self.recent("earned_sat", seen.fee_earned_sat, self.days))
        best = np.argsort(-earned_sat, axis=1, kind="stable")[:, : self.best]
        target_sat = np.take_along_axis(flow_sat, best, axis=1).mean(axis=1, keepdims=True)
        is_drained = self.local_of_peer(seen) < self.drained
        up = 1 + np.where(is_drained, 2 * self.step, self.step)
        change = np.where((flow_sat > target_sat) | is_drained & (flow_sat > 0), up, 1 - self.step)
        rate_ppm = np.clip(seen.fee_rate_ppm * change, self.min_ppm, self.initial_ppm)
        starts = ~self.older_than(self.hours / DAY_H)
        rate_ppm = np.where(starts, float(self.initial_ppm), rate_ppm)
        self.announce(seen, plan, rate_ppm, where=starts | self.due(3 * DAY_H))


class BrlnAutofee(OperatorRule):
    """Follows what others pay to reach the peer in small steps, with a surcharge where little is left.

    Source: brln-autofee (jvxis/brln-autofee 0f34703): the target is the 65th percentile of the peer's incoming fee
    rates plus 25 ppm, 2 % higher below 5 % local and lower above 20 %; where little stays local, 5 % more with each
    round up to 25 %. Steps are 5 % at most, or 15 ppm where that is more: smaller ones, or of less than 4 %, are not
    announced. Its floors by what was paid and sold, and its brake, are left out.

    Args:
        problem: See ``OperatorRule``.
        quantile: Which of the peer's incoming fee rates counts.
        surcharge_ppm: What is added to it.
        step: Share by which a fee rate moves at most.
        low: Local share below which channels are short.
        min_ppm: Least fee rate.
        max_ppm: Greatest fee rate.
    """

    def __init__(
        self,
        problem: Problem,
        quantile: float = 0.65,
        surcharge_ppm: int = 25,
        step: float = 0.05,
        low: float = 0.05,
        min_ppm: int = 10,
        max_ppm: int = 2_000,
    ) -> None:
        super().__init__(problem)
        _require_order(min_ppm=min_ppm, max_ppm=max_ppm)
        if not 0 <= quantile <= 1:
            raise ConfigError(f"brln_autofee needs quantile in 0..1, got {quantile}")
        self.quantile = quantile
        self.surcharge_ppm = surcharge_ppm
        self.step = step
        self.low = low
        self.min_ppm = min_ppm
        self.max_ppm = max_ppm

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        local = self.local_of_peer(seen)
        short = self.kept("short_rounds", np.zeros(local.shape))
        short[:] = np.where(local < self.low, short + 1, 0)
        seed_ppm = self.peers_pay_ppm(self.quantile)
        seed_ppm = np.where(np.isnan(seed_ppm), seen.fee_rate_ppm, seed_ppm + self.surcharge_ppm)
        lean = np.select([local < self.low, local > 0.2], [1.02, 0.98], 1.0)
        target_ppm = seed_ppm * lean * (1 + np.minimum(0.05 * short, 0.25))
        now_ppm = np.maximum(seen.fee_rate_ppm, self.min_ppm)
        step_ppm = np.maximum(self.step * now_ppm, LEAST_STEP_PPM)
        rate_ppm = np.clip(np.clip(target_ppm, now_ppm - step_ppm, now_ppm + step_ppm), self.min_ppm, self.max_ppm)
        matters = np.abs(rate_ppm - seen.fee_rate_ppm) >= 0.04 * seen.fee_rate_ppm
        self.announce(seen, plan, rate_ppm, where=matters, least_ppm=LEAST_STEP_PPM)


class Clboss(OperatorRule):
    """Starts from what others charge towards the peer, and tries higher and lower price levels, two days each.

    Source: CLBOSS' fee modders (ksedgwic/clboss 49ffd76): the median fee rate of the peer's other channels towards
    it, times ``exp(ln 50 (0.5 - local))``, times the price level, ``1.2 ** p`` above and ``0.8 ** -p`` below. Levels
    are the cards of a shuffled deck, the centre and two on each side; when it is played the best earner becomes the
    centre. The factor for the size of the node is left out; balances count in tenths, so that fee rates do not tell
    them.

    Args:
        problem: See ``OperatorRule``.
        base: By what factor an empty and a full channel differ.
        card_days: How long a price level is tried.
        up: Factor of a price level above the centre.
        down: Factor of one below it.
    """

    def __init__(
        self, problem: Problem, base: float = 50.0, card_days: float = 2.0, up: float = 1.2, down: float = 0.8
    ) -> None:
        super().__init__(problem)
        _require_no_less(1, base=base, up=up)
        self.base = base
        self.card_days = card_days
        self.up = up
        self.down = down

    is_separable = False  # all networks draw from one stream

    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """See ``OperatorRule.decide``."""
        local = self.local_of_peer(seen)
        level = self._levels(seen, rng)
        median_ppm = self.peers_pay_ppm(0.5)
        median_ppm = np.where(np.isnan(median_ppm), np.maximum(seen.fee_rate_ppm, 1), median_ppm)
        binned = (np.minimum(np.floor(10 * local), 9) + 0.5) / 10
        price = np.where(level >= 0, self.up ** np.maximum(level, 0), self.down ** np.maximum(-level, 0))
        rate_ppm = np.maximum(median_ppm * self.base ** (0.5 - binned) * price, 1)
        self.announce(seen, plan, rate_ppm)

    def _levels(self, seen: Seen, rng: np.random.Generator) -> Float64:
        """Return the price level of each channel, after the cards that are due."""
        shape = seen.local_sat.shape
        centre = self.kept("centre", np.zeros(shape))
        drawn = np.argsort(rng.random((*shape, CARDS)), axis=2).astype(np.float64)
        deck, earned = self.kept("deck", drawn), self.kept("card_earned_sat", np.zeros((*shape, CARDS)))
        at = self.kept("card", np.zeros((shape[0], 1)))
        here = np.broadcast_to(at[:, :, None], (*shape, 1)).astype(np.int64)
        played = np.take_along_axis(deck, here, axis=2).astype(np.int64)
        np.put_along_axis(
            earned, played, np.take_along_axis(earned, played, axis=2) + seen.fee_earned_sat[:, :, None], axis=2
        )
        at += self.due(DAY_H * self.card_days) & (self.older_than(self.card_days))
        over = at[:, 0] >= CARDS
        best = earned.argmax(axis=2) - CARDS // 2
        earns = earned.max(axis=2) > 0
        centre[over] += np.where(earns, best, 0)[over]
        deck[over], earned[over], at[over] = drawn[over], 0, 0
        here = np.broadcast_to(at[:, :, None], (*shape, 1)).astype(np.int64)
        level: Float64 = centre + np.take_along_axis(deck, here, axis=2)[:, :, 0] - CARDS // 2
        return level


def _error_of(seen: Seen, inbound: Float64) -> Float64:
    """Return how far inbound shares lie from the whole node's, as parts of the way to 0 or to 1, -0.5 to 0.5."""
    remote_sat = seen.remote_sat.sum(axis=1, keepdims=True)
    total_sat = remote_sat + seen.local_sat.sum(axis=1, keepdims=True)
    target = np.clip(remote_sat / np.maximum(total_sat, 1), 1e-6, 1 - 1e-6)
    error: Float64 = 0.5 * (inbound - target) / np.where(inbound >= target, 1 - target, target)
    return error


def _require_order(**bounds: float) -> None:
    """Refuse a lower bound above the upper one, or below 0."""
    (low_name, low), (high_name, high) = bounds.items()
    if not 0 <= low <= high:
        raise ConfigError(f"expected 0 <= {low_name} <= {high_name}, got {low} and {high}")


def _require_no_less(least: float, **settings: float) -> None:
    """Refuse settings below a bound."""
    for name, value in settings.items():
        if value < least:
            raise ConfigError(f"expected {name} of at least {least}, got {value}")
