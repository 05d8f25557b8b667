"""How fast the engine is: payments per second of CPU time on one core, and the ratio to a reference engine if given.

Light traffic: both ends of every channel start with half of what they own together; pairs of nodes are uniform,
amounts uniform in 1,000..100,000 sat; balances go back to the start after so many payments that they do not drift
far. Time is CPU time of this process, the median of several runs, compilation and set-up excluded.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.backends.simulator.engine import (
    compile_network,
    make_memory,
    make_outcomes,
    make_scratch,
    make_settings,
    pay_batch,
)
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.errors import ConfigError
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.generators import scale_free
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import PaymentOptions

__all__ = [
    "GRAPHS",
    "Graph",
    "GraphFigures",
    "Reference",
    "SimulatorFigures",
    "bench",
    "bench_topology",
    "light_traffic",
    "reference_rate",
    "require_known",
]


class Graph(NamedTuple):
    """A network to measure on."""

    nodes: int
    channels: int
    payments: int
    """Payments before the balances go back to the start."""


GRAPHS: Final = {
    "5": Graph(5, 7, 2000),
    "100": Graph(100, 400, 1000),
    "1000": Graph(1000, 6000, 200),
    "10000": Graph(10_000, 50_000, 40),
}
"""The graphs by name: nodes, channels, payments per episode."""
MIN_AMOUNT_SAT: Final = 1_000
MAX_AMOUNT_SAT: Final = 100_000


class GraphFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured on one graph."""

    nodes: int
    channels: int
    payments_per_second: float
    """Median over the runs, per second of CPU time on one core."""
    slowest: float
    fastest: float
    succeeded: float
    """Share of the payments that settled."""
    attempts: float
    """Mean attempts of a payment."""
    reference_payments_per_second: float | None = None
    """Rate of the reference engine in the same process, when one was given."""
    ratio: float | None = None
    """How many times faster than that the compiled engine is."""


class SimulatorFigures(Report, frozen=True, kw_only=True):
    """What was measured on each graph."""

    graphs: dict[str, GraphFigures]


class Reference(Protocol):
    """A slower engine with the same outcomes, for the ratio: makes one payment."""

    def pay(self, source: int, target: int, amount: int, fee_limit: int) -> Any:
        """Make one payment."""


class _Load(NamedTuple):
    """One network with its payments."""

    topology: Topology
    start: Int64  # (channels, 2) msat
    source: Int64  # (payments,)
    destination: Int64  # (payments,)
    amount_msat: Int64  # (payments,)


def require_known(graphs: Sequence[str]) -> None:
    """Refuse names that are not in ``GRAPHS``.

    Raises:
        ConfigError: A graph is unknown.
    """
    unknown = [name for name in graphs if name not in GRAPHS]
    if unknown:
        raise ConfigError(f"unknown graphs {', '.join(unknown)}: expected some of {', '.join(GRAPHS)}")


def bench_topology(graph: Graph, seed: int = 0) -> Topology:
    """Return the default network for 5 nodes; else a scale-free one with large channels and uneven fees.

    Capacities are log-normal with median 3,000,000 sat and log-sd 1, cut to 0.2 and 100 million; fees 0..2 sat and
    1..1000 ppm; time lock deltas 24..144 blocks.
    """
    if graph.nodes == 5:
        return preset("default")
    rng = np.random.default_rng(seed)
    plain = scale_free(graph.nodes, graph.channels, seed)
    capacity_sat = np.clip(3e6 * np.exp(rng.standard_normal(graph.channels)), 2e5, 1e8).astype(np.int64)
    draws = zip(
        rng.integers(0, 2001, 2 * graph.channels).tolist(),
        rng.integers(1, 1001, 2 * graph.channels).tolist(),
        rng.integers(24, 145, 2 * graph.channels).tolist(),
        strict=True,
    )
    policies = [Policy(fee_base_msat=base, fee_rate_ppm=rate, time_lock_delta=delta) for base, rate, delta in draws]
    channels = tuple(
        Channel(
            initiator=channel.initiator,
            peer=channel.peer,
            capacity_sat=capacity,
            policies=ChannelPolicies(initiator=policies[2 * index], peer=policies[2 * index + 1]),
        )
        for index, (channel, capacity) in enumerate(zip(plain.channels, capacity_sat.tolist(), strict=True))
    )
    return Topology(nodes=plain.nodes, channels=channels, wumbo=True)


