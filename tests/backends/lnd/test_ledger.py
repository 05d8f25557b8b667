"""The ledger: exact in msat, held to LND's sat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.backends.lnd.network.ledger import Ledger
from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.errors import LedgerMismatch
from lnsim_gym.network.presets import preset
from tests.backends.lnd.live import half_and_half

TOPOLOGY = preset("default")
HALF = half_and_half(TOPOLOGY)


def route_of(total_msat: int, *forwarded_msat: int) -> lightning_pb2.Route:
    hops = [lightning_pb2.Hop(amt_to_forward_msat=amount) for amount in forwarded_msat]
    return lightning_pb2.Route(total_amt_msat=total_msat, hops=hops)


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(1, 10**9)), max_size=30))
def test_settling_conserves_what_every_channel_holds(htlcs):
    ledger = Ledger(TOPOLOGY, HALF)
    for direction, amount_msat in htlcs:
        ledger.settle([direction], route_of(amount_msat, amount_msat))
    assert (ledger.balances_msat.sum(axis=1) == TOPOLOGY.owned_total_msat).all()


def test_every_hop_moves_what_it_carries():
    ledger = Ledger(TOPOLOGY, HALF)
    ledger.settle([0, 2], route_of(10_500, 10_000, 10_000))
    moved = ledger.balances_msat - HALF
    assert moved[:2].tolist() == [[-10_500, 10_500], [-10_000, 10_000]]
    assert not moved[2:].any()


def test_fractions_of_a_sat_are_floored_as_lnd_does():
    ledger = Ledger(TOPOLOGY, HALF)
    ledger.settle([0], route_of(1, 1))
    ledger.check(np.array([[HALF[0, 0] // 1000 - 1, HALF[0, 1] // 1000]]), [0])


@given(st.integers(0, 6), st.integers(0, 1), st.sampled_from([-1, 1]))
def test_a_difference_of_one_sat_is_an_error_that_names_the_channel(channel, side, difference):
    reported = HALF // 1000
    reported[channel, side] += difference
    ends = TOPOLOGY.channels[channel]
    with pytest.raises(LedgerMismatch, match=f"channel {ends.initiator}-{ends.peer}.*LND reports"):
        Ledger(TOPOLOGY, HALF).check(reported)


def test_callers_cannot_change_the_ledger():
    ledger = Ledger(TOPOLOGY, HALF)
    ledger.balances_msat[:] = 0
    assert (ledger.balances_msat == HALF).all()
