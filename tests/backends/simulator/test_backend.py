"""The simulator behind the backend interface, and LND's rules worked out by hand."""

import itertools

import numpy as np
import pytest

from lnsim_gym.backends.simulator import SimulatorBackend
from lnsim_gym.errors import ConfigError, InvalidAction
from lnsim_gym.network import Channel, ChannelPolicies, Policy, Topology
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import FailureReason, PaymentBatch, PaymentOptions, RebalanceReason

SAT = 1000
OWNED_SAT = 996_530
"""What both sides of a 1,000,000 sat channel own together."""


def line(*initiator_sat, max_parts=1, fee_limit_ppm=50_000, mission_control="per_payment", payment_ms=100):
    """Nodes a, b, c, ... in a row; each opened the channel to the next and keeps that much of it."""
    names = tuple("abcdefgh"[: len(initiator_sat) + 1])
    channels = tuple(
        Channel(initiator=one, peer=other, capacity_sat=1_000_000) for one, other in itertools.pairwise(names)
    )
    return network(
        Topology(nodes=names, channels=channels),
        initiator_sat,
        max_parts=max_parts,
        fee_limit_ppm=fee_limit_ppm,
        mission_control=mission_control,
        payment_ms=payment_ms,
    )


def network(topology, initiator_sat, *, payment_ms=100, **options):
    backend = SimulatorBackend(topology, PaymentOptions(**options), payment_ms=payment_ms)
    own = SAT * np.array(initiator_sat, np.int64)
    backend.reset(np.stack([own, backend.topology.owned_total_msat - own], axis=1))
    return backend


def pay(backend, *payments):
    """Pay ``(sender, receiver, msat)`` each and return the outcomes."""
    index = backend.topology.node_index
    columns = [[index[p[0]] for p in payments], [index[p[1]] for p in payments], [p[2] for p in payments]]
    return backend.pay(PaymentBatch(*(np.array(c, np.int64) for c in columns), np.zeros(len(payments), np.int64)))


def reason(outcomes):
    return FailureReason(int(outcomes.failure_reason[0]))


def test_an_initiator_can_send_its_balance_less_14_530_sat_and_not_one_msat_more():
    assert pay(line(500_000), ("a", "b", SAT * (500_000 - 14_530))).succeeded[0]
    assert reason(pay(line(500_000), ("a", "b", SAT * (500_000 - 14_530) + 1))) == FailureReason.INSUFFICIENT_BALANCE


def test_the_other_side_can_send_its_balance_less_its_reserve_and_not_one_msat_more():
    peer_sat = OWNED_SAT - 500_000
    assert pay(line(500_000), ("b", "a", SAT * (peer_sat - 10_000))).succeeded[0]
    assert reason(pay(line(500_000), ("b", "a", SAT * (peer_sat - 10_000) + 1))) == FailureReason.INSUFFICIENT_BALANCE


def test_an_initiator_at_its_reserve_lets_the_other_side_send_dust_only():
    assert pay(line(10_430), ("b", "a", 400 * SAT)).succeeded[0]
    assert pay(line(10_429), ("b", "a", 354 * SAT - 1)).succeeded[0]
    assert reason(pay(line(10_429), ("b", "a", 354 * SAT))) == FailureReason.INSUFFICIENT_BALANCE


def test_a_forwarder_is_held_to_its_own_limits_and_the_payment_fails_after_one_attempt():
    enough = line(900_000, 200_000)
    assert pay(enough, ("a", "c", SAT * (200_000 - 14_530))).succeeded[0]
    outcomes = pay(line(900_000, 200_000), ("a", "c", SAT * (200_000 - 14_530) + 1))
    assert (reason(outcomes), outcomes.attempts[0]) == (FailureReason.NO_ROUTE, 1)


