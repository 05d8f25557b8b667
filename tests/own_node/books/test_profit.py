"""A node's books, against sums made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node import book
from lnsim_gym.own_node.books.text import sentences
from tests.own_node.exports import (
    BERT,
    CLEO,
    GONE,
    REFILLS,
    channel,
    forward,
    imported,
    refill,
)


@pytest.fixture
def node(tmp_path):
    return imported(tmp_path)


def test_books_are_what_a_hand_makes_of_the_exports(node):
    books = book(node, days=30)
    bert, cleo, gone = (next(one for one in books.channels if one.chan_id == number) for number in (BERT, CLEO, GONE))
    assert (bert.forwards_out, bert.out_msat, bert.earned_msat) == (3, 300_000_000, 110_000)
    assert (bert.refilled_msat, bert.refill_fee_msat, bert.refill_ppm) == (200_000_000, 50_000, 250.0)
    # It holds 100,000 sat now: 200,000 after the refill of 200,000, 100,000 of which were there before.
    # The sale of 150,000 took those and 50,000 of the refill, with a third of its fee; the last one took 50,000 more.
    assert (bert.sold_msat, bert.sold_fee_msat, bert.sold_cost_msat) == (100_000_000, 50_000, 25_000)
    assert bert.unsold_msat == 100_000_000
    assert bert.chain_sat == 300
    assert bert.net_msat == 110_000 - 50_000 - 300_000
    assert (cleo.forwards_in, cleo.sourced_msat, cleo.earned_msat, cleo.net_msat) == (3, 110_000, 1_000, 1_000)
    assert (gone.state, gone.sourced_msat, gone.net_msat) == ("closed", 1_000, 0)
    assert (books.earned_msat, books.refill_fee_msat, books.chain_sat) == (111_000, 50_000, 340)
    assert books.net_msat == 111_000 - 50_000 - 340_000
    assert books.net_msat == sum(one.net_msat for one in books.channels) - 1000 * books.other_chain_sat
    assert books.yearly == pytest.approx(365 / 30 * -279 / 800_000)


def test_days_add_up_to_the_whole(node):
    books = book(node, days=30)
    daily = np.array(books.daily_msat)
    assert daily.shape == (30, 3)
    assert daily.sum(axis=0).tolist() == [books.earned_msat, books.refill_fee_msat, 1000 * books.chain_sat]
    assert daily[-4:, 0].tolist() == [30_000, 1_000, 0, 0]


def test_a_short_history_is_booked_from_its_begin(node):
    assert book(node, days=365).days == pytest.approx(40)
    assert book(node, days=5).earned_msat == 31_000


def test_channels_without_forwards_are_idle_and_then_dead(tmp_path):
    quiet = channel("cleo", CLEO, 700_000)
    history = [forward(40, BERT, GONE, 10_000, 5), forward(9, BERT, GONE, 10_000, 5)]
    channels = {"channels": [channel("bert", BERT, 100_000), quiet]}
    books = book(imported(tmp_path, history={"forwarding_events": history}, channels=channels))
    states = {one.peer: one.state for one in books.channels}
    assert states == {"bert": "idle", "cleo": "dead", "": "closed"}
    assert any(
        "2 channels without a forward for a week, 1 of them for a month: 800,000 sat" in one for one in sentences(books)
    )


def test_refills_of_channels_that_were_closed_count(tmp_path):
    refills = [*REFILLS, refill(9, CLEO, GONE + 1, 1_000, 777)]
    books = book(imported(tmp_path, payments={"payments": refills}))
    assert books.refill_fee_msat == 50_777 == sum(paid for _, paid, _ in books.daily_msat)


@pytest.mark.parametrize("days", [float("nan"), float("-inf"), -1.0, 0.0, 1e-9])
def test_days_that_are_none_are_refused(node, days):
    with pytest.raises(ConfigError, match="expected days above 0"):
        book(node, days)


def test_endless_days_are_all_days(node):
    assert book(node, float("inf")) == book(node, 1e300) == book(node, 365)


def test_money_is_conserved_whatever_the_history(tmp_path):
    rng = np.random.default_rng(5)
    ends = rng.choice([BERT, CLEO, GONE], (500, 2))
    history = [
        forward(days, int(one), int(other), int(sat), int(fee))
        for days, (one, other), sat, fee in zip(
            rng.uniform(0, 60, 500), ends, rng.integers(1, 90_000, 500), rng.integers(0, 5_000, 500), strict=True
        )
    ]
    books = book(imported(tmp_path, history={"forwarding_events": history}), days=60)
    assert (
        books.earned_msat
        == sum(int(one["fee_msat"]) for one in history)
        == sum(one.sourced_msat for one in books.channels)
    )
    for one in books.channels:
        assert 0 <= one.sold_cost_msat <= one.refill_fee_msat
        assert one.sold_msat + one.unsold_msat <= one.refilled_msat
        assert 0 <= one.sold_fee_msat <= one.earned_msat
