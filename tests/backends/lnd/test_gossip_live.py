"""Senders that have not heard of a policy yet, on real nodes whose gossip is slow; the simulator predicts them."""

from __future__ import annotations

import itertools
import time

import msgspec
import numpy as np
import pytest

from lnsim_gym.backends.lnd.nodes import flags
from lnsim_gym.backends.lnd.nodes.launchers import process
from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.gossip import GossipOptions
from lnsim_gym.payments import PaymentOutcomes
from tests.backends.lnd.live import batch_of, half_and_half, policies_in_graph_of

pytestmark = [pytest.mark.lnd, pytest.mark.slow]

TRICKLE_MS = 10_000
"""Much longer than two payments take: who pays right after a change has not heard of it."""
OLD = Policy(fee_base_msat=1_000, fee_rate_ppm=0, time_lock_delta=40)
FIELDS = ("succeeded", "failure_reason", "attempts", "fee_msat", "part_amount_msat", "part_route")
CHANGES = (
    ("carol", "dave", {"fee_base_msat": 1_500}),  # shows when alice hears: the next change comes right after it
    ("carol", "dave", {"fee_base_msat": 9_000}),  # FEE_INSUFFICIENT, learned and settled
    ("carol", "dave", {"fee_base_msat": 2_000}),  # too much is no fault
    ("carol", "dave", {"time_lock_delta": 60}),  # INCORRECT_CLTV_EXPIRY
    ("carol", "bob", {"inbound_fee_base_msat": 700}),  # told by no failure: the second one is the end
    ("carol", "dave", {"min_htlc_msat": 60_000_000}),  # AMOUNT_BELOW_MINIMUM
)


def announce(lncli, backend, direction: int, policy: Policy) -> None:
    """Let a node set a policy, and do not wait until others hear of it."""
    source, destination = (backend.topology.nodes[node] for node in backend.topology.nodes_of((direction,)))
    ends = backend.endpoints()
    (channel,) = (
        one
        for one in lncli(ends[source], "listchannels")["channels"]
        if one["remote_pubkey"] == ends[destination].pubkey
    )
    values = {
        "base_fee_msat": policy.fee_base_msat,
        "fee_rate_ppm": policy.fee_rate_ppm,
        "time_lock_delta": policy.time_lock_delta,
        "min_htlc_msat": policy.min_htlc_msat,
        "max_htlc_msat": policy.max_htlc_msat,
        "inbound_base_fee_msat": policy.inbound_fee_base_msat,
        "inbound_fee_rate_ppm": policy.inbound_fee_rate_ppm,
        "chan_point": channel["channel_point"],
    }
    lncli(ends[source], "updatechanpolicy", *(f"--{name}={value}" for name, value in values.items()))


@pytest.mark.timeout(600)
def test_stale_senders_on_real_nodes_do_as_the_simulator_says(make_backend, monkeypatch, lncli):
    slow = tuple(f"--trickledelay={TRICKLE_MS}" if one.startswith("--trickledelay") else one for one in flags.LND_FLAGS)
    monkeypatch.setattr(process, "LND_FLAGS", slow)
    names = ("alice", "bob", "carol", "dave")
    both = ChannelPolicies(initiator=OLD, peer=OLD)
    channels = [
        Channel(initiator=one, peer=two, capacity_sat=1_000_000, policies=both)
        for one, two in itertools.pairwise(names)
    ]
    topology = Topology(nodes=names, channels=tuple(channels))
    backend, simulator = make_backend(topology), SimulatorBackend(topology, gossip=GossipOptions())
    backend.open()
    for each in (backend, simulator):
        each.reset(half_and_half(topology))
    payment = batch_of((0, 3, 50_000_000))
    for source, destination, change in CHANGES:
        direction = topology.direction(source, destination)
        policy = topology.checked_policy(direction, msgspec.structs.replace(OLD, **change))
        simulator.set_policy(direction, policy)
        predicted = [simulator.pay(payment) for _ in range(2)]  # the second one by what the first taught
        announce(lncli, backend, direction, policy)
        seen = [backend.pay(payment) for _ in range(2)]
        if change != CHANGES[0][2]:
            assert_alike(seen, predicted, change)
        deadline = time.monotonic() + 100
        while any(policies_in_graph_of(lncli, backend, node)[direction] != policy for node in names):
            assert time.monotonic() < deadline, change
            time.sleep(0.1)
        simulator.wait(600_000)
        assert_alike([backend.pay(payment)], [simulator.pay(payment)], change)
        assert np.array_equal(backend.balances_msat(), simulator.balances_msat())


def assert_alike(seen: list[PaymentOutcomes], predicted: list[PaymentOutcomes], change: dict[str, int]) -> None:
    for real, simulated in zip(seen, predicted, strict=True):
        for name in FIELDS:
            assert np.array_equal(getattr(real, name), getattr(simulated, name)), (change, name)
