"""The corridor engine beside the exact one."""

import pytest

from lnsim_gym.benchmarks.corridor import RULES, markdown, measure


@pytest.mark.slow
def test_the_corridor_orders_rules_about_as_the_exact_engine_does_and_is_thirty_times_faster():
    """Bounds are loose, as six episodes are few."""
    figures = measure(6)
    assert 0.7 < figures.level < 1.7
    assert figures.correlation > 0.6
    assert figures.order > 0.3
    assert figures.speedup > 30
    assert all(f"| {name} |" in markdown(figures) for name in RULES)