def light_traffic(topology: Topology, payments: int, seed: int = 1) -> _Load:
    """Draw payments between uniform pairs, uniform in 1,000..100,000 sat, on half-full channels."""
    rng = np.random.default_rng(seed)
    nodes = len(topology.nodes)
    source = rng.integers(nodes, size=payments)
    half = topology.owned_total_msat // 2
    return _Load(
        topology=topology,
        start=np.stack([topology.owned_total_msat - half, half], axis=1),
        source=source,
        destination=(source + rng.integers(1, nodes, size=payments)) % nodes,
        amount_msat=1000 * rng.integers(MIN_AMOUNT_SAT, MAX_AMOUNT_SAT + 1, size=payments),
    )


def bench(
    graphs: Sequence[str] = tuple(GRAPHS),
    *,
    runs: int = 5,
    seconds: float = 0.4,
    reference: Callable[[Topology, Int64], Reference] | None = None,
) -> SimulatorFigures:
    """Measure the engine.

    Args:
        graphs: Names out of ``GRAPHS``.
        runs: Timed runs for each graph; their median counts.
        seconds: CPU time of one run, about.
        reference: Makes a slower engine for a topology and balances; without it there is no ratio.

    Raises:
        ConfigError: A graph is unknown.
    """
    require_known(graphs)
    load_before = system_load()
    measured = {name: _measure(GRAPHS[name], runs, seconds, reference) for name in graphs}
    return SimulatorFigures(graphs=measured, **circumstances(load_before, "numpy", "numba"))


def _measure(
    graph: Graph, runs: int, seconds: float, reference: Callable[[Topology, Int64], Reference] | None
) -> GraphFigures:
    """Measure one graph."""
    traffic = light_traffic(bench_topology(graph), 50 * graph.payments)
    rates, succeeded, attempts = _rates(traffic, graph.payments, runs, seconds)
    rate = statistics.median(rates)
    slow = reference_rate(traffic, graph.payments, seconds, reference) if reference else None
    return GraphFigures(
        nodes=graph.nodes,
        channels=graph.channels,
        payments_per_second=rate,
        slowest=min(rates),
        fastest=max(rates),
        succeeded=float(succeeded),
        attempts=float(attempts),
        reference_payments_per_second=slow,
        ratio=rate / slow if slow else None,
    )


def _rates(load: _Load, episode: int, runs: int, seconds: float) -> tuple[list[float], float, float]:
    """Return payments per CPU-second of each run, the share that settled and the mean number of attempts."""
    options = PaymentOptions()
    network = compile_network(load.topology)
    scratch = make_scratch(network, options)
    memory = make_memory(network, options)
    settings = make_settings(options)
    outcomes = make_outcomes(episode, 1)
    now_ms = np.zeros(episode, np.int64)
    balances = load.start.ravel().copy()
    start = load.start.ravel()
    columns = (load.source, load.destination, load.amount_msat, options.fee_limit_msat(load.amount_msat))
    pieces = [tuple(c[first : first + episode] for c in columns) for first in range(0, len(load.source), episode)]
    totals = np.zeros(3)

    def once() -> None:
        for source, destination, amount_msat, limit_msat in pieces:
            balances[:] = start
            payments = (source, destination, amount_msat, limit_msat, now_ms)
            settled = pay_batch(network, balances, scratch, memory, settings, payments, outcomes)
            totals[:] += (settled, outcomes.attempts.sum(), episode)

    once()  # compiles, and fills the rows of hop distances
    started = time.process_time()
    once()
    repeats = max(1, math.ceil(seconds / max(time.process_time() - started, 1e-6)))
    rates = []
    for _ in range(runs):
        started = time.process_time()
        for _ in range(repeats):
            once()
        rates.append(repeats * len(load.source) / (time.process_time() - started))
    return rates, totals[0] / totals[2], totals[1] / totals[2]


def reference_rate(
    load: _Load, episode: int, seconds: float, reference: Callable[[Topology, Int64], Reference]
) -> float:
    """Return the payments per CPU-second of a reference engine on the same load, measured for about ``seconds``."""
    limits = PaymentOptions().fee_limit_msat(load.amount_msat)
    payments = list(
        zip(load.source.tolist(), load.destination.tolist(), load.amount_msat.tolist(), limits.tolist(), strict=True)
    )
    done = 0
    spent = 0.0
    while spent < seconds:
        engine = reference(load.topology, load.start)
        started = time.process_time()
        for payment in payments[done % len(payments) :][:episode]:
            engine.pay(*payment)
            done += 1
            if done % 8 == 0 and spent + time.process_time() - started > seconds:
                break
        spent += time.process_time() - started
    return done / spent
