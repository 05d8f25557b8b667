"""The reset ladder on real nodes."""

from __future__ import annotations

import numpy as np
import pytest

from lnsim_gym.errors import BackendError, ConfigError
from lnsim_gym.payments import RebalanceReason
from tests.backends.lnd.live import batch_of, half_and_half, random_batch

pytestmark = pytest.mark.lnd


def test_nothing_is_done_when_the_balances_are_right(backend, middle):
    report = backend.reset(middle)
    assert report.rung == "none"
    assert report.seconds < 5


def test_payments_bring_balances_back_to_the_msat(backend, topology, middle, reported_sat):
    backend.pay(random_batch(topology, np.random.default_rng(3), 12, 300_000_000))
    assert not (backend.balances_msat() == middle).all()
    assert backend.reset(middle).rung == "payments"
    assert (backend.balances_msat() == middle).all()
    assert (reported_sat(backend) == middle // 1000).all()


def test_differences_below_the_smallest_htlc_are_paid_there_and_back(backend, middle):
    wanted = middle + np.array([[7, -7], [-999, 999], [1, -1], [0, 0], [500, -500], [-1, 1], [0, 0]])
    assert backend.reset(wanted).rung == "payments"
    assert (backend.balances_msat() == wanted).all()


def test_the_fresh_state_comes_back_from_the_snapshot_again_and_again(backend, topology, middle, reported_sat):
    fresh = topology.start_balances_msat()
    for _ in range(2):
        assert backend.reset(fresh).rung == "snapshot"
        assert (reported_sat(backend) == fresh // 1000).all()
        assert backend.rebalance((0,), 250_000_000).reason is RebalanceReason.NONE
    assert backend.reset(middle).rung == "payments"


def test_balances_that_only_a_new_channel_can_have_make_a_new_network(make_backend, two_nodes, reported_sat):
    backend = make_backend(two_nodes)
    backend.open()
    before = backend.endpoints()["peer"].pubkey
    total = int(two_nodes.owned_total_msat[0])
    wanted = np.array([[10_000_000, total - 10_000_000]])
    assert backend.reset(wanted).rung == "rebuild"
    assert backend.endpoints()["peer"].pubkey != before
    assert (reported_sat(backend) == wanted // 1000).all()
    assert (backend.balances_msat() == wanted).all()


def test_balances_near_a_reserve_are_reached_to_the_msat(make_backend, triangle):
    """An initiator that can hardly push, and peers with less than the smallest HTLC; and then the policies are back."""
    backend = make_backend(triangle)
    total = triangle.owned_total_msat
    reserve = 10_000_000
    for first in (reserve + 1, reserve + 2_000_500), (int(total[0]) - 1, int(total[1]) - 999):
        initiators = np.array([*first, total[2] // 2])
        wanted = np.stack([initiators, total - initiators], axis=1)
        assert backend.reset(wanted).rung == "rebuild"
        assert (backend.balances_msat() == wanted).all()
        assert not backend.pay(batch_of((0, 1, 999))).succeeded.any()


def test_balances_that_no_channel_can_have_are_an_error(make_backend, two_nodes):
    backend = make_backend(two_nodes)
    total = int(two_nodes.owned_total_msat[0])
    with pytest.raises(BackendError, match=r"must lie between 10,000 sat, the least"):
        backend.reset(np.array([[5_000_000, total - 5_000_000]]))
    assert backend.reset(two_nodes.start_balances_msat()).rung in {"none", "rebuild", "snapshot"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((6, 2), np.int64), r"expected integer balances of shape \(7, 2\), got int64 \(6, 2\)"),
        (np.zeros((7, 2), np.int64), r"balances of channels\[0\] must be >= 0 and add up to 996,530,000 msat"),
        (np.full((7, 2), -1, np.int64), r"balances of channels\[0\] must be >= 0 and add up to 996,530,000 msat"),
    ],
)
def test_balances_that_do_not_fit_the_channels_are_refused(backend, wrong, message):
    with pytest.raises(ConfigError, match=message):
        backend.reset(wrong)


def test_every_node_forgets_what_it_learned(backend, topology, middle, lncli):
    backend.rebalance((0,), 10_000_000)
    assert lncli(backend.endpoints()["alice"], "querymc")["pairs"]
    backend.reset(half_and_half(topology))
    assert not lncli(backend.endpoints()["alice"], "querymc")["pairs"]
