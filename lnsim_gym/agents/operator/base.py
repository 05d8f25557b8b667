"""What all rules of an operator share: what is seen in plain units, what is planned, and what is kept between steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from lnsim_gym.agents.base import Agent
from lnsim_gym.arrays import Bool, Float32, Float64, Int64
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks import Task
from lnsim_gym.tasks.operator.actions import DictActions, Limits
from lnsim_gym.tasks.operator.config import Lever, SwapOptions, swap_terms
from lnsim_gym.tasks.operator.features import CHANNEL_FEATURES
from lnsim_gym.tasks.operator.task import OperatorTask
from lnsim_gym.tasks.presentation import without_mask
from lnsim_gym.traffic.random import PURPOSE_VARIANT, stream_start

__all__ = [
    "NEVER",
    "OperatorRule",
    "Plan",
    "Refills",
    "Seen",
    "Surroundings",
    "VariantGraphs",
    "as_operator",
    "quantiles_of",
]

NEVER: Final = -np.inf
"""Urgency of what is not wished for."""
KEEP: Final = -1
"""Stands in a plan for a number that stays as it is."""
KEEP_INBOUND: Final = 1
"""The same for inbound fee rates, which may be negative."""
LEAST_SAT: Final = 10_000
"""Amount below which no rebalance is worth its attempts."""
RESERVE_SHARE: Final = 0.01
"""Share of a channel's capacity that each end must keep."""
DAY_H: Final = 24.0


class Seen(NamedTuple):
    """What an operator knows, in plain units, float64; of channels (n, channels), of the node (n, 1)."""

    capacity_sat: Float64
    local_sat: Float64
    remote_sat: Float64
    active: Float64
    fee_rate_ppm: Float64
    fee_base_msat: Float64
    inbound_fee_rate_ppm: Float64
    max_htlc: Float64  # share of the capacity
    peer_fee_rate_ppm: Float64
    peer_fee_base_msat: Float64
    peer_inbound_fee_rate_ppm: Float64
    peer_max_htlc: Float64  # share of the capacity
    forwarded_in: Float64  # HTLCs since the last step
    forwarded_in_sat: Float64
    forwarded_out: Float64
    forwarded_out_sat: Float64
    fee_earned_sat: Float64
    fee_sourced_sat: Float64
    failed_liquidity: Float64
    failed_fee: Float64
    failed_otherwise: Float64
    failed_afterwards: Float64
    days_since_change: Float64
    changes_left: Float64
    wallet_sat: Float64
    sat_per_vbyte: Float64
    day_fraction: Float64
    days: Float64

    @property
    def local(self) -> Float64:
        """Own share of the two balances."""
        return self.local_sat / np.maximum(self.local_sat + self.remote_sat, 1)

    @property
    def spendable_sat(self) -> Float64:
        """What the own end can send."""
        return np.maximum(self.local_sat - RESERVE_SHARE * self.capacity_sat, 0)

    @property
    def receivable_sat(self) -> Float64:
        """What the peer's end can send."""
        return np.maximum(self.remote_sat - RESERVE_SHARE * self.capacity_sat, 0)

    @classmethod
    def of(cls, channels: Float32, node: Float32) -> Seen:
        """Bring observations into plain units.

        Args:
            channels: Shape (n, channels, len(CHANNEL_FEATURES)).
            node: Shape (n, len(NODE_FEATURES)).
        """
        plain = channels.astype(np.float64) * _UNITS
        plain[..., _WHOLE] = np.rint(plain[..., _WHOLE])
        of_node = node.astype(np.float64) * _NODE_UNITS
        return cls(*np.moveaxis(plain, 2, 0), *of_node.T[:, :, None])


_MILLION, _THOUSAND, _TEN = 1e6, 1e3, 10.0
_POLICY = (_THOUSAND, _THOUSAND, _THOUSAND, 1.0)
_UNITS: Final = np.array(
    [_MILLION] * 3
    + [1.0, *_POLICY, *_POLICY]
    + [_TEN, _MILLION, _TEN, _MILLION, _THOUSAND, _THOUSAND, _TEN, _TEN, _TEN, _TEN, 1.0, 1.0]
)
"""Plain units of ``CHANNEL_FEATURES``."""
_WHOLE: Final = np.array(
    [
        not name.endswith("max_htlc") and name not in ("days_since_change", "fee_earned", "fee_sourced")
        for name in CHANNEL_FEATURES
    ]
)
"""Which of them are whole numbers."""
_NODE_UNITS: Final = np.array([_MILLION, _TEN, 1.0, _TEN])


