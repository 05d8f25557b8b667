"""The traffic models a config can name, with their settings, and their compilation to a ``TrafficProgram``.

What is drawn from a program, and how, stands in ``kernels``.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Float64
from lnsim_gym.compiled.elementary import exp
from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import Range, check_ranges, described
from lnsim_gym.network import Topology
from lnsim_gym.traffic.kernels import KIND_CLASSIC, KIND_SIMLN, KIND_WEIGHTED, TABLE_CELLS, TrafficProgram
from lnsim_gym.traffic.normal import normal_table

__all__ = [
    "CardTraffic",
    "ClassicTraffic",
    "Demand",
    "DriftTraffic",
    "Flow",
    "FlowsTraffic",
    "MarketTraffic",
    "SimlnTraffic",
    "TrafficModel",
    "compile_traffic",
]

SECONDS_PER_30_DAYS: Final = 30 * 24 * 3600.0
MAX_AMOUNT_SAT: Final = 4_000_000_000
"""Largest amount of a payment: times a fee rate of a million ppm, in msat, it still fits 64 bits."""
MAX_PAUSE_S: Final = 365 * 24 * 3600
"""Longest time between two payments: that of millions of them still fits 64 bits, in ms."""

Amount = Annotated[float, Range(1, MAX_AMOUNT_SAT)]
LargestAmount = Annotated[int, Range(1, MAX_AMOUNT_SAT)]
Deviation = Annotated[float, Range(0, 10)]
Share = Annotated[float, Range(0, 1)]
Steps = Annotated[int, Range(1)]
Pause = Annotated[float, Range(0, MAX_PAUSE_S, above=True)]


@described
class DriftTraffic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="drift"
):
    """Demand that drifts: log-normal amounts, and pair weights that are redrawn every few steps.

    A payment goes from i to j with probability proportional to ``s_i * r_j``, where the logarithms of all weights
    are normal with standard deviation ``weight_spread``, redrawn every ``redraw_every_steps`` steps.
    """

    median_amount_sat: Amount = 20_000.0
    """Median amount of a payment."""
    amount_log_sd: Deviation = 1.0
    """Standard deviation of the logarithm of amounts."""
    max_amount_sat: LargestAmount | None = None
    """Larger draws are cut to this; by default the largest channel's capacity."""
    weight_spread: Deviation = 1.2
    """Standard deviation of the logarithm of the weights: 0 makes all pairs equally likely."""
    redraw_every_steps: Steps = 25
    """Steps after which the weights are redrawn."""
    seconds_per_payment: Pause = 10.0
    """Simulated time between payments, for the decay of mission control."""


@described
class CardTraffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="card"):
    """Card-like purchases: log-normal amounts with a median of 22 units of money and log-sd 1.87, uniform pairs."""

    sat_per_unit: Annotated[float, Range(0, above=True)] = 1_000.0
    """Worth of one unit of money in sat."""
    median_amount_units: Annotated[float, Range(0, above=True)] = 22.0
    """Median amount of a payment, in units of money; between 1 and 4,000,000,000 sat."""
    amount_log_sd: Deviation = 1.87
    """Standard deviation of the logarithm of amounts."""
    max_amount_sat: LargestAmount | None = None
    """Larger draws are cut to this; by default the largest channel's capacity."""
    weight_spread: Deviation = 0.0
    """Standard deviation of the logarithm of the weights of pairs: 0 makes all equally likely."""
    redraw_every_steps: Steps = 25
    """Steps after which the weights are redrawn."""
    seconds_per_payment: Pause = 10.0
    """Simulated time between payments, for the decay of mission control."""


@described
class ClassicTraffic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="classic"
):
    """Small payments in three patterns: to a direct peer, to a node that is none, or from one node to any other."""

    min_amount_sat: LargestAmount = 500
    """Least amount of a payment; all from here to the greatest are equally likely."""
    max_amount_sat: LargestAmount = 3_000
    """Greatest amount of a payment."""
    direct_share: Share = 0.70
    """Share of payments to a direct peer."""
    multi_hop_share: Share = 0.25
    """Share of payments to a node that is no peer; the rest are single payments between two of three random nodes (the
    circular pattern)."""
    seconds_per_payment: Pause = 20.0
    """Simulated time between payments, for the decay of mission control."""


