"""The arrays of a batch of simulated episodes, laid out for one compiled loop, and how they are made."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64, Int64
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
)
from lnsim_gym.compiled import inlined
from lnsim_gym.compiled.memory import copied, filled, zeros
from lnsim_gym.episodes.columns import StepColumns
from lnsim_gym.episodes.config import StartBalances
from lnsim_gym.episodes.problem import Problem
from lnsim_gym.traffic.kernels import TrafficProgram

__all__ = ["Columns", "EpisodeState", "Terms", "make_state", "program_at", "with_scratch"]


class Terms(NamedTuple):
    """What a problem says of its networks, one entry or row per variant."""

    route: npt.NDArray[np.int32]  # (variants, rows, longest) directions of each rebalance route, padded with -1
    route_hops: Int64  # (variants, rows)
    route_unit_msat: Int64  # (variants, rows) capacity of the smallest channel on it
    first_direction: Int64  # (variants, options)
    needed_msat: Int64  # (variants, options)
    per_capacity: Float64  # (variants, directions)
    owned_total_msat: Int64  # (variants, channels)
    reserve_msat: Int64  # (variants, channels)
    start_msat: Int64  # (variants, directions) start balances unless they are drawn
    start_low: Float64  # (variants,) smallest share of the initiator, or -1 when start balances are not drawn
    start_high: Float64  # (variants,)
    fee_base_msat: Int64  # (variants, directions)
    fee_rate_ppm: Int64  # (variants, directions)
    fee_limit_ppm: Int64  # (variants,) most a rebalance may pay in fees


class Columns(NamedTuple):
    """The arrays of ``StepColumns`` and of the runner, one row per network; see there."""

    which: npt.NDArray[np.bool_]  # (networks,) the networks that the next call is for
    row: Int64  # (networks,)
    rebalance_msat: Int64  # (networks,)
    seeds: npt.NDArray[np.uint64]  # (networks,)
    episodes: Int64  # (networks,)
    steps: Int64  # (networks,)
    variant: Int64  # (networks,) variant of the problem each network is on
    given_msat: Int64  # (networks, directions) start balances of the next reset; -1 to use those of the problem
    regime: Int64  # (networks,) demand regime whose weights are drawn, or -1
    cumulative: Float64  # (networks, 2, nodes) those weights
    spendable_msat: Int64  # (networks, directions)
    rebalanced_msat: Int64  # (networks, directions) balances after the last step's rebalance, before its payments
    stepped_variant: Int64  # (networks,) variant that the last step was made on
    balances_msat: Int64  # (networks, directions)
    observation: npt.NDArray[np.float32]  # (networks, size)
    allowed: npt.NDArray[np.int8]  # (networks, 1 + options)
    terms: Float64  # (networks, terms)
    reward: Float64  # (networks,)
    source: Int64  # (networks, payments)
    destination: Int64  # (networks, payments)
    amount_msat: Int64  # (networks, payments)
    description: Int64  # (networks, payments)
    succeeded: npt.NDArray[np.bool_]  # (networks, payments)
    failure_reason: npt.NDArray[np.int32]  # (networks, payments)
    attempts: npt.NDArray[np.int32]  # (networks, payments)
    fee_msat: Int64  # (networks, payments)
    parts: npt.NDArray[np.int32]  # (networks, payments)
    part_amount_msat: Int64  # (networks, payments, max_parts)
    part_route: npt.NDArray[np.int32]  # (networks, payments, max_parts, hops)
    counts: Int64  # (networks, counts)


class EpisodeState(NamedTuple):
    """Everything one thread needs to step its share of the networks."""

    networks: Network  # stacked over variants
    programs: TrafficProgram  # stacked over variants
    problem: Terms
    memories: Memory  # stacked over networks
    scratch: Scratch
    settings: Settings
    columns: Columns
    weights: Float64  # (terms,) reward weights
    nodes: int
    history: int
    averaging: npt.NDArray[np.float32]  # (averages,) see ``observe_flows``


def make_state(problem: Problem, columns: StepColumns, places: tuple[Any, Int64, Int64, Int64]) -> EpisodeState:
    """Lay out the state of a batch of episodes around the runner's own arrays.

    Args:
        problem: What is to be done.
        columns: Columns of the runner, which the state shares.
        places: The runner's seeds, episode numbers, steps and variants, shared too, each of shape (networks,).
    """
    seeds, episodes, steps, variant_of = places
    variants = problem.variants
    networks = stack([compile_network(variant.topology) for variant in variants])
    count, directions = len(seeds), problem.layout.directions
    shared = {name: getattr(columns, name) for name in Columns._fields if hasattr(columns, name)}
    shared["balances_msat"] = columns.balances_msat.reshape(count, directions)
    return EpisodeState(
        networks=networks,
        programs=_stack_programs([variant.traffic for variant in variants]),
        problem=_terms(problem),
        memories=make_memory(networks, problem.config.payment, count),
        scratch=make_scratch(networks),
        settings=_settings(problem),
        columns=Columns(
            which=zeros(count, np.bool_),
            row=zeros(count, np.int64),
            rebalance_msat=zeros(count, np.int64),
            seeds=seeds,
            episodes=episodes,
            steps=steps,
            variant=variant_of,
            given_msat=filled((count, directions), -1, np.int64),
            regime=filled(count, -1, np.int64),
            cumulative=zeros((count, 2, problem.layout.nodes), np.float64),
            spendable_msat=zeros((count, directions), np.int64),
            rebalanced_msat=zeros((count, directions), np.int64),
            stepped_variant=zeros(count, np.int64),
            **shared,
        ),
        weights=copied(problem.weights),
        nodes=problem.layout.nodes,
        history=problem.layout.history,
        averaging=copied(problem.layout.averaging),
    )


def with_scratch(state: EpisodeState) -> EpisodeState:
    """Return the same state with working space of its own, for one more thread."""
    return state._replace(scratch=make_scratch(state.networks))


def _settings(problem: Problem) -> Settings:
    """Return how payments are sent: unroutable ones without attempts, unless something depends on these.

    Senders that remember learn from every attempt. And a short time-out may be over before a sender is out of
    routes. Each attempt that fails takes away a channel end that holds too little, and few channels have two of
    those: time for half as many attempts again as there are channels is taken to be enough. (It need not be where
    dozens of routes, each cheaper than the one before, lead on from the same channel end; there a payment that would
    have run out of time counts as one without a route.)
    """
    options = problem.config.payment
    settings = make_settings(options)
    enough = 1.5 * len(problem.topology.channels)
    if options.mission_control == "per_payment" and settings.max_attempts >= enough:
        return settings._replace(counts_attempts=0)
    return settings


def _terms(problem: Problem) -> Terms:
    """Stack what the variants of a problem say."""
    variants = problem.variants
    arrays = [variant.topology.arrays for variant in variants]
    start = problem.config.start_balances
    low, high = (start.low, start.high) if isinstance(start, StartBalances) else (-1.0, -1.0)

    def column(*values: Any, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
        return copied(np.stack([np.asarray(value, dtype) for value in values]))

    return Terms(
        route=column(*(variant.routes.directions for variant in variants), dtype=np.int32),
        route_hops=column(*(variant.routes.hops for variant in variants)),
        route_unit_msat=column(*(1000 * variant.routes.smallest_capacity_sat for variant in variants)),
        first_direction=column(*(variant.first_direction for variant in variants)),
        needed_msat=column(*(variant.needed_msat for variant in variants)),
        per_capacity=column(*(variant.per_capacity for variant in variants), dtype=np.float64),
        owned_total_msat=column(*(variant.topology.owned_total_msat for variant in variants)),
        reserve_msat=column(*(columns.reserve_msat for columns in arrays)),
        start_msat=column(*(variant.topology.start_balances_msat().ravel() for variant in variants)),
        start_low=filled(len(variants), low, np.float64),
        start_high=filled(len(variants), high, np.float64),
        fee_base_msat=column(*(columns.fee_base_msat for columns in arrays)),
        fee_rate_ppm=column(*(columns.fee_rate_ppm for columns in arrays)),
        fee_limit_ppm=filled(len(variants), problem.config.rebalance_fee_limit_ppm, np.int64),
    )


def _stack_programs(programs: list[TrafficProgram]) -> TrafficProgram:
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
