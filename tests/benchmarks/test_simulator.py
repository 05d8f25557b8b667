"""The engine is many times as fast as the same rules in plain Python, measured in the same run.

``pytest tests/benchmarks/test_simulator.py -m "" -rP`` prints the ratio on every graph.
"""

import pytest

from lnsim_gym.benchmarks.simulator import bench
from tests.oracle.network import OracleNetwork


@pytest.mark.parametrize(
    ("graph", "least"),
    [("5", 25), ("100", 100), ("1000", 500), pytest.param("10000", 1000, marks=pytest.mark.slow)],
)
def test_the_engine_is_many_times_faster_than_the_same_rules_in_plain_python(graph, least):
    figures = bench([graph], runs=5, seconds=0.2, reference=OracleNetwork).graphs[graph]
    print(f"{figures.payments_per_second:,.0f} payments/s, {figures.ratio:,.0f} times the plain-Python engine")
    assert figures.ratio >= least
