"""How fast the live network is: bring-up, each reset method, payments one by one and many at once."""

from __future__ import annotations

import time
from statistics import median
from typing import Any, Final

import numpy as np

from lnsim_gym.backends.lnd.backend import LndBackend
from lnsim_gym.backends.lnd.settings import LndSettings
from lnsim_gym.benchmarks.report import Report, circumstances, system_load
from lnsim_gym.network import Topology
from lnsim_gym.payments import PaymentBatch, PaymentOptions

__all__ = ["LiveFigures", "bench_live"]

_CONCURRENCY: Final = 16
_SMALLEST_MSAT: Final = 1_000_000
_LARGEST_MSAT: Final = 50_000_000


class LiveFigures(Report, frozen=True, kw_only=True):
    """What was measured; ``versions`` has that of lnd, too."""

    bring_up_s: float
    """From nothing to a ready network with its snapshot, in seconds."""
    reset_payments_s: float
    """Reset by payments back, median in seconds."""
    reset_snapshot_s: float
    """Reset by restore of the snapshot, median in seconds."""
    parity_payments_per_s: float
    """Payments one by one, mission control reset before each, quiet after each."""
    concurrent_payments_per_s: float
    """Payments with 16 at once."""
    parity_payment_ms: dict[str, float]
    """Where the time of a payment one by one goes, in ms by part, see ``LndBackend.payments_spent_s``.

    Most of ``turn`` is waiting for payments before it; those run side by side where they cannot meet.
    """
    concurrent_payment_ms: dict[str, float]
    """The same with 16 at once."""
    succeeded_share: float
    """Share of all those payments that settled."""
    nodes: int
    channels: int
    launcher: str


def bench_live(topology: Topology, settings: LndSettings, *, payments: int = 100, repeats: int = 3) -> LiveFigures:
    """Measure a network of its own, which is closed in the end.

    Args:
        topology: The network.
        settings: Launcher and deadlines.
        payments: How many payments each payment figure is taken over.
        repeats: How many resets each reset figure is the median of.

    Raises:
        BringUpError: The network did not become ready.
    """
    load_before = system_load()
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    with LndBackend(topology, PaymentOptions(), settings) as parity:
        bring_up_s = time.perf_counter() - started
        rate, settled, spent_ms = _rate(parity, rng, payments)
        by_payments = [_reset_after_payments(parity, rng) for _ in range(repeats)]
        by_snapshot = [_reset_from_snapshot(parity) for _ in range(repeats)]
        version = parity.lnd_version()
    with LndBackend(topology, PaymentOptions(concurrency=_CONCURRENCY), settings) as many:
        many_rate, many_settled, many_spent_ms = _rate(many, rng, 2 * payments)
    described = circumstances(load_before, "grpcio")
    described["versions"]["lnd"] = version
    return LiveFigures(
        bring_up_s=round(bring_up_s, 3),
        reset_payments_s=round(median(by_payments), 3),
        reset_snapshot_s=round(median(by_snapshot), 3),
        parity_payments_per_s=round(rate, 2),
        concurrent_payments_per_s=round(many_rate, 2),
        parity_payment_ms=spent_ms,
        concurrent_payment_ms=many_spent_ms,
        succeeded_share=round((settled + 2 * many_settled) / 3, 4),
        nodes=len(topology.nodes),
        channels=len(topology.channels),
        launcher=settings.launcher,
        **described,
    )


def _rate(backend: LndBackend, rng: np.random.Generator, count: int) -> tuple[float, float, dict[str, float]]:
    """Pay from half and half; return payments per second, the share that settled, and ms of a payment by part."""
    backend.reset(_middle(backend.topology))
    backend.pay(_batch(backend.topology, rng, 10))
    backend.reset(_middle(backend.topology))
    batch = _batch(backend.topology, rng, count)
    backend.payments_spent_s()
    started = time.perf_counter()
    outcomes = backend.pay(batch)
    rate = count / (time.perf_counter() - started)
    spent_ms = {part: round(1000 * spent_s / count, 2) for part, spent_s in backend.payments_spent_s().items()}
    return rate, float(outcomes.succeeded.mean()), spent_ms


def _reset_after_payments(backend: LndBackend, rng: np.random.Generator) -> float:
    """Unbalance the network, and return how long payments back took, in seconds."""
    backend.pay(_batch(backend.topology, rng, 20))
    return backend.reset(_middle(backend.topology)).seconds


def _reset_from_snapshot(backend: LndBackend) -> float:
    """Return how long it took to have the state after bring-up back, in seconds; then leave it again."""
    seconds = backend.reset(backend.topology.start_balances_msat()).seconds
    backend.reset(_middle(backend.topology))
    return seconds


def _middle(topology: Topology) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return balances of half and half."""
    total = topology.owned_total_msat
    return np.stack([total // 2, total - total // 2], axis=1)


def _batch(topology: Topology, rng: np.random.Generator, count: int) -> PaymentBatch:
    """Draw payments between uniform pairs of nodes, amounts log-uniform from 1,000 to 50,000 sat."""
    nodes = len(topology.nodes)
    source = rng.integers(0, nodes, count)
    destination = (source + rng.integers(1, nodes, count)) % nodes
    amount_msat = np.exp(rng.uniform(np.log(_SMALLEST_MSAT), np.log(_LARGEST_MSAT), count)).astype(np.int64)
    return PaymentBatch(source, destination, amount_msat, np.zeros(count, np.int64))
