"""What a route carries, from LND's ``newRoute``, ``ComputeFee`` and ``InboundFee.CalcFee`` by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.routes import earned_msat, hop_amounts_msat, settled_hops
from lnsim_gym.payments import MAX_ROUTE_HOPS, PaymentOutcomes

FREE = Policy(fee_base_msat=0, fee_rate_ppm=0)
AMOUNT_MSAT = 10_000_001


def line_of_three(inbound: Policy, outbound: Policy) -> Topology:
    """A sender, a forwarder that charges for what it receives and what it sends, and a receiver."""
    channels = (
        Channel(
            initiator="a", peer="b", capacity_sat=1_000_000, policies=ChannelPolicies(initiator=FREE, peer=inbound)
        ),
        Channel(
            initiator="b",
            peer="c",
            capacity_sat=1_000_000,
            policies=ChannelPolicies(initiator=outbound, peer=Policy(inbound_fee_base_msat=5000)),
        ),
    )
    return Topology(nodes=("a", "b", "c"), channels=channels)


@pytest.mark.parametrize(
    ("inbound", "outbound", "fee_msat"),
    [
        ((0, 0), (1000, 100), 2000),
        ((500, 0), (1000, 100), 2500),
        ((0, 77), (1000, 100), 2000 + 770),  # 10,002,001 * 77 / 10^6 = 770.15
        ((-300, -77), (1000, 100), 2000 - 300 - 770),  # rounded toward zero
        ((-5000, 0), (1000, 100), 0),  # never below nothing
        ((0, -(2**31)), (1000, 100), 0),
        ((0, 2**31 - 1), (0, 0), 10 * AMOUNT_MSAT),  # capped at ten times the amount
        ((0, 0), (0, 2**32 - 1), AMOUNT_MSAT * (2**32 - 1) // 10**6),
    ],
)
def test_a_forwarder_takes_its_outbound_and_inbound_fee(inbound, outbound, fee_msat):
    topology = line_of_three(
        Policy(inbound_fee_base_msat=inbound[0], inbound_fee_rate_ppm=inbound[1]),
        Policy(fee_base_msat=outbound[0], fee_rate_ppm=outbound[1]),
    )
    assert hop_amounts_msat(topology, (0, 2), AMOUNT_MSAT) == [AMOUNT_MSAT + fee_msat, AMOUNT_MSAT]
    many = hop_amounts_msat(topology, (0, 2), np.array([AMOUNT_MSAT, 0]))
    assert many[0][0] == AMOUNT_MSAT + fee_msat
    assert hop_amounts_msat(topology, (2,), AMOUNT_MSAT) == [AMOUNT_MSAT]


def test_products_are_cut_to_64_bits_as_in_lnd():
    topology = line_of_three(Policy(), Policy(fee_base_msat=2**31 - 1, fee_rate_ppm=2**31 - 1))
    amount_msat = 99_000_000_000
    fee_msat = 2**31 - 1 + amount_msat * (2**31 - 1) % 2**64 // 10**6
    assert hop_amounts_msat(topology, (0, 2), amount_msat)[0] == amount_msat + fee_msat
    assert hop_amounts_msat(topology, (0, 2), np.array([amount_msat]))[0].tolist() == [amount_msat + fee_msat]


@pytest.mark.parametrize(("rate_ppm", "fee_msat"), [(10**7, 0), (-(10**7), (2**64 - 10**19) // 10**6)])
def test_products_of_inbound_fees_are_cut_to_64_signed_bits_as_in_lnd(rate_ppm, fee_msat):
    topology, amount_msat = line_of_three(Policy(inbound_fee_rate_ppm=rate_ppm), FREE), 10**12
    assert hop_amounts_msat(topology, (0, 2), amount_msat)[0] == amount_msat + fee_msat
    assert hop_amounts_msat(topology, (0, 2), np.array([amount_msat]))[0].tolist() == [amount_msat + fee_msat]


@pytest.mark.parametrize(("given", "fee_msat"), [(None, 2000), ([10_003_500, 10_000_001], 3499)])
def test_settled_parts_carry_what_their_policies_ask_for_or_what_outcomes_say(given, fee_msat):
    topology = line_of_three(Policy(), Policy(fee_base_msat=1000, fee_rate_ppm=100))
    part_route = np.full((2, 1, MAX_ROUTE_HOPS), -1, np.int32)
    part_route[1, 0, :2] = 0, 2
    part_hop_msat = None
    if given is not None:
        part_hop_msat = np.zeros((2, 1, MAX_ROUTE_HOPS), np.int64)
        part_hop_msat[1, 0, :2] = given
    outcomes = PaymentOutcomes(
        succeeded=np.array([False, True]),
        failure_reason=np.array([2, 0], np.int32),
        attempts=np.array([1, 1], np.int32),
        fee_msat=np.array([0, fee_msat]),
        parts=np.array([0, 1], np.int32),
        part_amount_msat=np.array([[0], [AMOUNT_MSAT]]),
        part_route=part_route,
        duration_s=np.zeros(2),
        part_hop_msat=part_hop_msat,
    )
    assert list(settled_hops(topology, outcomes, 0)) == []
    assert list(settled_hops(topology, outcomes, 1)) == [((0, 2), [AMOUNT_MSAT + fee_msat, AMOUNT_MSAT])]
    assert earned_msat(topology, outcomes).tolist() == [0, fee_msat, 0]
