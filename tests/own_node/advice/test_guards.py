"""Each guard against the figures that it stands for."""

from __future__ import annotations

import msgspec
import pytest

from lnsim_gym.network import Policy
from lnsim_gym.own_node.advice.changes import Closing, Priced, Refill, Repricing
from lnsim_gym.own_node.advice.guards import beyond_gossip, over_budget, reverses, through_one_peer, too_dear, unproven
from lnsim_gym.own_node.reading.history import DAY_NS

NOW_NS = 1_700_000_000 * 10**9
REFILL = Refill(
    peer="bert",
    peer_key="02" + "b" * 64,
    chan_id=1,
    leave_chan_id=2,
    leave_key="02" + "c" * 64,
    local_sat=0,
    leave_local_sat=900_000,
    amount_sat=100_000,
    limit_sat=40,
)


def repricing(before, to, chan_id=1):
    held = Priced(chan_id=chan_id, point="", policy=Policy(fee_rate_ppm=before))
    return Repricing(peer="bert", channels=(held,), to={"fee_rate_ppm": to})


@pytest.mark.parametrize(("realised_ppm", "stands"), [(500.0, False), (499.0, True), (None, True)])
def test_a_refill_costs_at_most_80_percent_of_what_its_channel_sells_for(realised_ppm, stands):
    assert REFILL.limit_ppm == 400
    assert bool(too_dear(REFILL, realised_ppm)) is stands


def test_no_refill_has_both_ends_at_one_peer():
    assert through_one_peer(msgspec.structs.replace(REFILL, leave_key=REFILL.peer_key))
    assert not through_one_peer(REFILL)


@pytest.mark.parametrize(
    ("change", "former", "days_ago", "stands"),
    [
        (repricing(150, 100), repricing(100, 150), 6.9, True),
        (repricing(150, 100), repricing(100, 150), 7.1, False),
        (repricing(150, 200), repricing(100, 150), 1, False),
        (repricing(150, 100), repricing(100, 150, chan_id=5), 1, False),
        (REFILL, msgspec.structs.replace(REFILL, chan_id=2, leave_chan_id=1), 1, True),
        (REFILL, REFILL, 1, False),
        (REFILL, repricing(1, 2), 1, False),
    ],
)
def test_what_was_changed_is_not_turned_back_within_days(change, former, days_ago, stands):
    past = [(NOW_NS - round(days_ago * DAY_NS), former)]
    assert bool(reverses(change, past, NOW_NS)) is stands
    assert not reverses(change, past, NOW_NS, days=0)
    assert not reverses(change, [(NOW_NS, Closing(peer="", chan_id=1, point="", local_sat=0))], NOW_NS)


@pytest.mark.parametrize(
    ("to", "raised_days_ago", "last", "stands"),
    [
        (150, None, (5, 100), False),
        (150, None, (5, 96), False),  # as good as the price of now
        (150, None, (5, 50), True),  # raised by hand since
        (80, None, (5, 50), False),
        (150, None, None, False),
        (150, 3, (5, 100), True),  # it was 100 once before
        (150, 3, None, True),
        (150, 3, (1, 100), False),
        (150, 8, (9, 100), False),
    ],
)
def test_a_raise_waits_for_a_forward_that_pays_it(to, raised_days_ago, last, stands):
    ago = [] if raised_days_ago is None else [(NOW_NS - raised_days_ago * DAY_NS, repricing(60, 100))]
    paid = last and (NOW_NS - last[0] * DAY_NS, last[1])
    assert bool(unproven(repricing(100, to), ago, paid, NOW_NS)) is stands


@pytest.mark.parametrize(
    ("days_ago", "stands"),
    [
        ((), False),
        ((0, 0, 0), False),
        ((0, 0, 0, 0), True),
        ((1, 1, 1, 1), False),  # one came back in a day
        ((0.9, 0.9, 0.9, 0.9), True),
        ((5, 4, 3, 2, 1, 0, 0, 0), False),  # one a day leaves the burst whole
        ((1, 0, 0, 0, 0), True),
        ((0, 0, 0, 0, 0, 0), True),
    ],
)
def test_gossip_carries_four_changes_at_once_and_then_one_a_day(days_ago, stands):
    announced = [NOW_NS - round(days * DAY_NS) for days in days_ago]
    assert bool(beyond_gossip(announced, NOW_NS)) is stands


@pytest.mark.parametrize(("spent_sat", "budget_sat", "stands"), [(0, 40, False), (0, 39.9, True), (61, 100, True)])
def test_no_more_is_spent_than_may_be(spent_sat, budget_sat, stands):
    assert bool(over_budget(REFILL, spent_sat, budget_sat)) is stands
