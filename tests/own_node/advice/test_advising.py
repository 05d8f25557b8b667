"""Advice on a node in a small market that is known, which the advice is not told of but through its environments."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.advice import advising
from lnsim_gym.own_node.advice.advising import Terms, advise
from lnsim_gym.own_node.advice.board import Board
from lnsim_gym.own_node.advice.changes import LEVERS, Closing, Refill, Repricing
from lnsim_gym.own_node.advice.proposals import refills
from lnsim_gym.own_node.advice.text import advice_sentences, change_rows, command_lines, left_rows
from lnsim_gym.own_node.advice.trials import try_decisions
from lnsim_gym.own_node.following.noticing import found_done
from lnsim_gym.own_node.following.record import Given, Taken
from lnsim_gym.own_node.following.text import taken_sentence
from lnsim_gym.own_node.reading.history import DAY_NS, Refills
from lnsim_gym.tasks.operator.ledger import POLICY_NUMBERS
from tests.own_node.worlds import NOW_NS, network, own_node, worlds

pytestmark = pytest.mark.slow  # what it is made of takes a minute to be compiled

CHEAP, FAIR = network(5), network(400)
TERMS = Terms(days=3, draws=8)


@pytest.fixture(scope="module")
def cheap():
    """A node that sells far too cheap, one of its channels dead and one offline."""
    return own_node(CHEAP, dead=(5,), inactive=(0,))


@pytest.fixture(scope="module")
def advice(cheap):
    return advise(cheap, worlds(CHEAP), TERMS)


def test_prices_far_too_low_are_told_to_rise_and_that_pays(cheap, advice):
    repriced = [one for one in advice.advised if isinstance(one.change, Repricing)]
    assert repriced
    assert all(one.change.to["fee_rate_ppm"] > 5 and one.gain.low > 0 for one in repriced)
    assert [one.gain.sat_per_day for one in repriced] == sorted(
        (one.gain.sat_per_day for one in repriced), reverse=True
    )
    problem = worlds(CHEAP)(0, least_change=0.0)
    board = Board(cheap, problem)
    decisions = np.stack([board.decision(()), board.decision([one.change for one in repriced])])
    gains = [np.diff(try_decisions(problem, decisions, 3, seed).net_sat)[0] for seed in range(20)]
    assert np.mean(gains) / 3 > advice.together.low > 0  # on days that the advice has not seen


def test_what_is_left_and_what_is_dead_has_its_reason(cheap, advice):
    (closing,) = [one for one in advice.advised if isinstance(one.change, Closing)]
    assert closing.change.chan_id == cheap.channels[5].number
    assert closing.commands == (f"lncli closechannel --funding_txid {5:064x} --output_index 1",)
    assert "no forward for 30 days" in closing.change.why
    lines = [*command_lines(advice)]
    assert all(
        line.startswith(("# ", "lncli updatechanpolicy ", "lncli payinvoice ")) for line in lines
    )  # to be pasted
    number = advice.advised.index(closing) + 1
    assert lines[-1] == f"# {number}: {closing.commands[0]}"
    told = {one.chan_ids: one.why for one in advice.left}
    assert told[cheap.channels[0].number,] == "the peer is offline"
    touched = {chan_id for one in advice.advised for chan_id in one.change.chan_ids}
    assert touched.isdisjoint(chan_id for chan_ids in told for chan_id in chan_ids)
    assert touched | {chan_id for chan_ids in told for chan_id in chan_ids} == {one.number for one in cheap.channels}


def test_a_young_channel_is_not_called_dead(cheap):
    newest = max(one.chan_id for one in CHEAP.channels)
    edges = [
        msgspec.structs.replace(one, chan_id=newest + (1 << 40)) if one.chan_id == cheap.channels[5].number else one
        for one in CHEAP.channels
    ]
    young = msgspec.structs.replace(CHEAP, channels=tuple(edges))
    advice = advise(own_node(young, dead=(5,)), worlds(young), dataclasses.replace(TERMS, draws=4))
    assert not [one for one in advice.advised if isinstance(one.change, Closing)]


def test_its_forecast_holds_what_the_same_days_bring(cheap):
    advice = advise(cheap, worlds(CHEAP), dataclasses.replace(TERMS, draws=38))
    problem = worlds(CHEAP)(0)
    idle = Board(cheap, problem).decision(())[None]
    earned_sat = np.array([try_decisions(problem, idle, 3, seed).earned_sat[0] for seed in range(60)])
    low, *_, high = advice.forecast.left_sat
    inside = (earned_sat >= low) & (earned_sat <= high)
    assert inside.mean() >= 0.85  # 90 %, and wider as no past week tells otherwise
    assert high < 5 * earned_sat.max()
    assert [one.chan_id for one in advice.forecast.channels] == [one.number for one in cheap.channels]


def test_a_channel_that_only_the_graph_has_is_left(cheap):
    unlisted = dataclasses.replace(cheap, channels=cheap.channels[1:])
    board = Board(unlisted, worlds(CHEAP)(0))
    assert [held.is_active for held in board.channels] == [False, *[True] * 5]
    assert LEVERS == POLICY_NUMBERS


def test_no_change_brings_exactly_nothing(cheap):
    problem = worlds(CHEAP)(0, least_change=0.0)
    board = Board(cheap, problem)
    same = board.repricing(board.channels[1:2], {"fee_rate_ppm": 5})
    tried = try_decisions(problem, np.stack([board.decision(()), board.decision([same])]), 3, 1)
    assert tried.net_sat[0] == tried.net_sat[1]
    assert np.allclose(tried.channel_sat.sum(axis=1), tried.earned_sat, atol=0.01)


def test_an_agent_is_taken_at_its_word_and_tried_change_by_change(cheap):
    advice = advise(cheap, worlds(CHEAP), dataclasses.replace(TERMS, agent="static"))
    assert advice.agent == "static"
    for one in advice.advised:
        if isinstance(one.change, Repricing):
            assert one.change.to == {"fee_rate_ppm": 250, "fee_base_msat": 0} or one.change.to == {"fee_rate_ppm": 250}
            assert one.gain.low > 0
            assert one.change.why.startswith("static: ")


def test_what_was_lowered_lately_is_not_raised(cheap):
    board = Board(cheap, worlds(CHEAP)(0))
    held = [
        msgspec.structs.replace(one.priced, policy=msgspec.structs.replace(one.policy, fee_rate_ppm=50))
        for one in board.channels
    ]
    past = [(NOW_NS - DAY_NS, Repricing(peer="", channels=(one,), to={"fee_rate_ppm": 5})) for one in held]
    advice = advise(cheap, worlds(CHEAP), TERMS, past)
    assert not [one for one in advice.advised if isinstance(one.change, Repricing)]
    assert any("its fee_rate_ppm was lowered 1.0 days ago" in one.why for one in advice.left)
    assert advice.together is None
    assert advice.forecast.left_sat == advice.forecast.done_sat


def test_prices_that_no_forward_paid_are_said_to_be_of_the_graph(advice):
    repriced = [one.change for one in advice.advised if isinstance(one.change, Repricing)]
    assert repriced
    for change in repriced:  # all channels that are neither dead nor offline carried forwards at 50 ppm
        is_near = 50 / 1.5 <= change.to["fee_rate_ppm"] <= 75
        assert ("its forwards paid 50 ppm" in change.why) is not is_near


def test_what_was_raised_since_the_last_forward_is_not_raised_further():
    advice = advise(own_node(FAIR), worlds(FAIR), TERMS)  # forwards paid 50 ppm, not 400
    raised = [
        one for one in advice.advised if isinstance(one.change, Repricing) and one.change.to["fee_rate_ppm"] > 400
    ]
    assert {one.change.chan_ids[0] for one in raised} <= {own_node(FAIR).channels[0].number}
    assert any("its last forward still paid 50" in one.why for one in advice.left)


def test_refills_cost_less_than_they_sell_for_and_nothing_without_a_budget():
    node = own_node(FAIR)
    board = Board(node, worlds(FAIR)(0))
    sold_ppm = dict.fromkeys(board.places, 1_000.0)
    proposed = refills(board, sold_ppm)
    assert proposed
    for one in proposed:
        assert isinstance(one, Refill)
        assert one.limit_ppm <= 800
        back, leave = board.channels[board.places[one.chan_id]], board.channels[board.places[one.leave_chan_id]]
        assert back.local <= 0.2
        assert leave.local >= 0.6
        assert back.peer_key != leave.peer_key
    assert refills(board, dict.fromkeys(board.places)) == []
    for budget_sat in (0, 10**6):
        advice = advise(node, worlds(FAIR), dataclasses.replace(TERMS, draws=4, budget_sat=budget_sat))
        made = [one.change for one in advice.advised if isinstance(one.change, Refill)]
        assert not made or budget_sat
        assert sum(one.limit_sat for one in made) <= budget_sat


def test_a_budget_that_no_refill_is_worth_is_said(cheap, monkeypatch):
    monkeypatch.setattr(advising, "refills", lambda *_: [])
    told = advise(cheap, worlds(CHEAP), dataclasses.replace(TERMS, draws=4, budget_sat=500))
    assert any(note.startswith("No refill is worth trying") and "500 sat" in note for note in told.notes)


def test_what_pays_on_average_but_in_too_few_draws_is_left(cheap, advice, monkeypatch):
    assert all(one.gain.ahead_share >= advising.LEAST_AHEAD for one in advice.advised if one.gain is not None)
    assert all(one.gain.ahead + one.gain.behind <= TERMS.draws for one in advice.advised if one.gain is not None)
    monkeypatch.setattr(advising, "LEAST_AHEAD", 1.1)
    told = advise(cheap, worlds(CHEAP), TERMS)
    assert [one for one in told.advised if one.gain is not None] == []
    assert any("more in " in one.why for one in told.left)


def test_another_seed_turns_no_advice_round(cheap):
    told = [advise(cheap, worlds(CHEAP), Terms(seed=seed)) for seed in (0, 1)]
    once, again = (
        {one.change.chan_ids: one.change.to["fee_rate_ppm"] > 5 for one in each.advised if one.gain is not None}
        for each in told
    )
    assert len(once.keys() & again.keys()) >= len(once.keys() | again.keys()) / 2
    assert all(again[chan_ids] == is_raised for chan_ids, is_raised in once.items() if chan_ids in again)


def test_it_reads_in_a_minute_and_strangers_cannot_write_on_the_terminal(cheap):
    hostile = "\x1b[31m[bold]evil[/bold]\u202e; rm -rf ~"
    channels = tuple(msgspec.structs.replace(one, peer_alias=hostile) for one in cheap.channels)
    advice = advise(dataclasses.replace(cheap, channels=channels), worlds(CHEAP), dataclasses.replace(TERMS, draws=4))
    text = str([change_rows(advice), left_rows(advice), advice_sentences(advice), [*command_lines(advice)]])
    assert not any(mark in text for mark in "\x1b\u202e")
    assert not any("rm -rf" in line for line in command_lines(advice))
    assert "evil" in text
    taken = Taken(time_ns=1, advice_ns=1, change=advice.advised[0].change, result="done", said="\x1b[2J")
    assert "\x1b" not in taken_sentence(taken)
    assert len(change_rows(advice)) + len(left_rows(advice)) <= len(cheap.channels)


def test_what_was_done_by_hand_is_noticed(cheap, advice):
    changes = [one.change for one in advice.advised if isinstance(one.change, Repricing)]
    given = Given(advice=advice)
    later = dataclasses.replace(cheap, imported_ns=NOW_NS + DAY_NS)
    problem = worlds(CHEAP)(0)
    assert found_done(later, Board(later, problem), [given]) == []
    board = Board(later, problem)
    board.channels = [
        held._replace(policy=changes[0].after(held.priced)) if held.chan_id in changes[0].chan_ids else held
        for held in board.channels
    ]
    (noticed,) = found_done(later, board, [given])
    assert (noticed.change, noticed.result, noticed.time_ns) == (changes[0], "noticed", later.imported_ns)
    assert found_done(later, board, [given, noticed]) == []
    assert found_done(cheap, board, [given]) == []  # at the same import


def test_a_refill_made_by_hand_is_noticed(cheap, advice):
    board = Board(cheap, worlds(CHEAP)(0))
    refill = board.refill(board.channels[1], board.channels[2], 50_000, 20)
    with_refill = msgspec.structs.replace(advice, advised=(msgspec.structs.replace(advice.advised[0], change=refill),))
    rows = [(NOW_NS + 5, refill.leave_chan_id, refill.chan_id, 50_000_000, 9_000)]
    later = dataclasses.replace(cheap, imported_ns=NOW_NS + DAY_NS, refills=Refills.of(rows))
    (noticed,) = found_done(later, board, [Given(advice=with_refill)])
    assert noticed.change == refill


@pytest.mark.parametrize("wrong", [{"days": 0}, {"draws": 1}, {"budget_sat": -1.0}, {"days": float("nan")}])
def test_terms_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected days in 0"):
        Terms(**wrong)