@described
class SimlnTraffic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="simln"
):
    """Random activity as sim-ln generates it from node capacities.

    With C half the sum of a node's channel capacities, sender i waits exponentially with rate ``k * C_i / m`` per 30
    days, the receiver is drawn in proportion to C_j, and the amount is log-normal with ``mu = 2 ln m - ln l`` and
    ``sigma^2 = 2 (ln l - ln m)``, where ``l = min(C_i, C_j) / 2``.
    """

    expected_payment_sat: Amount = 3_800.0
    """m, the mean payment amount in sat."""
    capacity_multiplier: Annotated[float, Range(0, above=True)] = 2.0
    """k, how often a node's capacity is sent in 30 days."""
    amount_log_sd: Deviation | None = None
    """Fixed sigma for all pairs; mu follows so that the mean stays m."""


@described
class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of demand."""

    weight: Annotated[float, Range(0)] = 1.0
    """Its payments as a share of those of all kinds together, when all pairs are active."""
    median_amount_sat: Amount = 40_000.0
    """Median amount of a payment."""
    amount_log_sd: Annotated[float, Range(0, 10)] = 1.2
    """Standard deviation of the logarithm of amounts."""
    median_fee_limit_ppm: Annotated[float, Range(0, 1_000_000)] = 500.0
    """Median over pairs of what they pay in fees at most, in millionths of the amount; amounts up to
    ``payment.fee_limit_base_sat`` may cost as much again."""
    fee_limit_log_sd: Annotated[float, Range(0, 10)] = 0.8
    """Standard deviation of its logarithm."""
    active_share: Annotated[float, Range(0, 1, above=True)] = 1.0
    """Share of the time that a pair pays at all."""
    spell_hours: Annotated[float, Range(0.1, 100_000)] = 240.0
    """How long a pair stays active or not."""


@described
class MarketTraffic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="market"
):
    """Payments of pairs that could pay through the own node: retail, merchants, and exchanges in bursts.

    Retail pays from anyone to anyone, merchants are paid by anyone, and exchanges pay and are paid in large amounts.
    Medians are those of operators' reports (47,298 sat over 10 BTC a month; 20,000 to 50,000 sat elsewhere).
    """

    payments_per_day: Annotated[float, Range(0.01, 10_000_000)] = 400.0
    """Payments a day of all such pairs, on average."""
    pairs: Annotated[int, Range(1, 1_000_000)] = 300
    """Pairs of nodes that pay, at most; as many as there are where there are fewer."""
    weight_spread: Annotated[float, Range(0, 10)] = 1.8
    """Standard deviation of the logarithm of how much pairs of one kind pay."""
    retail: Demand = Demand(weight=0.5, median_amount_sat=30_000, active_share=0.5, spell_hours=360)
    """Pairs of any nodes."""
    merchants: Demand = Demand(weight=0.35, median_amount_sat=60_000, active_share=0.7, spell_hours=480)
    """Pairs of any node and one of a few receivers."""
    exchanges: Demand = Demand(weight=0.15, median_amount_sat=500_000, active_share=0.15, spell_hours=8)
    """Pairs of the largest nodes with any others, either way."""
    least_channels: Annotated[int, Range(1, 10_000)] = 3
    """Nodes with fewer channels neither pay nor are paid: those that they have channels with stand for them."""
    merchant_share: Share = 0.04
    """Share of the nodes that are merchants."""
    exchange_share: Share = 0.01
    """Share of the nodes that are exchanges: the largest ones."""
    day_swing: Share = 0.5
    """How much busier noon is than the mean of the day, as a share of it."""
    max_amount_sat: Annotated[int, Range(1, MAX_AMOUNT_SAT)] = 5_000_000
    """Larger draws are cut to this."""
    seed: Annotated[int, Range(0)] = 0
    """Decides which pairs pay, and how much."""


@described
class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments of one node to another."""

    sender: str
    """Node that pays, by name."""
    receiver: str
    """Node that is paid, by name."""
    payments_per_day: Annotated[float, Range(0, 10_000_000)]
    """Payments a day, on average."""
    median_amount_sat: Amount
    """Median amount of a payment."""
    amount_log_sd: Deviation = 0.0
    """Standard deviation of the logarithm of amounts."""
    fee_limit_ppm: Annotated[int, Range(0, 1_000_000)] = 1_000_000
    """What they pay in fees at most, in millionths of the amount."""
    active_share: Annotated[float, Range(0, 1, above=True)] = 1.0
    """Share of the time in which they pay at all, and then the more often."""
    spell_hours: Annotated[float, Range(0.1, 100_000)] = 240.0
    """How long they go on paying, or not."""


