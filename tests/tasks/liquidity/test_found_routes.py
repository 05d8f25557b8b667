"""A found circular rebalance tries the route of LND's own search first, with all own channels but two hidden."""

import numpy as np
import pytest

from lnsim_gym.backends.simulator.engine import compile_network, make_memory, make_scratch, send_found
from lnsim_gym.network.generators import scale_free
from lnsim_gym.network.routes import hop_amounts_msat
from lnsim_gym.payments import MAX_ROUTE_HOPS, PaymentOptions, RebalanceReason
from tests.oracle.mission_control import MissionControl
from tests.oracle.network import OracleNetwork
from tests.oracle.pathfinding import InsufficientBalance, NoPathFound, find_path


@pytest.mark.slow
def test_the_first_route_is_that_of_lnds_search():
    topology = scale_free(25, 60, seed=4, initiator_share=(0.2, 0.8))
    arrays = topology.arrays
    start = topology.start_balances_msat().ravel()
    network = compile_network(topology)
    scratch, memory = make_scratch(network, PaymentOptions()), make_memory(network, PaymentOptions())
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        leave = int(rng.integers(len(arrays.source)))
        others = [d for d in np.flatnonzero(arrays.source == arrays.source[leave]).tolist() if d != leave]
        if not others:
            continue
        back = int(rng.choice(others)) ^ 1
        amount = 1000 * int(rng.integers(1_000, 60_000))
        limit = amount // 10
        balances = start.copy()
        route, sent = np.zeros((2, MAX_ROUTE_HOPS), np.int64)
        state, unearned = (network, balances, scratch, memory), np.zeros(0, np.int64)
        reason, _, _ = send_found(*state, (leave, back), (amount, limit), 1, 0, unearned, route, sent)
        assert (balances >= 0).all()
        if reason in (RebalanceReason.INSUFFICIENT_LOCAL_BALANCE, RebalanceReason.AMOUNT_OUT_OF_RANGE):
            continue
        oracle = OracleNetwork(topology, start.reshape(-1, 2))
        bandwidth = oracle.bandwidth
        own = arrays.source[leave]
        oracle.bandwidth = lambda d, sent, leave=leave, own=own, bandwidth=bandwidth: (
            0 if arrays.source[d] == own and d != leave else bandwidth(d, sent)
        )
        carried = hop_amounts_msat(topology, (leave, back), amount)[0]
        try:
            path = find_path(
                oracle, MissionControl(own), own, arrays.source[back], carried, limit - (carried - amount), 0
            )
        except (NoPathFound, InsufficientBalance):
            path = None
        got = route[route >= 0].tolist()
        assert got == ([] if path is None else [*(edge.direction for edge in path), back])
        found += bool(got)
    assert found > 100
