"""Rebalances among parallel channels in the simulator: the result names the channels that forwarders chose."""

from __future__ import annotations

import pytest

from lnsim_gym.backends.interventions import Rebalance, balances_after
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.network import Channel, Topology

pytestmark = pytest.mark.slow  # networks with links are compiled for a minute
PAIRS = ("ab", "bc", "bc", "cb", "ca")


def test_results_say_what_moved_which_balances():
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=1_000_000, initiator_balance_sat=500_000)
        for one, other in PAIRS
    )
    topology = Topology(nodes=("a", "b", "c"), channels=channels)
    backend = SimulatorBackend(topology)
    balances = topology.start_balances_msat()
    backend.reset(balances)
    taken = set()
    for _ in range(30):
        result = backend.rebalance((0, 7, 8), 1_000_000)
        done = Rebalance((0, 7, 8), 1_000_000, result)
        balances = balances_after(topology, balances, (done,))
        assert (backend.balances_msat() == balances).all()
        taken.add(done.carried_by)
    assert (0, 7, 8) in taken
    assert taken <= {(0, 2, 8), (0, 4, 8), (0, 7, 8)}
    assert len(taken) > 1