class Plan:
    """What to set, rebalance, swap, close and open in each of n networks; at first nothing.

    Args:
        networks: How many networks.
        limits: What bounds it.
    """

    def __init__(self, networks: int, limits: Limits) -> None:
        shape = networks, limits.channels
        self.fee_rate_ppm: Int64 = np.full(shape, KEEP, np.int64)
        self.fee_base_msat: Int64 = np.full(shape, KEEP, np.int64)
        self.inbound_fee_rate_ppm: Int64 = np.full(shape, KEEP_INBOUND, np.int64)
        self.max_htlc_sat: Int64 = np.full(shape, KEEP, np.int64)
        self.rebalance: Int64 = np.tile(np.array([-1, 0, 0, 0]), (networks, limits.rebalances, 1))
        self.swap: Int64 = np.tile(np.array([-1, 0]), (networks, limits.swaps, 1))
        self.close: Int64 = np.full((networks, limits.closes), -1, np.int64)
        self.open: Int64 = np.full((networks, limits.opens), -1, np.int64)

    def actions(self, task: OperatorTask) -> list[dict[str, Int64]]:
        """Return the plan as actions of the kind ``dict``, one for each network, within their bounds."""
        assert isinstance(task.actions.space, gym.spaces.Dict)
        parts = {}
        for name, space in task.actions.space.items():
            assert isinstance(space, gym.spaces.Box)
            part = getattr(self, name)
            if name in task.actions.of_channels:
                kept = KEEP_INBOUND if name == "inbound_fee_rate_ppm" else KEEP
                part = np.pad(part, ((0, 0), (0, len(space.low) - part.shape[1])), constant_values=kept)
            parts[name] = np.clip(part, space.low, space.high).astype(np.int64)
        return [{name: part[network] for name, part in parts.items()} for network in range(len(self.fee_rate_ppm))]


class Surroundings(Protocol):
    """What a rule may ask of the networks that it acts on, besides what it sees."""

    @property
    def same_peer(self) -> Bool:
        """Which own channels lead to the same peer, shape (n, channels, channels)."""

    def peers_pay_ppm(self, quantile: float) -> Float64:
        """Return a quantile of the fee rates at which others send to each peer, in ppm, NaN where none does.

        As the graph has them when the episode begins; shape (n, channels).
        """


class Refills(NamedTuple):
    """What became of the rebalances of the last step, by the channel that they were to refill, shape (n, channels)."""

    asked: Bool
    amount_sat: Float64
    """What came back over the channel; 0 where the rebalance failed."""
    cost_ppm: Float64
    """Its price; 0 where the rebalance failed."""


def as_operator(task: Task, who: str) -> OperatorTask:
    """Return a task that is the operator's, on behalf of what knows no other.

    Raises:
        ConfigError: It is another one, or its actions are no dict of plain numbers.
    """
    if not isinstance(task, OperatorTask):
        raise ConfigError(
            f"{who} needs an environment with task 'operator', such as LightningOperator-v0, got task {task.name!r}"
        )
    if not isinstance(task.actions, DictActions):
        raise ConfigError(f"{who} needs action 'dict', got {task.config.action!r}: set action=dict")
    return task


