"""What the benchmark counts: every message published is received by every client that keeps up."""

from __future__ import annotations

from lnsim_gym.benchmarks.bridge import measure_fan_out, measure_streamed


def test_a_paced_stream_to_many_clients_is_measured_and_loses_nothing():
    figures = measure_fan_out(clients=20, messages_per_second=2_000, seconds=0.5)
    assert figures.lost == 0
    assert figures.messages_per_second > 0
    assert 0 < figures.p50_s <= figures.p99_s


def test_a_simulator_at_full_speed_is_measured_and_loses_nothing():
    figures = measure_streamed(clients=3, seconds=0.5)
    assert figures.lost == 0
    assert figures.steps_per_second > 0
    assert figures.messages_per_step > 20  # payments, and more
