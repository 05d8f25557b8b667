"""The arrays that the compiled loop works on, whatever the task, and how they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Bool, Float32, Float64, Int8, Int32, Int64, Records, UInt8, UInt64
from lnsim_gym.backends.simulator.engine import (
    Memory,
    Network,
    Scratch,
    Settings,
    compile_network,
    make_memory,
    make_scratch,
    make_settings,
    stack,
    with_own_policies,
)
from lnsim_gym.compiled import inlined
from lnsim_gym.compiled.memory import copied, filled, zeros
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.tasks.columns import StepColumns
from lnsim_gym.tasks.config import EnvironmentConfig, StartBalances
from lnsim_gym.traffic.kernels import TrafficProgram

__all__ = [
    "Columns",
    "LoopState",
    "Places",
    "Starts",
    "Variants",
    "make_state",
    "make_variants",
    "program_at",
    "with_scratch",
]


ENOUGH_MS: Final = 30_000
"""Time after which an unroutable payment is taken to be out of routes, in a network of any size."""
ENOUGH_MS_BY_CHANNEL: Final = 75
"""The same in a small network, for each of its channels."""


class Places(NamedTuple):
    """Where each network stands; the arrays belong to the runner."""

    seeds: UInt64  # (networks,)
    episodes: Int64  # (networks,)
    steps: Int64  # (networks,) steps done in the episode
    variant: Int64  # (networks,) variant of the problem each network is on

    @classmethod
    def zeros(cls, networks: int) -> Places:
        """Return the places of networks that have not begun."""
        return cls(zeros(networks, np.uint64), *(zeros(networks, np.int64) for _ in range(3)))


class Starts(NamedTuple):
    """How each variant begins an episode."""

    given_msat: Int64  # (variants, channels) start balance of the initiator where the topology gives one, else -1
    owned_total_msat: Int64  # (variants, channels)
    reserve_msat: Int64  # (variants, channels)
    balances_msat: Int64  # (variants, directions) start balances unless they are drawn
    low: Float64  # (variants,) smallest share of the initiator, or -1 when start balances are not drawn
    high: Float64  # (variants,)
    skew: Float64  # (variants,) see ``traffic.kernels.draw_balance_msat``
    policy: Records  # (variants, directions) POLICY
    inbound: Records  # (variants, directions) INBOUND; (variants, 0) without links
    disabled: UInt8  # (variants, directions); (variants, 0) without links


class Variants(NamedTuple):
    """What the variants of a problem are, stacked; never written to, so that copies of episodes share it."""

    networks: Network
    programs: TrafficProgram
    starts: Starts


class Columns(NamedTuple):
    """The arrays of ``StepColumns`` and of the runner, one row per network; see there."""

    which: Bool  # (networks,) the networks that the next call is for
    seeds: UInt64  # (networks,)
    episodes: Int64  # (networks,)
    steps: Int64  # (networks,)
    variant: Int64  # (networks,)
    stepped_variant: Int64  # (networks,) variant that the last step was made on
    policies: Int64  # (networks,) row of ``LoopState.networks.policy`` that holds the network's policies
    given_msat: Int64  # (networks, directions) start balances of the next reset; -1 to use those of the variant
    regime: Int64  # (networks,) demand regime whose weights are drawn, or -1
    cumulative: Float64  # (networks, 2, nodes) those weights
    now_ms: Int64  # (networks,) simulated time at which the next step begins, since the episode began
    time_ms: Int64  # (networks, payments) simulated time of each payment of the step
    fee_limit_ppm: (
        Int64  # (networks, payments) most fees of each in ppm, if the task draws payments; else (networks, 0)
    )
    spendable_msat: Int64  # (networks, directions)
    served_from_msat: Int64  # (networks, directions) balances before the last step's payments
    served_draws: UInt64  # (networks,) ``Memory.draws`` before them
    decision: Int64  # (networks, numbers)
    balances_msat: Int64  # (networks, directions)
    observation: Float32  # (networks, size)
    allowed: Int8  # (networks, options)
    terms: Float64  # (networks, terms)
    reward: Float64  # (networks,)
    due: Int64  # (networks,)
    source: Int64  # (networks, payments)
    destination: Int64  # (networks, payments)
    amount_msat: Int64  # (networks, payments)
    description: Int64  # (networks, payments)
    succeeded: Bool  # (networks, payments)
    failure_reason: Int32  # (networks, payments)
    attempts: Int32  # (networks, payments)
    fee_msat: Int64  # (networks, payments)
    parts: Int32  # (networks, payments)
    part_amount_msat: Int64  # (networks, payments, max_parts)
    part_route: Int32  # (networks, payments, max_parts, hops)
    part_hop_msat: Int64  # (networks, payments, max_parts, hops); (networks, payments, max_parts, 0) without links
    counts: Int64  # (networks, counts)
    earned_msat: Int64  # (networks, nodes or 0)
    forwards: Int64  # (networks, channels of the watched node or 0, FORWARD_COUNTS)
    watched: Int64  # (networks,) the watched node
    kept: Int64  # (networks, numbers)


class LoopState(NamedTuple):
    """Everything one thread needs to step its share of the networks."""

    networks: Network  # stacked over variants; ``policy`` over networks instead where the task changes policies
    programs: TrafficProgram  # stacked over variants
    starts: Starts
    memories: Memory  # stacked over networks
    scratch: Scratch
    settings: Settings
    own_policies: int  # 1 where each network has policies of its own, else 0
    columns: Columns


def make_variants(
    config: EnvironmentConfig, topologies: Sequence[Topology], programs: Sequence[TrafficProgram], *, linked: bool
) -> Variants:
    """Lay out what the variants of a problem are.

    Args:
        config: Settings of the environment.
        topologies: The network in each variant.
        programs: The traffic in each variant.
        linked: Whether the networks have links (see ``backends.simulator.layout``).
    """
    gossip = config.gossip_options if linked else None
    networks = stack([compile_network(topology, linked=linked, gossip=gossip) for topology in topologies])
    starts = _starts(topologies, config.start_balances, networks)
    return Variants(networks, _stack_programs(programs), starts)


def make_state(
    config: EnvironmentConfig,
    variants: Variants,
    columns: StepColumns,
    places: Places,
    *,
    own_policies: bool,
    draws_payments: bool,
) -> LoopState:
    """Lay out the state of a batch of episodes around the runner's own arrays.

    Args:
        config: Settings of the environment.
        variants: What the episodes are drawn from; shared.
        columns: Columns of the runner, which the state shares.
        places: The runner's places, shared too.
        own_policies: Whether each network gets policies of its own, which may change within an episode.
        draws_payments: Whether the task draws the payments itself, with fee limits of their own.
    """
    networks = variants.networks
    count, channels = len(places.seeds), variants.starts.owned_total_msat.shape[1]
    directions, nodes = 2 * channels, networks.hops.shape[2]
    if own_policies:
        networks = with_own_policies(networks, count)
    shared = {name: getattr(columns, name) for name in Columns._fields if hasattr(columns, name)}
    shared["balances_msat"] = columns.balances_msat.reshape(count, directions)
    return LoopState(
        networks=networks,
        programs=variants.programs,
        starts=variants.starts,
        memories=make_memory(networks, config.payment, count),
        scratch=make_scratch(networks, config.payment),
        settings=_settings(config.payment, channels, watches=columns.forwards.shape[1] > 0),
        own_policies=int(own_policies),
        columns=Columns(
            which=zeros(count, np.bool_),
            **places._asdict(),
            stepped_variant=zeros(count, np.int64),
            policies=zeros(count, np.int64),
            given_msat=filled((count, directions), -1, np.int64),
            regime=filled(count, -1, np.int64),
            cumulative=zeros((count, 2, nodes), np.float64),
            now_ms=zeros(count, np.int64),
            time_ms=zeros((count, columns.source.shape[1]), np.int64),
            fee_limit_ppm=zeros((count, columns.source.shape[1] if draws_payments else 0), np.int64),
            spendable_msat=zeros((count, directions), np.int64),
            served_from_msat=zeros((count, directions), np.int64),
            served_draws=zeros(count, np.uint64),
            watched=zeros(count, np.int64),
            **shared,
        ),
    )


def with_scratch(state: LoopState, options: PaymentOptions) -> LoopState:
    """Return the same state with working space of its own, for one more thread."""
    return state._replace(scratch=make_scratch(state.networks, options))


def _settings(options: PaymentOptions, channels: int, *, watches: bool) -> Settings:
    """Return how payments are sent: unroutable ones without attempts, unless something depends on these.

    Senders that remember learn from every attempt. And a short time-out may be over before a sender is out of
    routes. Each attempt that fails takes away a channel end that holds too little, and few channels have two of
    those: ``ENOUGH_MS_BY_CHANNEL`` is taken to be enough, and so is ``ENOUGH_MS`` in large networks, where what keeps
    a payment from its receiver lies near one of the two. (It need not be where dozens of routes, each cheaper than
    the one before, lead on from the same channel end; there a payment that would have run out of time counts as one
    without a route.) A watched node sees every attempt.
    """
    settings = make_settings(options)
    enough_ms = min(ENOUGH_MS_BY_CHANNEL * channels, ENOUGH_MS)
    if not watches and options.mission_control == "per_payment" and settings.timeout_ms >= enough_ms:
        return settings._replace(counts_attempts=0)
    return settings


def _starts(topologies: Sequence[Topology], start: StartBalances | str, networks: Network) -> Starts:
    """Stack how episodes begin on each topology."""
    low, high, skew = (start.low, start.high, start.skew) if isinstance(start, StartBalances) else (-1.0, -1.0, 1.0)

    def column(*values: npt.NDArray[Any]) -> Int64:
        return copied(np.stack(values), np.int64)

    return Starts(
        given_msat=column(*(topology.given_initiator_msat for topology in topologies)),
        owned_total_msat=column(*(topology.owned_total_msat for topology in topologies)),
        reserve_msat=column(*(topology.arrays.reserve_msat for topology in topologies)),
        balances_msat=column(*(topology.start_balances_msat().ravel() for topology in topologies)),
        low=filled(len(topologies), low, np.float64),
        high=filled(len(topologies), high, np.float64),
        skew=filled(len(topologies), skew, np.float64),
        policy=networks.policy,
        inbound=networks.links.inbound,
        disabled=networks.links.disabled,
    )


def _stack_programs(programs: Sequence[TrafficProgram]) -> TrafficProgram:
    """Stack traffic programs, their numbers as arrays."""
    return TrafficProgram(*(copied(np.stack(field)) for field in zip(*programs, strict=True)))  # type: ignore[arg-type]


@inlined
def program_at(programs: Any, variant: Any) -> Any:
    """Return the traffic program of one variant, without copying."""
    return TrafficProgram(
        programs.kind[variant],
        programs.nodes[variant],
        programs.amount_table[variant],
        programs.normal_table[variant],
        programs.max_amount_sat[variant],
        programs.weight_spread[variant],
        programs.redraw_every_steps[variant],
        programs.direct_share[variant],
        programs.multi_hop_share[variant],
        programs.first_neighbour[variant],
        programs.neighbours[variant],
        programs.node_capacity_sat[variant],
        programs.expected_payment_sat[variant],
        programs.fixed_log_sd[variant],
        programs.payment_ms[variant],
    )
