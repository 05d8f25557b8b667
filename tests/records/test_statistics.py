"""Running statistics: they count, and they add up."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.payments import FailureReason, RebalanceReason
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart
from lnsim_gym.records.statistics import RunningStatistics
from tests.records.ledger import FIVE, START, a_step, payments, rebalanced


def counted(*steps):
    running = RunningStatistics(FIVE)
    for step in steps:
        running.stepped(step)
    return running.statistics()


def test_every_figure_is_counted_and_none_stays_at_zero():
    running = RunningStatistics(FIVE)
    running.episode_started(
        EpisodeStart(episode=0, seed=11, start_balances_msat=FIVE.start_balances_msat(), timestamp=START)
    )
    for step in range(2):
        running.stepped(a_step(step))
    running.episode_ended(
        EpisodeEnd(episode=0, steps=2, timestamp=START + timedelta(seconds=60), backend_error="BackendLost: eve")
    )
    statistics = running.statistics()
    fee_msat = int(a_step().outcomes.fee_msat.sum())
    assert (statistics.episodes, statistics.steps, statistics.runtime_s) == (1, 2, 60.0)
    assert (statistics.payments, statistics.succeeded, statistics.failures) == (6, 4, {"NO_ROUTE": 2})
    assert statistics.success_rate == pytest.approx(4 / 6)
    assert statistics.payments_per_minute == 6.0
    assert (statistics.volume_msat, statistics.fees_msat) == (17_000_246, 2 * fee_msat)
    assert (statistics.rebalances, statistics.rebalances_applied) == (2, 2)
    assert statistics.rebalance_volume_msat == 100_000_000
    assert statistics.backend_errors == 1
    alice = statistics.nodes["alice"]
    carol = statistics.nodes["carol"]
    assert (alice.sent_msat, alice.received_msat, alice.fees_paid_msat) == (14_000_246, 0, 2 * fee_msat)
    assert (carol.sent_msat, carol.received_msat) == (0, 17_000_246)
    assert (alice.net_flow_msat, carol.net_flow_msat) == (-14_000_246, 17_000_246)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(FIVE.nodes), st.sampled_from(FIVE.nodes), st.integers(1, 10**9), st.booleans())
    )
)
def test_what_the_nodes_sent_and_received_adds_up_to_the_volume(rows):
    batch, outcomes = payments(*((a, b, msat, [((0,), msat)] if settled else []) for a, b, msat, settled in rows))
    statistics = counted(dataclasses.replace(a_step(), batch=batch, outcomes=outcomes))
    nodes = statistics.nodes.values()
    assert sum(node.sent_msat for node in nodes) == statistics.volume_msat
    assert sum(node.received_msat for node in nodes) == statistics.volume_msat
    assert sum(node.net_flow_msat for node in nodes) == 0
    assert statistics.volume_msat == sum(msat for _, _, msat, settled in rows if settled)
    assert statistics.succeeded + sum(statistics.failures.values()) == statistics.payments == len(rows)


@given(settled=st.lists(st.lists(st.booleans(), max_size=4), max_size=5))
def test_consecutive_failures_are_those_since_the_last_success(settled):
    steps = []
    for flags in settled:
        batch, outcomes = payments(*(("alice", "bob", 5, [((0,), 5)] if flag else []) for flag in flags))
        steps.append(dataclasses.replace(a_step(), batch=batch, outcomes=outcomes))
    everything = [flag for flags in settled for flag in flags]
    expected = 0
    for flag in everything:
        expected = 0 if flag else expected + 1
    assert counted(*steps).consecutive_failures == expected


def test_refused_rebalances_count_as_asked_for_and_no_ops_not_at_all():
    refused = dataclasses.replace(
        a_step(), interventions=(rebalanced(reason=RebalanceReason.TEMPORARY_CHANNEL_FAILURE),)
    )
    idle = dataclasses.replace(a_step(), interventions=())
    statistics = counted(refused, idle)
    assert (statistics.rebalances, statistics.rebalances_applied, statistics.rebalance_volume_msat) == (1, 0, 0)


def test_failures_are_told_apart_by_their_reason():
    step = a_step()
    outcomes = dataclasses.replace(
        step.outcomes,
        succeeded=np.zeros(3, np.bool_),
        failure_reason=np.array([FailureReason.NO_ROUTE, FailureReason.INSUFFICIENT_BALANCE, FailureReason.NO_ROUTE]),
    )
    statistics = counted(dataclasses.replace(step, outcomes=outcomes))
    assert statistics.failures == {"NO_ROUTE": 2, "INSUFFICIENT_BALANCE": 1}


def test_a_run_without_events_has_rates_of_zero():
    statistics = counted()
    assert (statistics.success_rate, statistics.payments_per_minute, statistics.runtime_s) == (0.0, 0.0, 0.0)