def test_fees_are_priced_backward_from_the_receiver_and_only_forwarders_earn():
    backend = line(900_000, 500_000, 500_000)
    before = backend.balances_msat()
    outcomes = pay(backend, ("a", "d", 100_000 * SAT))
    second, third = (backend.topology.policies[c].initiator for c in (1, 2))
    to_third = 100_000 * SAT + third.fee_base_msat + 100_000 * SAT * third.fee_rate_ppm // 1_000_000
    to_second = to_third + second.fee_base_msat + to_third * second.fee_rate_ppm // 1_000_000
    assert outcomes.fee_msat[0] == to_second - 100_000 * SAT
    assert outcomes.part_route[0, 0, :4].tolist() == [0, 2, 4, -1]
    sent = before[:, 0] - backend.balances_msat()[:, 0]
    assert sent.tolist() == [to_second, to_third, 100_000 * SAT]


def test_a_route_dearer_than_the_fee_limit_is_no_route():
    assert reason(pay(line(900_000, 500_000, fee_limit_ppm=0), ("a", "c", 2_000 * SAT))) == FailureReason.NO_ROUTE


def test_the_sum_of_the_channels_decides_between_insufficient_balance_and_no_route():
    topology = Topology(
        nodes=("a", "b", "c"),
        channels=tuple(Channel(initiator="a", peer=peer, capacity_sat=1_000_000) for peer in ("b", "c")),
    )
    each = 100_000 - 14_530
    backend = network(topology, (100_000, 100_000))
    assert reason(pay(backend, ("a", "b", SAT * 2 * each + 1))) == FailureReason.INSUFFICIENT_BALANCE
    assert reason(pay(backend, ("a", "b", SAT * 2 * each))) == FailureReason.NO_ROUTE


def dear_hub_or_cheap_detour(saving_msat):
    """``a-h-z`` in two hops, or ``a-x-y-z`` in three; the detour's fees are lower by the saving."""
    fees = {("h", "z"): 200_000 + saving_msat, ("x", "y"): 100_000, ("y", "z"): 100_000}
    pairs = [("a", "h"), ("h", "z"), ("a", "x"), ("x", "y"), ("y", "z")]
    channels = tuple(
        Channel(
            initiator=one,
            peer=other,
            capacity_sat=1_000_000,
            policies=ChannelPolicies(
                initiator=Policy(fee_base_msat=fees.get((one, other), 0), fee_rate_ppm=0, time_lock_delta=24),
                peer=Policy(fee_base_msat=0, fee_rate_ppm=0, time_lock_delta=24),
            ),
        )
        for one, other in pairs
    )
    return network(Topology(nodes=("a", "h", "x", "y", "z"), channels=channels), [500_000] * 5)


@pytest.mark.parametrize(("saving_msat", "hops"), [(116_900, 2), (118_000, 3)])
def test_a_third_hop_must_save_117_sat_of_fees_on_500_sat(saving_msat, hops):
    assert pay(dear_hub_or_cheap_detour(saving_msat), ("a", "z", 500 * SAT)).hops[0] == hops


def test_senders_that_remember_shun_a_failed_pair_for_182_seconds():
    """The way's probability 0.95 * 0.6 * (1 - w) / (1 + w) must reach 0.01, with w = 2 ** (-age / 1 hour)."""
    for step_ms, attempts in ((182_200, 0), (182_300, 1)):
        backend = line(900_000, 100_000, mission_control="per_episode", payment_ms=step_ms)
        outcomes = pay(backend, *[("a", "c", 200_000 * SAT)] * 2)
        assert outcomes.attempts.tolist() == [1, attempts]


@pytest.mark.parametrize(("waited_ms", "attempts"), [(59_999, 0), (60_000, 1)])
def test_a_failure_at_a_higher_amount_is_ignored_within_a_minute_of_one_at_a_lower_amount(waited_ms, attempts):
    """While it is ignored, 150,000 sat count as failed; once it counts, only 200,000 sat and more do."""
    pairs = (("a", "b"), ("b", "c"), ("c", "a"))
    topology = Topology(
        nodes=("a", "b", "c"), channels=tuple(Channel(initiator=i, peer=p, capacity_sat=1_000_000) for i, p in pairs)
    )
    own_sat = (900_000, 50_000, OWNED_SAT - 20_000)
    backend = network(topology, own_sat, mission_control="per_episode", payment_ms=waited_ms)
    cycle = (0, 2, 4)
    assert backend.rebalance(cycle, 100_000 * SAT).failure_source_index == 1
    pay(backend, ("b", "a", 1_000 * SAT))  # lets time pass
    assert backend.rebalance(cycle, 200_000 * SAT).failure_source_index == 1
    assert pay(backend, ("a", "c", 150_000 * SAT)).attempts[0] == attempts


