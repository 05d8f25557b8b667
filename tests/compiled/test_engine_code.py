"""What the compiled engine is made of, and how fast it is."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lnsim_gym.backends.simulator import prepare
from lnsim_gym.backends.simulator.engine import compile_network, make_scratch, stack
from lnsim_gym.benchmarks.simulator import GRAPHS, bench, bench_topology
from lnsim_gym.network.generators import scale_free
from lnsim_gym.payments import PaymentOptions
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
    environment["NUMBA_CPU_NAME"] = "generic"  # for which no installation brings machine code
    code = [sys.executable, "-c", IR_OF_A_FRESH_COMPILE]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=True)
    assert "define" in done.stdout
    assert "NRT_incref" not in done.stdout
    assert "NRT_decref" not in done.stdout


def test_hop_rows_hold_the_hops_of_the_shortest_route_from_each_sender():
    topology = scale_free(40, 60, seed=5)
    network = compile_network(topology)
    hops = np.full((40, 40), 255)
    np.fill_diagonal(hops, 0)
    hops[topology.arrays.source, topology.arrays.destination] = 1
    for middle in range(40):
        hops = np.minimum(hops, hops[:, middle, None] + hops[None, middle, :])
    assert (network.hops == hops).all()


def test_networks_too_large_for_all_hop_rows_leave_them_to_the_threads():
    topology = scale_free(2100, 2500, seed=1)
    network = compile_network(topology)
    assert network.hops.shape == (0, 2100)
    assert make_scratch(network, PaymentOptions()).work.hop_rows.hops.shape == (2100, 2100)
    assert make_scratch(compile_network(scale_free(40, 60, seed=5)), PaymentOptions()).work.hop_rows.hops.shape == (
        0,
        40,
    )


@pytest.mark.parametrize("senders", [10_000, 700, 1])
def test_threads_spend_no_more_memory_on_hop_rows_than_allowed(monkeypatch, senders):
    networks = stack([compile_network(scale_free(2100, 2500, seed)) for seed in (1, 2)])
    monkeypatch.setattr(prepare, "HOP_TABLE_BYTES", senders * 2100 + 1)
    assert len(make_scratch(networks, PaymentOptions()).work.hop_rows.owner) == min(senders, 2 * 2100)
    monkeypatch.setattr(prepare, "HOP_TABLE_BYTES", 1)
    assert len(make_scratch(networks, PaymentOptions()).work.hop_rows.owner) == 1


def test_networks_of_one_shape_stack_and_keep_their_columns():
    networks = [compile_network(scale_free(10, 20, seed)) for seed in (1, 2, 3)]
    stacked = stack(networks)
    assert stacked.policy.shape == (3, 40)
    assert (stacked.policy[2] == networks[2].policy).all()
    assert stacked.variant.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("graph", "least"), [("5", 25), ("1000", 500)])
def test_the_engine_is_many_times_faster_than_the_same_rules_in_plain_python(graph, least):
    report = bench([graph], runs=5, seconds=0.2, reference=OracleNetwork)
    assert report.graphs[graph].ratio >= least


def test_a_large_network_is_built_in_seconds():
    graph = GRAPHS["10000"]
    topology = bench_topology(graph)
    assert (len(topology.nodes), len(topology.channels)) == (10_000, 50_000)
    assert compile_network(topology).incoming.size == 100_000
