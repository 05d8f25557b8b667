"""Traces: what is written can be read, and what is wrong in a file is reported with its line."""

import dataclasses
import json
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from lnsim_gym.errors import RecordError
from lnsim_gym.network.generators import ring
from lnsim_gym.payments import PaymentOptions, RebalanceReason
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart
from lnsim_gym.records.lines import payment_record
from lnsim_gym.records.trace import TraceWriter, read_trace
from tests.records.ledger import FIVE, START, a_step, payments, rebalanced


def begin(writer, episode=0):
    writer.episode_started(
        EpisodeStart(episode=episode, seed=11, start_balances_msat=FIVE.start_balances_msat(), timestamp=START)
    )


@pytest.fixture
def path(tmp_path):
    """A trace of two steps and an end."""
    file = tmp_path / "trace.jsonl"
    with TraceWriter(
        file,
        FIVE,
        PaymentOptions(max_parts=1),
        backend="lnd",
        environment="X-v0",
        config={"a": 1},
        versions={"lnd": "v1"},
    ) as writer:
        begin(writer)
        writer.stepped(a_step(0))
        writer.stepped(a_step(1))
        writer.episode_ended(EpisodeEnd(episode=0, steps=2, timestamp=START + timedelta(seconds=60)))
    return file


def edit(path, line, change):
    """Change one line of a trace, counted from 1."""
    lines = path.read_text().splitlines()
    data = json.loads(lines[line - 1])
    change(data)
    lines[line - 1] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")


def test_an_episode_holds_the_policies_that_it_begins_with_where_they_are_others(tmp_path):
    dear = FIVE.checked_policy(3, msgspec.structs.replace(FIVE.policy(3), fee_rate_ppm=777))
    changed = FIVE.with_policies({3: dear})
    with TraceWriter(tmp_path / "trace.jsonl", FIVE, PaymentOptions(), backend="lnd") as writer:
        start_msat = FIVE.start_balances_msat()
        for topology in (changed, FIVE):
            writer.episode_started(EpisodeStart(0, 11, start_msat, START, topology=topology))
        with pytest.raises(RecordError, match="this episode was begun on another"):
            writer.episode_started(EpisodeStart(0, 11, start_msat, START, topology=ring(5)))
    trace = read_trace(tmp_path / "trace.jsonl")
    first, second = trace.episodes
    assert [(each.direction, each.policy) for each in first.start.policies] == [(3, dear)]
    assert trace.topology_of(first).policies == changed.policies
    assert second.start.policies == ()
    assert trace.topology_of(second).policies == FIVE.policies


def test_the_header_says_what_was_recorded_with_what(path):
    header = read_trace(path).header
    assert (header.backend, header.environment, header.config) == ("lnd", "X-v0", {"a": 1})
    assert set(header.versions) == {"lnsim_gym", "python", "numpy", "lnd"}
    assert header.payment == PaymentOptions(max_parts=1)


def test_the_topology_comes_back_with_all_policies(path):
    topology = read_trace(path).topology
    assert topology.nodes == FIVE.nodes
    assert topology.policies == FIVE.policies
    assert all((a == b).all() for a, b in zip(topology.arrays, FIVE.arrays, strict=True))


def test_actions_rebalances_payments_routes_and_balances_come_back(path):
    episode = read_trace(path).episodes[0]
    assert np.array_equal(episode.start.start_balances_msat, FIVE.start_balances_msat())
    assert len(episode.steps) == 2
    for number, step in enumerate(episode.steps):
        made = a_step(number)
        assert (step.step, step.action, step.timestamp) == (number, 3, made.timestamp)
        assert (step.rebalance.route, step.rebalance.applied_msat) == (made.rebalances[0].route, 50_000_000)
        assert np.array_equal(step.balances_after_rebalance_msat, made.balances_served_from_msat)
        assert np.array_equal(step.balances_after_msat, made.balances_after_msat)
        assert step.payments == tuple(payment_record(FIVE, made.batch, made.outcomes, index) for index in range(3))


def test_a_step_gives_back_the_batch_that_was_paid(path):
    trace = read_trace(path)
    for again, made in zip(trace.batch(trace.episodes[0].steps[0]), a_step().batch, strict=True):
        assert again.tolist() == made.tolist()
        assert again.dtype == np.int64