def test_senders_forget_before_each_payment_by_default():
    outcomes = pay(line(900_000, 100_000), *[("a", "c", 200_000 * SAT)] * 3)
    assert outcomes.attempts.tolist() == [1, 1, 1]


def test_a_reset_makes_senders_forget():
    backend = line(900_000, 100_000, mission_control="per_episode")
    assert pay(backend, ("a", "c", 200_000 * SAT)).attempts[0] == 1
    assert pay(backend, ("a", "c", 200_000 * SAT)).attempts[0] == 0
    backend.reset(backend.balances_msat())
    assert pay(backend, ("a", "c", 200_000 * SAT)).attempts[0] == 1


@pytest.mark.slow
def test_a_payment_larger_than_any_channel_arrives_in_two_parts():
    ends = tuple(Channel(initiator=hub, peer=end, capacity_sat=1_000_000) for hub in "bc" for end in "ad")
    backend = network(Topology(nodes=tuple("abcd"), channels=ends), [500_000] * 4, max_parts=16)
    outcomes = pay(backend, ("a", "d", 600_000 * SAT))
    assert outcomes.succeeded[0]
    assert (outcomes.parts[0], outcomes.part_amount_msat[0, :3].tolist()) == (2, [300_000 * SAT, 300_000 * SAT, 0])
    assert outcomes.fee_msat[0] > 0


@pytest.mark.slow
def test_an_amount_below_20_000_sat_is_never_split():
    ends = tuple(Channel(initiator=hub, peer=end, capacity_sat=1_000_000) for hub in "bc" for end in "ad")
    topology = Topology(nodes=tuple("abcd"), channels=ends)
    initiator_sat = [OWNED_SAT - 10_000 - 11_000, 500_000] * 2  # a can send 11,000 sat over each channel
    for amount_sat, parts in ((19_999, 0), (20_000, 2)):
        backend = network(topology, initiator_sat, max_parts=16)
        assert pay(backend, ("a", "d", amount_sat * SAT)).parts[0] == parts


@pytest.mark.slow
@pytest.mark.parametrize(("own_sat", "arrives"), [(215_390, True), (215_389, False)])
def test_each_part_in_flight_costs_the_initiator_860_sat_of_what_it_can_send(own_sat, arrives):
    """Two parts of 100,000 sat leave over one channel: 14,530 sat stay behind, and 860 more for the first part."""
    free = ChannelPolicies(**{end: Policy(fee_base_msat=0, fee_rate_ppm=0) for end in ("initiator", "peer")})
    pairs = (("a", "b"), ("b", "c"), ("b", "d"), ("c", "z"), ("d", "z"))
    channels = tuple(Channel(initiator=i, peer=p, capacity_sat=1_000_000, policies=free) for i, p in pairs)
    topology = Topology(nodes=("a", "b", "c", "d", "z"), channels=channels)
    backend = network(topology, (own_sat, 150_000, 150_000, 500_000, 500_000), max_parts=16)
    before = backend.balances_msat()
    outcomes = pay(backend, ("a", "z", 200_000 * SAT))
    assert (outcomes.succeeded[0], outcomes.parts[0]) == (arrives, 2 if arrives else 0)
    assert arrives or (backend.balances_msat() == before).all()


@pytest.mark.slow
def test_a_set_that_cannot_be_completed_fails_and_every_balance_is_as_before():
    ends = tuple(Channel(initiator=hub, peer=end, capacity_sat=1_000_000) for hub in "bc" for end in "ad")
    backend = network(Topology(nodes=tuple("abcd"), channels=ends), [500_000, 400_000, 500_000, 50_000], max_parts=16)
    before = backend.balances_msat()
    outcomes = pay(backend, ("a", "d", 600_000 * SAT))
    assert not outcomes.succeeded[0]
    assert outcomes.attempts[0] > 1
    assert (backend.balances_msat() == before).all()


