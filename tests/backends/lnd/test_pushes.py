"""Plans of payments back to wanted balances."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.backends.lnd.network.pushes import plan_pushes
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.presets import preset
from tests.backends.lnd.live import half_and_half

TOPOLOGY = preset("default")
TOTAL = 996_530_000
INITIATOR_KEEPS = 10_000_000 + 7_340_000 - 2_810_000
PEER_KEEPS = 10_000_000


def balances(first_msat: int) -> np.ndarray:
    wanted = half_and_half(TOPOLOGY)
    wanted[0] = first_msat, TOTAL - first_msat
    return wanted


def carried_out(topology: Topology, have: np.ndarray, plans) -> np.ndarray:
    """Make the pushes of a plan, each within what can be spent and what the policies allow."""
    now = have.copy()
    arrays = topology.arrays
    for direction, amount in (push for plan in plans for push in plan):
        channel, side = divmod(direction, 2)
        assert arrays.min_htlc_msat[direction] <= amount <= arrays.max_htlc_msat[direction]
        assert amount <= topology.spendable_msat(now)[channel, side]
        now[channel, side] -= amount
        now[channel, 1 - side] += amount
    return now


spread = st.integers(INITIATOR_KEEPS, TOTAL - PEER_KEEPS)


@given(spread, spread)
def test_a_plan_leads_to_the_wanted_balances_exactly(have, want):
    plans = plan_pushes(TOPOLOGY, balances(have), balances(want))
    assert plans is None or (carried_out(TOPOLOGY, balances(have), plans) == balances(want)).all()


@given(st.integers(20_000_000, TOTAL - 20_000_000), st.integers(20_000_000, TOTAL - 20_000_000))
def test_there_is_a_plan_between_any_balances_well_inside_the_reserves(have, want):
    assert plan_pushes(TOPOLOGY, balances(have), balances(want)) is not None


@given(st.integers(1, 999))
def test_less_than_the_smallest_htlc_is_sent_there_and_back(difference):
    plans = plan_pushes(TOPOLOGY, balances(500_000_000), balances(500_000_000 + difference))
    assert [len(plan) for plan in plans] == [2]


def test_nothing_is_planned_for_channels_that_are_right():
    assert plan_pushes(TOPOLOGY, half_and_half(TOPOLOGY), half_and_half(TOPOLOGY)) == []


def test_a_fresh_channel_cannot_be_reached_because_the_peer_keeps_its_reserve():
    assert plan_pushes(TOPOLOGY, half_and_half(TOPOLOGY), TOPOLOGY.start_balances_msat()) is None


def test_the_initiator_keeps_reserve_and_fee_buffer_to_the_satoshi():
    assert plan_pushes(TOPOLOGY, balances(500_000_000), balances(INITIATOR_KEEPS)) is not None
    assert plan_pushes(TOPOLOGY, balances(500_000_000), balances(INITIATOR_KEEPS - 1000)) is None


def test_amounts_above_the_largest_htlc_are_split():
    small = Policy(max_htlc_msat=100_000_000)
    channel = Channel(
        initiator="a", peer="b", capacity_sat=1_000_000, policies=ChannelPolicies(initiator=small, peer=small)
    )
    topology = Topology(nodes=("a", "b"), channels=(channel,))
    have = np.array([[900_000_000, 96_530_000]])
    want = np.array([[649_999_999, 346_530_001]])
    plans = plan_pushes(topology, have, want)
    assert len(plans[0]) == 3
    assert (carried_out(topology, have, plans) == want).all()


def test_a_policy_that_allows_but_tiny_htlcs_leaves_balances_to_a_snapshot():
    tiny = ChannelPolicies(initiator=Policy(min_htlc_msat=1, max_htlc_msat=1), peer=Policy())
    channel = Channel(initiator="a", peer="b", capacity_sat=1_000_000, policies=tiny)
    topology = Topology(nodes=("a", "b"), channels=(channel,))
    have = half_and_half(topology)
    moved = np.array([[100_000_000, -100_000_000]])
    assert plan_pushes(topology, have, have - moved) is None
    assert plan_pushes(topology, have, have + moved) is not None