@described
class FlowsTraffic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="flows"
):
    """Payments of pairs that are listed, one by one: those of a node of one's own, as its history tells them."""

    flows: str | tuple[Flow, ...] = ()
    """The pairs: a list of tables, or the path of a JSON file with such a list."""
    day_swing: Share = 0.0
    """How much busier noon is than the mean of the day, as a share of it."""
    max_amount_sat: LargestAmount = 100_000_000
    """Larger draws are cut to this."""


TrafficModel = DriftTraffic | CardTraffic | ClassicTraffic | SimlnTraffic | MarketTraffic | FlowsTraffic


def compile_traffic(model: TrafficModel, topology: Topology) -> TrafficProgram:
    """Compile a model for a topology.

    Raises:
        ConfigError: A setting is out of range, or the model needs a node of one's own.
    """
    check_ranges(model, "traffic: ")
    match model:
        case MarketTraffic() | FlowsTraffic():
            kind = type(model).__struct_config__.tag
            raise ConfigError(f"traffic {kind!r} is the demand around one's own node: it needs task='operator'")
        case DriftTraffic():
            return _weighted(topology, model, model.median_amount_sat)
        case CardTraffic():
            return _weighted(topology, model, model.median_amount_units * model.sat_per_unit)
        case ClassicTraffic():
            return _classic(topology, model)
        case SimlnTraffic():
            return _simln(topology, model)


def _require(condition: bool, what: str, got: object) -> None:
    """Refuse a setting out of range."""
    if not condition:
        raise ConfigError(f"traffic: {what}, got {got}")


def _weighted(topology: Topology, model: DriftTraffic | CardTraffic, median_sat: float) -> TrafficProgram:
    """Compile log-normal amounts over drifting pair weights."""
    _require(median_sat >= 1, "the median amount must be at least 1 sat", median_sat)
    _require(median_sat <= MAX_AMOUNT_SAT, f"the median amount must be at most {MAX_AMOUNT_SAT:,} sat", median_sat)
    largest_sat = _largest_amount_sat(topology, model.max_amount_sat)
    return _program(
        topology,
        kind=KIND_WEIGHTED,
        amount_table_sat=np.clip(median_sat * exp(model.amount_log_sd * _normal_table()), 1, largest_sat),
        max_amount_sat=largest_sat,
        weight_spread=model.weight_spread,
        redraw_every_steps=model.redraw_every_steps,
        seconds_per_payment=model.seconds_per_payment,
    )


def _classic(topology: Topology, model: ClassicTraffic) -> TrafficProgram:
    """Compile uniform amounts over the three patterns."""
    low_sat = model.min_amount_sat
    high_sat = model.max_amount_sat
    _require(low_sat <= high_sat, "min_amount_sat <= max_amount_sat must hold", (low_sat, high_sat))
    shares = (model.direct_share, model.multi_hop_share)
    _require(sum(shares) <= 1, "pattern shares must add up to at most 1", shares)
    return _program(
        topology,
        kind=KIND_CLASSIC,
        # The table is read with linear interpolation and floored, so its end stands one beyond the largest amount.
        amount_table_sat=np.linspace(low_sat, high_sat + 1, TABLE_CELLS + 1),
        max_amount_sat=high_sat,
        direct_share=model.direct_share,
        multi_hop_share=model.multi_hop_share,
        seconds_per_payment=model.seconds_per_payment,
    )