def test_a_push_moves_the_amount_over_its_channel_without_fees():
    backend = line(500_000)
    result = backend.rebalance((0,), 1_000 * SAT)
    assert (result.applied_msat, result.fee_msat, result.reason) == (1_000 * SAT, 0, RebalanceReason.NONE)
    assert backend.balances_msat()[0, 0] == 499_000 * SAT


@pytest.mark.parametrize(
    ("amount_msat", "expected"),
    [
        (SAT * (500_000 - 14_530) + 1, RebalanceReason.INSUFFICIENT_LOCAL_BALANCE),
        (990_000_001, RebalanceReason.AMOUNT_OUT_OF_RANGE),
        (999, RebalanceReason.AMOUNT_OUT_OF_RANGE),
    ],
)
def test_a_push_that_the_channel_cannot_carry_is_refused_without_an_attempt(amount_msat, expected):
    backend = line(500_000)
    before = backend.balances_msat()
    result = backend.rebalance((0,), amount_msat)
    assert (result.applied_msat, result.reason, result.failure_source_index) == (0, expected, -1)
    assert (backend.balances_msat() == before).all()


def test_a_cycle_moves_balance_from_one_channel_of_a_node_to_another_for_a_fee():
    backend = SimulatorBackend(preset("default"))
    backend.reset(np.stack([backend.topology.owned_total_msat // 2] * 2, axis=1))
    names = ["alice", "bob", "eve", "alice"]
    route = tuple(backend.topology.direction(a, b) for a, b in itertools.pairwise(names))
    result = backend.rebalance(route, 50_000 * SAT)
    moved = (backend.balances_msat() - backend.topology.owned_total_msat[:, None] // 2).ravel()
    assert result.applied_msat == 50_000 * SAT
    assert moved[route[0]] == -(50_000 * SAT + result.fee_msat)
    assert moved[route[2] ^ 1] == 50_000 * SAT


def test_a_cycle_refused_by_a_forwarder_names_its_place_and_changes_nothing():
    backend = SimulatorBackend(preset("default"))
    halves = np.stack([backend.topology.owned_total_msat // 2] * 2, axis=1)
    route = tuple(backend.topology.direction(*pair) for pair in (("alice", "bob"), ("bob", "eve"), ("eve", "alice")))
    halves[route[1] // 2] = [20_000 * SAT, (OWNED_SAT - 20_000) * SAT]
    backend.reset(halves)
    result = backend.rebalance(route, 50_000 * SAT)
    assert (result.reason, result.failure_source_index) == (RebalanceReason.TEMPORARY_CHANNEL_FAILURE, 1)
    assert (backend.balances_msat() == halves).all()


@pytest.mark.parametrize("route", [(), (0, 4), (99,), (0, 2), (0,) * 30])
def test_a_route_that_leads_nowhere_is_refused(route):
    with pytest.raises(InvalidAction, match="a route"):
        SimulatorBackend(preset("default")).rebalance(route, 1000)


def test_balances_that_do_not_add_up_or_leave_no_reserve_are_refused():
    backend = SimulatorBackend(preset("default"))
    good = backend.topology.start_balances_msat()
    with pytest.raises(ConfigError, match=r"channels\[2\].*add up"):
        backend.reset(good + np.eye(7, 2, k=-2, dtype=np.int64))
    with pytest.raises(ConfigError, match=r"channels\[0\].*reserve"):
        backend.reset(good[:, ::-1])
    with pytest.raises(ConfigError, match="shape"):
        backend.reset(good.ravel())


def test_the_same_batches_give_the_same_outcomes_again():
    rng = np.random.default_rng(3)
    source = rng.integers(5, size=400)
    batch = PaymentBatch(
        source, (source + rng.integers(1, 5, size=400)) % 5, rng.integers(1, 400_000_000, size=400), source * 0
    )
    first, second = (SimulatorBackend(preset("default")) for _ in range(2))
    one = first.pay(batch)
    other = second.pay(batch)
    assert (one.part_route == other.part_route).all()
    assert (first.balances_msat() == second.balances_msat()).all()
