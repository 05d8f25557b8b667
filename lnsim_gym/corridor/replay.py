"""Replays of surveyed episodes for any policy, many networks at a time.

The rules of the environment hold as in the exact engine: the budget of gossip and the least change of policies, the
order of a step (policies, rebalances, payments), observations and the ledger. What is left out:

- Others' balances do not answer to what the own node does: they are those of the survey, at the begin of each step.
- Attempts are not bounded by time, and senders remember nothing: each payment takes the best route that works, after at
  most ``passing.MOST_ATTEMPTS`` over own channels that turn out to be empty.
- Every pair of own channels is compared, where LND's search keeps one path of each node, and so one to leave by.
- Senders know new policies at once, whatever the setting ``gossip`` says.
- Fees upon fees are left out on the way from the sender to the own node.
- Rebalances pay what was quoted once a day for two amounts; beyond these the price is level.
- A payment looks at the ``BEST_TO_US`` best own channels to come by, and the ``BEST_ONWARD`` best to leave by.
- Parallel channels of others are channels of their own, and the own node forwards over the very channel of the route.
- Swaps, closes and opens are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float32, Float64, Int8, Int64
from lnsim_gym.backends.simulator.estimator import HOP_PROBABILITY
from lnsim_gym.corridor.passing import Channels, Choices, Demand, pass_payments, send_rebalances
from lnsim_gym.corridor.survey import PEER_FEATURES, Survey
from lnsim_gym.errors import ConfigError
from lnsim_gym.payments import FORWARD_COUNTS
from lnsim_gym.tasks.operator.actions import OPTIONS
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES, KEEP
from lnsim_gym.traffic.flows import DAY_MS

__all__ = ["Corridor"]

_BY_MSAT: Final = 1e-9
_MOST_DAYS: Final = 30.0
_COUNT_SCALES: Final = np.array([0.1, 1e-9, 0.1, 1e-9, 1e-6, 1e-6, 0.1, 0.1, 0.1, 0.1])
"""Units of ``FORWARD_COUNTS`` in observations."""
_ACTIVE: Final = PEER_FEATURES.index("active")
_PEER_PLACES: Final = [CHANNEL_FEATURES.index(name) for name in PEER_FEATURES]
_FORWARDS: Final = CHANNEL_FEATURES.index("forwarded_in")
BEST_TO_US: Final = 6
BEST_ONWARD: Final = 8
"""How many own channels a payment looks at, to come by and to leave by."""
_OF_SETTINGS: Final = ("step_ms", "change_ms", "burst_ms", "least_change", "quote_steps", "steps")


class Corridor:
    """Surveyed episodes, replayed side by side; see the module for what is left out.

    Args:
        surveys: Episodes of one length, with as many own channels each and the same settings.
        copies: How often each of them is played at once: networks are all surveys, then all of them again, and so on.

    Raises:
        ConfigError: There is none, or they differ in these.
    """

    def __init__(self, surveys: Sequence[Survey], copies: int = 1) -> None:
        if not surveys:
            raise ConfigError("expected at least one survey to replay, got none")
        for name in _OF_SETTINGS:
            found = sorted({getattr(survey, name) for survey in surveys})
            if len(found) > 1:
                raise ConfigError(f"surveys to replay together need one {name}, got {found}")
        channels = sorted({len(survey.peer) for survey in surveys})
        if len(channels) > 1:
            raise ConfigError(f"surveys to replay together need as many own channels each, got {channels}")
        self.surveys, self.copies = tuple(surveys), copies
        self.networks, self.channels, self.steps = copies * len(surveys), channels[0], surveys[0].steps
        self._rules = surveys[0]
        self._demand = _demand_of(surveys)
        offsets = np.cumsum([0, *(len(survey.amount_msat) for survey in surveys[:-1])])
        first = np.stack([at + survey.first for at, survey in zip(offsets, surveys, strict=True)])
        self._first: Int64 = np.ascontiguousarray(np.tile(first, (copies, 1)).T)
        self._quotes_ppm = np.stack([survey.quotes_ppm for survey in surveys], axis=1)
        self._peers_seen, self._node_seen = self._stacked("peers_seen"), self._stacked("node_seen")
        self._enabled = self._stacked("enabled")
        self._capacity_msat = self._stacked("capacity_msat")
        self._most_msat, self._least_msat = self._stacked("most_msat"), self._stacked("least_msat")
        self.peer: Int64 = self._stacked("peer")
        """Node index of the peer of each own channel, shape (networks, channels)."""
        self.begin()

    def begin(self) -> None:
        """Begin all episodes anew."""
        shape = self.networks, self.channels
        balance_msat, keep_msat = self._stacked("balance_msat"), self._stacked("keep_msat")
        self.step_number = 0
        """Steps that are done."""
        sides = (balance_msat[:, 0], balance_msat[:, 1], keep_msat[:, 0], keep_msat[:, 1])
        columns = (*sides, *np.moveaxis(self._stacked("policy"), 2, 0))
        enabled = np.moveaxis(self._enabled[:, 0], 1, 0)
        self.own = Channels(
            self.peer, *(each.copy() for each in (*enabled, *columns, self._stacked("inbound_base_msat")))
        )
        """The own channels as they are; see ``passing.Channels``."""
        self.income_msat: Int64 = np.zeros(self.networks, np.int64)
        """Fees earned so far, shape (networks,)."""
        self.paid_msat: Int64 = np.zeros(self.networks, np.int64)
        """Fees paid for rebalances so far, likewise."""
        self.moved_msat: Int64 = np.zeros(self.networks, np.int64)
        """What rebalances moved so far, likewise."""
        self._credit_ms: Int64 = np.full(shape, self._rules.burst_ms, np.int64)
        self._changed_step: Int64 = np.full(shape, -1, np.int64)
        self.counts: Int64 = np.zeros((*shape, len(FORWARD_COUNTS)), np.int64)
        """What was forwarded in the last step, in the columns of ``FORWARD_COUNTS``."""
        self._closed = np.zeros((2, self.channels), np.bool_)

    def _stacked(self, name: str) -> npt.NDArray[Any]:
        """Return what the surveys hold under a name, once for each copy."""
        return np.concatenate([np.stack([getattr(survey, name) for survey in self.surveys])] * self.copies)

    @property
    def net_sat_per_day(self) -> Float64:
        """Income less fees of rebalances so far, shape (networks,)."""
        days = max(self.step_number, 1) * self._rules.step_ms / DAY_MS
        net: Float64 = (self.income_msat - self.paid_msat) / 1000 / days
        return net

    def observe(self) -> tuple[Float32, Float32]:
        """Return what is observed of channels, shape (networks, channels, len(CHANNEL_FEATURES)), and of the node."""
        own, rules = self.own, self._rules
        seen = np.empty((self.networks, self.channels, len(CHANNEL_FEATURES)), np.float32)
        seen[..., 0] = self._capacity_msat * _BY_MSAT
        seen[..., 1], seen[..., 2] = own.local_msat * _BY_MSAT, own.remote_msat * _BY_MSAT
        seen[..., 4], seen[..., 5] = own.fee_rate_ppm * 1e-3, own.fee_base_msat * 1e-3
        seen[..., 6], seen[..., 7] = own.inbound_fee_rate_ppm * 1e-3, own.max_htlc_msat / self._capacity_msat
        seen[..., _PEER_PLACES] = self._peers_seen[:, self.step_number]
        behind = _FORWARDS + len(FORWARD_COUNTS)
        seen[..., _FORWARDS:behind] = self.counts * _COUNT_SCALES
        days = (self.step_number - 1 - self._changed_step) * rules.step_ms / DAY_MS
        seen[..., behind] = np.where(self._changed_step < 0, _MOST_DAYS, np.minimum(days, _MOST_DAYS))
        seen[..., behind + 1] = self._credit_ms // rules.change_ms if rules.change_ms else 1
        return seen, self._node_seen[:, self.step_number]

    def allowed(self) -> Int8:
        """Return what each own channel may do next, shape (networks, OPTIONS * channels); see ``OperatorActions``."""
        own, rules = self.own, self._rules
        allowed = np.zeros((self.networks, OPTIONS, self.channels), np.int8)
        allowed[:, 0] = np.minimum(self._credit_ms + rules.step_ms, rules.burst_ms) >= rules.change_ms
        own_end = self._enabled[:, max(self.step_number - 1, 0), 0]
        is_active = own_end & (self._peers_seen[:, self.step_number, :, _ACTIVE] > 0)
        allowed[:, 1] = is_active & (own.local_msat > own.keep_local_msat)
        allowed[:, 2] = is_active & (own.remote_msat > own.keep_remote_msat)
        return allowed.reshape(self.networks, -1)

    def step(self, policies: Int64, rebalances: Int64) -> None:
        """Do a step.

        Args:
            policies: Numbers of policies (``ledger.POLICY_NUMBERS``, amounts in msat), ``features.KEEP`` where they
                stay, shape (networks, channels, 4).
            rebalances: As in decisions (``features.PER_REBALANCE``), -1 first for none, (networks, rebalances, 4).

        Raises:
            ConfigError: All steps of the surveys are done.
        """
        if self.step_number >= self.steps:
            raise ConfigError(f"the surveys have {self.steps} steps, all of which are done: begin() anew")
        step = self.step_number
        self.own.sends[:], self.own.receives[:] = np.moveaxis(self._enabled[:, step], 1, 0)
        self._announce(policies)
        quotes = self._quotes_ppm[step // self._rules.quote_steps], self._rules.quoted_msat
        asked = np.ascontiguousarray(rebalances, np.int64)
        send_rebalances(asked, *quotes, self.own, self.paid_msat, self.moved_msat)
        self.counts[:] = 0
        edges = self._first[step], self._first[step + 1]
        pass_payments(self._demand, *edges, self.own, self._closed, self.counts, self.income_msat)
        self.step_number += 1

    def _announce(self, asked: Int64) -> None:
        """Announce policies where they change and others still take changes, as ``tasks.operator.kernels`` does."""
        own, rules = self.own, self._rules
        rate_ppm = _wanted(asked[..., 0], own.fee_rate_ppm, rules.least_change)
        base_msat = _wanted(asked[..., 1], own.fee_base_msat, 0.0)
        inbound_ppm = _wanted(asked[..., 2], own.inbound_fee_rate_ppm, rules.least_change)
        highest_msat = _wanted(asked[..., 3], own.max_htlc_msat, rules.least_change)
        highest_msat = np.maximum(np.minimum(highest_msat, self._most_msat), self._least_msat)
        changes = (rate_ppm != own.fee_rate_ppm) | (base_msat != own.fee_base_msat)
        changes |= (inbound_ppm != own.inbound_fee_rate_ppm) | (highest_msat != own.max_htlc_msat)
        self._credit_ms[:] = np.minimum(self._credit_ms + rules.step_ms, rules.burst_ms)
        changes &= self._credit_ms >= rules.change_ms
        self._credit_ms[changes] -= rules.change_ms
        self._changed_step[changes] = self.step_number
        for now, wanted in (
            (own.fee_rate_ppm, rate_ppm),
            (own.fee_base_msat, base_msat),
            (own.inbound_fee_rate_ppm, inbound_ppm),
            (own.max_htlc_msat, highest_msat),
        ):
            now[changes] = wanted[changes]


def _wanted(asked: Int64, now: Int64, least_change: float) -> Int64:
    """Return numbers of policies that are to be announced: what was asked for, unless it hardly differs."""
    stays = (asked == KEEP) | (np.abs(asked - now) <= least_change * np.abs(now))
    wanted: Int64 = np.where(stays, now, asked)
    return wanted


def _demand_of(surveys: Sequence[Survey]) -> Demand:
    """Put the payments of surveys one behind the other."""

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(survey, name) for survey in surveys])

    def best(way: str, count: int) -> Choices:
        return _best(joined(f"{way}_fee"), joined(f"{way}_weight"), joined(f"{way}_hops"), attempt_msat, count)

    attempt_msat = joined("attempt_msat")
    to_us = best("to_us", BEST_TO_US)
    least_to_us = to_us.weight_msat.min(axis=1).astype(np.float64)
    onward = best("onward", BEST_ONWARD)
    numbers = joined("amount_msat"), joined("limit_msat"), joined("around")
    return Demand(*numbers, attempt_msat, least_to_us, to_us, onward)


def _best(fee: Any, weight: Any, hops: Any, attempt_msat: Float64, best: int) -> Choices:
    """Return the best ways of each payment, by weight and attempt cost."""
    cost = weight + attempt_msat[:, None] * HOP_PROBABILITY ** -hops.astype(np.float64)
    chosen = np.argsort(cost, axis=1, kind="stable")[:, :best]
    return Choices(
        chosen.astype(np.int8),
        *(np.ascontiguousarray(np.take_along_axis(part, chosen, axis=1)) for part in (fee, weight, hops)),
    )
