"""What the compiled engine is made of, and how fast it is."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lnsim_gym.backends.simulator.bounds import build_hop_rows
from lnsim_gym.backends.simulator.engine import compile_network, stack
from lnsim_gym.benchmarks.simulator import GRAPHS, bench, bench_topology
from lnsim_gym.network.generators import scale_free
from tests.oracle.network import OracleNetwork

IR_OF_A_FRESH_COMPILE = """
from lnsim_gym.backends.simulator import SimulatorBackend, engine
from lnsim_gym.network.presets import preset
from tests.compiled.test_engine_code import one_payment

backend = SimulatorBackend(preset("default"))
backend.pay(one_payment())
print("".join(engine.pay_batch_whole.dispatcher.inspect_llvm().values()))
"""


def one_payment():
    from lnsim_gym.payments import PaymentBatch  # noqa: PLC0415

    return PaymentBatch(*(np.array([value], np.int64) for value in (0, 1, 1000_000, 0)))


@pytest.mark.slow
def test_the_engine_counts_no_references_to_arrays(tmp_path):
    environment = {**os.environ, "LNSIM_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()}
    environment.pop("NUMBA_CACHE_DIR", None)
    code = [sys.executable, "-c", IR_OF_A_FRESH_COMPILE]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=True)
    assert "define" in done.stdout
    assert "NRT_incref" not in done.stdout
    assert "NRT_decref" not in done.stdout


def test_hop_rows_hold_the_hops_of_the_shortest_way_from_each_sender():
    topology = scale_free(40, 60, seed=5)
    network = compile_network(topology)
    hops = np.full((40, 40), 255)
    np.fill_diagonal(hops, 0)
    hops[topology.arrays.source, topology.arrays.destination] = 1
    for middle in range(40):
        hops = np.minimum(hops, hops[:, middle, None] + hops[None, middle, :])
    assert (network.hops == hops).all()


def test_hop_rows_are_built_when_a_sender_first_pays_in_networks_too_large_for_all_of_them():
    topology = scale_free(2100, 2500, seed=1)
    network = compile_network(topology)
    assert (network.hop_owner == -1).all()
    build_hop_rows(network)
    assert (network.hop_owner == np.arange(2100)).all()


def test_networks_of_one_shape_stack_and_keep_their_columns():
    networks = [compile_network(scale_free(10, 20, seed)) for seed in (1, 2, 3)]
    stacked = stack(networks)
    assert stacked.policy.shape == (3, 40)
    assert (stacked.policy[2] == networks[2].policy).all()


@pytest.mark.parametrize(("graph", "least"), [("5", 25), ("1000", 500)])
def test_the_engine_is_many_times_faster_than_the_same_rules_in_plain_python(graph, least):
    report = bench([graph], runs=5, seconds=0.2, reference=OracleNetwork)
    assert report.graphs[graph].ratio >= least


def test_a_large_network_is_built_in_seconds():
    graph = GRAPHS["10000"]
    topology = bench_topology(graph)
    assert (len(topology.nodes), len(topology.channels)) == (10_000, 50_000)
    assert compile_network(topology).incoming.size == 100_000