class OperatorRule(Agent):
    """Runs one node of each network by a fixed idea.

    A rule looks at its channels once in a step; a program that looks more often than that does so here too.

    Args:
        problem: The problem of the environment it acts on; its task must be the operator's.

    Raises:
        ConfigError: The environment has another task, another kind of action, or lacks a lever that the rule needs.
    """

    TASKS: ClassVar[tuple[str, ...]] = ("operator",)
    VIEW: ClassVar[Mapping[str, Any]] = {"observation": "dict", "action": "dict"}
    NEEDS: ClassVar[Lever] = "fees"
    """Lever without which the rule makes no sense."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        who = type(self).__name__
        task = as_operator(problem.task, who)
        if self.NEEDS not in task.config.levers:
            raise ConfigError(f"{who} needs the lever {self.NEEDS!r}, got levers {list(task.config.levers)}: add it")
        self.task = task
        self.hours: float = task.config.step_hours
        """Simulated time of a step."""
        self.graphs = VariantGraphs(problem, who)
        """The graphs of the problem, as each network has them."""
        self.around: Surroundings = self.graphs
        """Where the rule acts."""
        self._state: dict[str, Float64] = {}
        self._sent: Int64 | None = None
        self._begins: Bool = np.zeros(0, np.bool_)
        self._steps: Int64 = np.zeros(0, np.int64)

    @abstractmethod
    def decide(self, seen: Seen, plan: Plan, rng: np.random.Generator) -> None:
        """Fill in a plan.

        Args:
            seen: What is known.
            plan: The plan, in which nothing is done.
            rng: Source of any randomness.
        """

    def act(self, observation: Any, info: Mapping[str, Any], rng: np.random.Generator) -> list[dict[str, Int64]]:
        """See ``Agent.act``."""
        seen = self.seen(observation)
        self.graphs.choose(info)
        steps = np.asarray(info["step"]).astype(np.int64)
        return self.plan(seen, steps, self.graphs, rng).actions(self.task)

    def plan(self, seen: Seen, steps: Int64, around: Surroundings, rng: np.random.Generator) -> Plan:
        """Look at networks, and say what to do.

        Args:
            seen: What is known of them.
            steps: Steps since their episodes began, shape (n,).
            around: What else there is to ask of them.
            rng: Source of any randomness.
        """
        self._steps, self._begins, self.around = steps, steps == 0, around
        plan = Plan(len(steps), self.task.actions.limits)
        self.decide(seen, plan, rng)
        self._sent = plan.rebalance
        return plan

    def seen(self, observation: Any) -> Seen:
        """Read observations of either kind."""
        plain = without_mask(observation)
        if isinstance(plain, dict):
            return Seen.of(plain["channels"][:, : len(self.task.out)], plain["node"])
        scheme = self.task.observations
        return Seen.of(scheme.by_channel(plain), scheme.of_node(plain))

    def kept(self, name: str, initial: Float64) -> Float64:
        """Return what the rule keeps between steps under a name, to be changed in place.

        Args:
            name: Its name; to be asked for once in each step.
            initial: What it is where an episode begins, with a first axis of networks.
        """
        state = self._state.get(name)
        if state is None or state.shape != initial.shape:
            state = self._state[name] = np.array(initial, np.float64)
        state[self._begins] = initial[self._begins]
        return state

    def recent(self, name: str, values: Float64, days: float) -> Float64:
        """Return the sum of values over the last days, those of this step included, shape (n, channels)."""
        steps = max(1, round(DAY_H * days / self.hours))
        ring = self.kept(name, np.zeros((*values.shape, steps)))
        ring[np.arange(len(values)), :, self._steps % steps] = values
        total: Float64 = ring.sum(axis=2)
        return total

    def note(self, name: str, values: Float64) -> None:
        """Put values that are known only later in the place of those that ``recent`` was given in this step."""
        ring = self._state[name]
        ring[np.arange(len(values)), :, self._steps % ring.shape[2]] = values

    def due(self, every_hours: float) -> Bool:
        """Return whether something that is done every so many hours is due, shape (n, 1); not before the first time."""
        if every_hours <= self.hours:
            return np.ones((len(self._steps), 1), np.bool_)
        now = self._steps[:, None] * self.hours
        return (now // every_hours > (now - self.hours) // every_hours) & (now > 0)

    def older_than(self, days: float) -> Bool:
        """Return whether an episode has lasted so many days, shape (n, 1)."""
        old: Bool = self._steps[:, None] * self.hours >= DAY_H * days
        return old

    def refills(self, seen: Seen) -> Refills:
        """Work out what became of the rebalances of the last step: balances moved by more than what was forwarded."""
        before_sat = self.kept("local_sat", seen.local_sat)
        moved_sat = seen.local_sat - before_sat - seen.forwarded_in_sat + seen.forwarded_out_sat
        before_sat[:] = seen.local_sat
        found = Refills(np.zeros(moved_sat.shape, np.bool_), np.zeros(moved_sat.shape), np.zeros(moved_sat.shape))
        if self._sent is None or len(self._sent) != len(moved_sat):
            return found
        for network, slot in zip(*np.nonzero((self._sent[:, :, 0] >= 0) & ~self._begins[:, None]), strict=True):
            leave, back = self._sent[network, slot, :2]
            found.asked[network, back] = True
            came_sat = moved_sat[network, back]
            if came_sat >= LEAST_SAT / 2:
                found.amount_sat[network, back] = came_sat
                paid_sat = max(-moved_sat[network, leave] - came_sat, 0)
                found.cost_ppm[network, back] = 1e6 * paid_sat / came_sat
        return found

    def announce(
        self,
        seen: Seen,
        plan: Plan,
        fee_rate_ppm: Float64,
        where: Bool | bool = True,
        least_ppm: float = 1,
        least_hours: float = 0,
    ) -> Bool:
        """Plan fee rates where they change by enough, and the last change is old enough.

        Returns:
            Where they are planned, shape (n, channels).
        """
        whole_ppm = np.clip(np.trunc(fee_rate_ppm), 0, self.task.actions.limits.max_fee_rate_ppm)
        changes = (np.abs(whole_ppm - seen.fee_rate_ppm) >= least_ppm) & where
        changes = changes & (DAY_H * seen.days_since_change >= least_hours)
        plan.fee_rate_ppm[changes] = whole_ppm[changes].astype(np.int64)
        return changes

    def rebalance(self, seen: Seen, plan: Plan, urgency: Float64, amount_sat: Float64, limit_ppm: Float64) -> None:
        """Plan the most urgent rebalances, none two of which share a channel.

        Args:
            seen: What is known.
            plan: The plan.
            urgency: How urgent each is, ``NEVER`` where it is not wished for, shape (n, channels to leave, channels to
                come back by).
            amount_sat: Amounts, of a shape that broadcasts to that.
            limit_ppm: Fee limits, likewise.
        """
        up = seen.active > 0
        carried_sat = np.minimum(seen.spendable_sat[:, :, None], seen.receivable_sat[:, None, :])
        amount_sat = np.minimum(np.broadcast_to(amount_sat, urgency.shape), carried_sat)
        limit_ppm = np.broadcast_to(limit_ppm, urgency.shape)
        possible = (amount_sat >= LEAST_SAT) & (limit_ppm >= 1) & up[:, :, None] & up[:, None, :]
        left = np.where(possible & ~self.same_peer, urgency, NEVER)
        networks = np.arange(len(urgency))
        for slot in range(plan.rebalance.shape[1]):
            leave, back = np.unravel_index(left.reshape(len(left), -1).argmax(axis=1), urgency.shape[1:])
            some = left[networks, leave, back] > NEVER
            amount, limit = amount_sat[networks, leave, back], limit_ppm[networks, leave, back]
            chosen = np.stack([leave, back, np.rint(amount), np.trunc(limit)], axis=1).astype(np.int64)
            plan.rebalance[some, slot] = chosen[some]
            for channel in (leave, back):
                left[networks, channel, :] = NEVER
                left[networks, :, channel] = NEVER

    def swap(self, seen: Seen, plan: Plan, urgency: Float64, amount_sat: Float64) -> None:
        """Plan the most urgent swaps.

        Args:
            seen: What is known.
            plan: The plan.
            urgency: How urgent each is, ``NEVER`` where it is not wished for, shape (n, channels).
            amount_sat: Amounts, negative for swaps in, likewise.
        """
        terms = self.swap_terms
        room_sat = np.where(
            amount_sat > 0, seen.spendable_sat * 0.99, np.minimum(seen.receivable_sat, 0.95 * seen.wallet_sat)
        )
        amount_sat = np.sign(amount_sat) * np.minimum(np.minimum(np.abs(amount_sat), room_sat), terms.max_sat)
        possible = (np.abs(amount_sat) >= terms.min_sat) & (seen.active > 0)
        left = np.where(possible, urgency, NEVER)
        networks = np.arange(len(urgency))
        for slot in range(plan.swap.shape[1]):
            channel = left.argmax(axis=1)
            some = left[networks, channel] > NEVER
            chosen = np.stack([channel, np.rint(amount_sat[networks, channel])], axis=1).astype(np.int64)
            plan.swap[some, slot] = chosen[some]
            left[networks, channel] = NEVER

    @cached_property
    def swap_terms(self) -> SwapOptions:
        """What swaps cost."""
        return swap_terms(self.task.config.swap)

    @property
    def same_peer(self) -> Bool:
        """See ``Surroundings.same_peer``."""
        return self.around.same_peer

    def by_peer(self, values: Float64) -> Float64:
        """Return the sums of values over the channels to the same peer, shape (n, channels)."""
        total: Float64 = np.einsum("nij,nj->ni", self.same_peer.astype(np.float64), values)
        return total

    def local_of_peer(self, seen: Seen) -> Float64:
        """Return the own share of the balances of all channels to the same peer, shape (n, channels)."""
        local_sat = self.by_peer(seen.local_sat)
        return local_sat / np.maximum(local_sat + self.by_peer(seen.remote_sat), 1)

    def peers_pay_ppm(self, quantile: float) -> Float64:
        """See ``Surroundings.peers_pay_ppm``."""
        return self.around.peers_pay_ppm(quantile)


class VariantGraphs:
    """The graphs of the variants of a problem: the ``Surroundings`` of the environment itself.

    Args:
        problem: The problem; its task must be the operator's.
        who: Who asks, for errors.
    """

    def __init__(self, problem: Problem, who: str) -> None:
        self._problem, self._who = problem, who
        self._pay_ppm: dict[float, Float64] = {}
        self.variant: Int64 = np.zeros(0, np.int64)
        """The variant that each network is on, shape (n,)."""

    def choose(self, info: Mapping[str, Any]) -> None:
        """Note which variants networks are on, given their infos."""
        self.variant = self._variants(info)

    @cached_property
    def tasks(self) -> list[OperatorTask]:
        """The tasks of all variants."""
        return [as_operator(variant.task, self._who) for variant in self._problem.variants]

    @property
    def same_peer(self) -> Bool:
        """See ``Surroundings.same_peer``."""
        same: Bool = self._same_peer[self.variant]
        return same

    @cached_property
    def _same_peer(self) -> Bool:
        """For each variant which own channels lead to the same peer."""
        peers = np.stack([task.topology.arrays.destination[task.out] for task in self.tasks])
        same: Bool = peers[:, :, None] == peers[:, None, :]
        return same

    def peers_pay_ppm(self, quantile: float) -> Float64:
        """See ``Surroundings.peers_pay_ppm``."""
        if quantile not in self._pay_ppm:
            self._pay_ppm[quantile] = np.stack([_peers_pay_ppm(task, quantile) for task in self.tasks])
        return self._pay_ppm[quantile][self.variant]

    def _variants(self, info: Mapping[str, Any]) -> Int64:
        """Return the variant of the problem that each network is on, shape (n,)."""
        count = len(self._problem.variants)
        if count == 1:
            return np.zeros(len(np.asarray(info["step"])), np.int64)
        episodes = zip(np.asarray(info["seed"]).tolist(), np.asarray(info["episode_number"]).tolist(), strict=True)
        drawn = [
            stream_start(np.uint64(seed % 2**64), np.int64(episode), np.int64(0), PURPOSE_VARIANT) % count
            for seed, episode in episodes
        ]
        return np.array(drawn, np.int64)


def _peers_pay_ppm(task: OperatorTask, quantile: float) -> Float64:
    """Return a quantile of the fee rates of others' channels to each peer, shape (channels,)."""
    arrays = task.topology.arrays
    others = (arrays.source != task.own) & (arrays.disabled == 0)
    peers = arrays.destination[task.out].tolist()
    return quantiles_of((arrays.fee_rate_ppm[others & (arrays.destination == peer)] for peer in peers), quantile)


def quantiles_of(rates_ppm: Iterable[Int64], quantile: float) -> Float64:
    """Return a quantile of the fee rates to each peer, NaN where there is none, shape (channels,)."""
    return np.array([np.quantile(rates, quantile) if len(rates) else np.nan for rates in rates_ppm], np.float64)