def _simln(topology: Topology, model: SimlnTraffic) -> TrafficProgram:
    """Compile the random activity of capacities."""
    fixed = model.amount_log_sd
    node_capacity_sat = _node_capacity_sat(topology)
    _require(bool((node_capacity_sat > 0).sum() >= 2), "at least two nodes need a channel", node_capacity_sat)
    payments_per_30_days = model.capacity_multiplier * node_capacity_sat.sum() / model.expected_payment_sat
    return _program(
        topology,
        kind=KIND_SIMLN,
        amount_table_sat=_normal_table(),
        max_amount_sat=_largest_amount_sat(topology, None),
        node_capacity_sat=node_capacity_sat,
        expected_payment_sat=model.expected_payment_sat,
        fixed_log_sd=-1.0 if fixed is None else fixed,
        seconds_per_payment=SECONDS_PER_30_DAYS / payments_per_30_days,
    )


def _program(
    topology: Topology,
    *,
    kind: int,
    amount_table_sat: npt.NDArray[np.float64],
    max_amount_sat: int,
    seconds_per_payment: float,
    weight_spread: float = 0.0,
    redraw_every_steps: int = 2**31,
    direct_share: float = 0.0,
    multi_hop_share: float = 0.0,
    node_capacity_sat: npt.NDArray[np.float64] | None = None,
    expected_payment_sat: float = 0.0,
    fixed_log_sd: float = -1.0,
) -> TrafficProgram:
    """Fill in the fields that a kind does not use."""
    _require(
        0 < seconds_per_payment <= MAX_PAUSE_S,
        f"seconds_per_payment must lie in 0..{MAX_PAUSE_S:,}, above 0",
        seconds_per_payment,
    )
    first, peers = _neighbours(topology)
    return TrafficProgram(
        kind=kind,
        nodes=len(topology.nodes),
        amount_table=np.ascontiguousarray(amount_table_sat, np.float64),
        normal_table=_normal_table(),
        max_amount_sat=max_amount_sat,
        weight_spread=float(weight_spread),  # whole numbers would have kernels compiled for them
        redraw_every_steps=redraw_every_steps,
        direct_share=float(direct_share),
        multi_hop_share=float(multi_hop_share),
        first_neighbour=first,
        neighbours=peers,
        node_capacity_sat=np.zeros(len(topology.nodes)) if node_capacity_sat is None else node_capacity_sat,
        expected_payment_sat=float(expected_payment_sat),
        fixed_log_sd=float(fixed_log_sd),
        payment_ms=max(1, round(1000 * seconds_per_payment)),
    )


def _normal_table() -> Float64:
    """Standard normal quantiles at k / TABLE_CELLS, a copy."""
    return normal_table(TABLE_CELLS).copy()


def _largest_amount_sat(topology: Topology, asked_sat: int | None) -> int:
    """Return the amount above which draws are cut, in sat."""
    largest_sat = max((channel.capacity_sat for channel in topology.channels), default=1)
    return largest_sat if asked_sat is None else asked_sat


def _node_capacity_sat(topology: Topology) -> npt.NDArray[np.float64]:
    """Half the sum of each node's channel capacities in sat, shape (nodes,)."""
    return topology.node_capacity_sat / 2


def _neighbours(topology: Topology) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sorted neighbours of every node, each once, as offsets of shape (nodes + 1,) into one array."""
    arrays = topology.arrays
    nodes = len(topology.nodes)
    source, peers = np.divmod(np.unique(arrays.source * nodes + arrays.destination), nodes)
    degrees = np.bincount(source, minlength=nodes)
    # Padded to the number of directions, so that variants stack whatever their channels join.
    neighbours = np.zeros(len(arrays.source), np.int64)
    neighbours[: len(peers)] = peers
    return np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64), neighbours