def test_a_step_without_payments_gives_back_an_empty_batch(tmp_path):
    batch, outcomes = payments()
    with TraceWriter(tmp_path / "t", FIVE, PaymentOptions(), backend="simulator") as writer:
        begin(writer)
        writer.stepped(dataclasses.replace(a_step(), batch=batch, outcomes=outcomes))
    trace = read_trace(tmp_path / "t")
    assert [len(column) for column in trace.batch(trace.episodes[0].steps[0])] == [0, 0, 0, 0]


def test_parts_and_refusals_come_back(tmp_path):
    batch, outcomes = payments(("alice", "bob", 9, [((0,), 5), ((2,), 4)]), max_parts=2)
    refusal = rebalanced(
        reason=RebalanceReason.TEMPORARY_CHANNEL_FAILURE, failure_source_index=1, detail="failure code 15"
    )
    action = np.array([0.5, -1.0], np.float32)
    with TraceWriter(tmp_path / "t", FIVE, PaymentOptions(max_parts=2), backend="simulator") as writer:
        begin(writer)
        step = dataclasses.replace(a_step(), batch=batch, outcomes=outcomes, interventions=(refusal,), action=action)
        writer.stepped(step)
    step = read_trace(tmp_path / "t").episodes[0].steps[0]
    assert [(part.amount_msat, part.route) for part in step.payments[0].parts] == [(5, (0,)), (4, (2,))]
    assert (step.rebalance.reason, step.rebalance.failure_source_index) == ("TEMPORARY_CHANNEL_FAILURE", 1)
    assert step.action == [0.5, -1.0]


def test_a_trace_is_whole_after_every_step(tmp_path):
    writer = TraceWriter(tmp_path / "t", FIVE, PaymentOptions(), backend="simulator")
    begin(writer)
    writer.stepped(a_step())
    assert len(read_trace(tmp_path / "t").episodes[0].steps) == 1
    writer.close()


@pytest.mark.parametrize(
    ("line", "change", "message"),
    [
        (1, lambda data: data.update(schema="lnsim-trace/9"), "line 1: expected schema 'lnsim-trace/1', got"),
        (1, lambda data: data.update(kind="step"), "line 1: "),
        (1, lambda data: data["topology"]["channels"][2].update(peer="zoe"), r"line 1: channels\[2\] names an unknown"),
        (2, lambda data: data["start_balances_msat"].pop(), "line 2: expected balances of 7 channels, got 6"),
        (3, lambda data: data.update(step=4), "line 3: expected step 0, got 4: lines are missing"),
        (4, lambda data: data["payments"][0].update(fee_msat="x"), r"line 4: .*int.* at `\$.payments\[0\].fee_msat`"),
        (4, lambda data: data["payments"][1].update(failure_reason="NO_ROUTES"), "line 4: .*Did you mean 'NO_ROUTE'"),
        (4, lambda data: data["payments"][1].update(source="zoe"), "line 4: .*lacks: 'zoe'"),
        (4, lambda data: data["rebalance"].update(route=[14]), r"line 4: .*directions 0..13, got \[14\]"),
        (4, lambda data: data.update(time_ms=[1]), "line 4: expected a time for each of 3 payments, got 1"),
        (4, lambda data: data.update(time_ms=[20, 10, 30]), "line 4: times of payments must not fall"),
        (5, lambda data: data.update(steps=3), "line 5: expected step 2, got 3"),
        (5, lambda data: data.update(more=3), "line 5: .*unknown field `more`"),
    ],
)
def test_what_is_wrong_in_a_trace_is_told_with_its_line(path, line, change, message):
    edit(path, line, change)
    with pytest.raises(RecordError, match=message):
        read_trace(path)


def test_a_line_that_was_cut_off_is_told(path):
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RecordError, match="line 4: "):
        read_trace(path)


def test_lines_in_the_wrong_place_are_told(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(RecordError, match="line 1: expected the header"):
        read_trace(path)
    path.write_text("".join([lines[0], *lines]))
    with pytest.raises(RecordError, match="line 2: a second header"):
        read_trace(path)
    path.write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(RecordError, match="line 2: expected the start of an episode"):
        read_trace(path)


def test_a_missing_or_empty_file_is_told(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read the trace .*nothing"):
        read_trace(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    with pytest.raises(RecordError, match="empty is empty"):
        read_trace(tmp_path / "empty")
