"""What others do that no payment says: their channels get fresh balances, competitors change fees and go offline.

A pure function of (seed, episode, span of time), so that it is the same whatever the own node does. See
``config.OthersOptions`` for what it stands for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lnsim_gym.arrays import Float64, Int64, UInt8
from lnsim_gym.compiled import fused, kernel, outlined
from lnsim_gym.compiled.elementary import compiled_exp, exp
from lnsim_gym.network import Topology
from lnsim_gym.tasks.operator.config import OperatorConfig
from lnsim_gym.traffic.flows import DAY_MS
from lnsim_gym.traffic.kernels import TABLE_CELLS, draw_balance_msat, quantile
from lnsim_gym.traffic.normal import normal_table
from lnsim_gym.traffic.random import PURPOSE_OTHERS, advance, fork, stream, uniform

__all__ = ["Others", "competitors_at", "fresh_balance_msat", "others_of", "restored", "set_competitors"]

_FEES = np.int64(-1)
_OFFLINE = np.int64(-2)
"""Stand for the time in the streams of what competitors do, as spans are numbered from 0."""


class Others(NamedTuple):
    """What others do, on one network."""

    foreign: UInt8  # (channels,) 1 where the own node has no part in it
    owned_total_msat: Int64  # (channels,)
    reserve_msat: Int64  # (channels,)
    competitor: Int64  # (competitors,) node indices
    normal_table: Float64  # (TABLE_CELLS + 1,)
    restore_chance: float
    """Chance of a foreign channel to get a fresh balance in a step."""
    low: float
    high: float
    skew: float
    """The law of fresh balances; see ``draw_balance_msat``."""
    fee_spell_ms: int
    fee_log_sd: float
    offline_share: float


def others_of(config: OperatorConfig, topology: Topology, own: int, law: tuple[float, float, float]) -> Others:
    """Work out what others do around a node.

    Args:
        config: Settings.
        topology: The network.
        own: The own node.
        law: ``low``, ``high`` and ``skew`` of fresh balances.
    """
    arrays, options = topology.arrays, config.others
    own_ends = (arrays.source == own) | (arrays.destination == own)
    peers = np.unique(arrays.destination[arrays.source == own])
    near = np.union1d(peers, arrays.destination[np.isin(arrays.source, peers)])
    near = near[near != own]
    capacity_sat = topology.node_capacity_sat
    competitor = near[np.argsort(-capacity_sat[near], kind="stable")][: options.competitors]
    step_days = config.step_ms / DAY_MS
    return Others(
        foreign=(~own_ends[::2]).astype(np.uint8),
        owned_total_msat=topology.owned_total_msat,
        reserve_msat=arrays.reserve_msat,
        competitor=np.concatenate([competitor, np.full(options.competitors - len(competitor), -1)]).astype(np.int64),
        normal_table=normal_table(TABLE_CELLS).copy(),
        restore_chance=float(1 - exp(-step_days / options.restore_days)) if options.restore_days else 0.0,
        low=law[0],
        high=law[1],
        skew=law[2],
        fee_spell_ms=max(1, round(DAY_MS * options.fee_change_days)),
        fee_log_sd=float(options.fee_change_log_sd),
        offline_share=float(options.offline_share),
    )


@fused
def fresh_balance_msat(others: Any, seed: Any, episode: Any, span: Any, channel: Any) -> Any:
    """Return what the initiator of a foreign channel has from a span on, in msat, or -1 where nothing moves it."""
    state = fork(stream(seed, episode, span, PURPOSE_OTHERS), channel)
    if others.foreign[channel] == 0 or uniform(state) >= others.restore_chance:
        return np.int64(-1)
    owned, reserve = others.owned_total_msat[channel], others.reserve_msat[channel]
    return draw_balance_msat(owned, reserve, others.low, others.high, others.skew, uniform(advance(state)))


@fused
def spell_of(seed: Any, episode: Any, node: Any, spell_ms: Any, clock_ms: Any) -> Any:
    """Return the number of the spell in which a node keeps its fees; its spells begin at times of their own."""
    start = fork(stream(seed, episode, _FEES, PURPOSE_OTHERS), node)
    return (clock_ms + np.int64(uniform(start) * spell_ms)) // spell_ms


@fused
def fee_factor(others: Any, seed: Any, episode: Any, node: Any, spell: Any) -> Any:
    """Return by what a node multiplies its usual fee rates in a spell."""
    start = fork(stream(seed, episode, _FEES, PURPOSE_OTHERS), node)
    unit = uniform(fork(start, spell + 1))
    return compiled_exp(others.fee_log_sd * quantile(others.normal_table, unit))


@fused
def is_offline(others: Any, seed: Any, episode: Any, node: Any, clock_ms: Any) -> Any:
    """Return whether a competitor is offline on the day of a time."""
    start = fork(stream(seed, episode, _OFFLINE, PURPOSE_OTHERS), node)
    return uniform(fork(start, clock_ms // DAY_MS)) < others.offline_share


@fused
def usual_rate_ppm(rate_ppm: Any, factor: Any) -> Any:
    """Return a usual fee rate times a factor, in ppm, at most what an announcement holds."""
    return min(np.int64(rate_ppm * factor + 0.5), np.int64(2**32 - 1))


@kernel
def restored(others: Any, seed: Any, episode: Any, span: Any, initiator_msat: Any) -> None:
    """Fill in what the initiators of channels have from a span on, -1 where nothing moves them, shape (channels,)."""
    for channel in range(initiator_msat.shape[0]):
        initiator_msat[channel] = fresh_balance_msat(others, seed, episode, span, channel)


@outlined
def set_competitors(
    others: Any,
    first_incoming: Any,
    incoming: Any,
    usual: Any,
    usually_disabled: Any,
    seed: Any,
    episode: Any,
    clock_ms: Any,
    policy: Any,
    disabled: Any,
) -> None:
    """Set the fee rates of competitors, and disable the channels of those that are offline, as they are at a time.

    Args:
        others: ``Others``.
        first_incoming: As in ``Network``.
        incoming: As in ``Network``.
        usual: Policies of the topology, ``POLICY`` of shape (directions,).
        usually_disabled: Directions that are disabled in the topology, shape (directions,).
        seed: Seed of the environment, uint64.
        episode: Index of the episode.
        clock_ms: Time since the clock began.
        policy: Policies to change.
        disabled: Disabled directions to change.
    """
    for place in range(others.competitor.shape[0]):
        node = others.competitor[place]
        if node < 0:
            break
        spell = spell_of(seed, episode, node, others.fee_spell_ms, clock_ms)
        factor = fee_factor(others, seed, episode, node, spell)
        for at in range(first_incoming[node], first_incoming[node + 1]):
            into = np.int64(incoming[at])
            policy[into ^ 1].fee_rate_ppm = usual_rate_ppm(usual[into ^ 1].fee_rate_ppm, factor)
            disabled[into], disabled[into ^ 1] = usually_disabled[into], usually_disabled[into ^ 1]
    for place in range(others.competitor.shape[0]):
        node = others.competitor[place]
        if node >= 0 and is_offline(others, seed, episode, node, clock_ms):
            for at in range(first_incoming[node], first_incoming[node + 1]):
                into = np.int64(incoming[at])
                disabled[into], disabled[into ^ 1] = 1, 1


@kernel
def competitors_at(
    others: Any, network: Any, usual: Any, usually_disabled: Any, seed: Any, episode: Any, clock_ms: Any, changed: Any
) -> None:
    """Do what ``set_competitors`` does, for calls from Python; ``changed`` are policies and disabled directions."""
    set_competitors(
        others, network[0], network[1], usual, usually_disabled, seed, episode, clock_ms, changed[0], changed[1]
    )
