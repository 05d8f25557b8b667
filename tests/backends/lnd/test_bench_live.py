"""The benchmark of the live network."""

from __future__ import annotations

import pytest

from lnsim_gym.backends.lnd import LndSettings
from lnsim_gym.benchmarks.live import bench_live

pytestmark = [pytest.mark.lnd, pytest.mark.slow]


def test_the_benchmark_measures_every_figure_and_says_on_what(lnd_binaries, triangle):
    figures = bench_live(triangle, LndSettings(launcher="process"), payments=6, repeats=1)
    measured = (
        "bring_up_s",
        "reset_payments_s",
        "reset_snapshot_s",
        "parity_payments_per_s",
        "concurrent_payments_per_s",
    )
    assert all(getattr(figures, name) > 0 for name in measured)
    assert figures.reset_payments_s < figures.reset_snapshot_s < figures.bring_up_s
    parts = {"invoice", "turn", "mission_control", "payment"}
    assert set(figures.concurrent_payment_ms) == parts
    assert set(figures.parity_payment_ms) == {*parts, "quiet"}
    assert all(ms > 0 for ms in figures.parity_payment_ms.values())
    assert figures.parity_payment_ms["payment"] > figures.parity_payment_ms["mission_control"]
    assert figures.succeeded_share == 1
    assert (figures.nodes, figures.channels, figures.launcher) == (3, 3, "process")
    assert figures.versions["lnd"].startswith("0.")
