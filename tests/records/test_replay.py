"""Replaying a trace: what comes out the same is silent, what does not is told field by field."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.errors import RecordError
from lnsim_gym.network.generators import ring
from lnsim_gym.network.presets import preset
from lnsim_gym.payments import PaymentBatch, PaymentOptions, RebalanceReason
from lnsim_gym.records.events import EpisodeStart, StepEvents
from lnsim_gym.records.replay import replay
from lnsim_gym.records.trace import TraceWriter, read_trace
from tests.records.ledger import FIVE, START
from tests.records.neighbours import Neighbours


def record(path, backend, episodes=2, steps=3, payments=8, seed=0):
    """Record random pushes and payments on a backend."""
    rng = np.random.default_rng(seed)
    nodes = len(backend.topology.nodes)
    directions = 2 * len(backend.topology.channels)
    backend.open()
    with TraceWriter(path, backend.topology, backend.options, backend="test") as writer:
        for episode in range(episodes):
            start = backend.topology.start_balances_msat()
            backend.reset(start)
            writer.episode_started(EpisodeStart(episode=episode, seed=seed, start_balances_msat=start, timestamp=START))
            for step in range(steps):
                route = (int(rng.integers(directions)),) if step else ()
                amount_msat = 1000 * int(rng.integers(1000, 600_000)) if step else 0
                pairs = np.array([rng.choice(nodes, 2, replace=False) for _ in range(payments)], np.int64)
                pairs = pairs.reshape(-1, 2)
                writer.stepped(
                    make_step(
                        backend, episode, step, route, amount_msat, pairs, rng.integers(1000, 3 * 10**8, payments)
                    )
                )
    return path


def make_step(backend, episode, step, route, amount_msat, pairs, amounts_msat):
    before = backend.balances_msat()
    result = backend.rebalance(route, amount_msat) if route else None
    between = backend.balances_msat()
    batch = PaymentBatch(pairs[:, 0], pairs[:, 1], amounts_msat, np.zeros(len(pairs), np.int64))
    return StepEvents(
        episode=episode,
        step=step,
        seed=0,
        action=None,
        interventions=(Rebalance(route, amount_msat, result),) if route else (),
        batch=batch,
        outcomes=backend.pay(batch),
        balances_before_msat=before,
        balances_served_from_msat=between,
        balances_after_msat=backend.balances_msat(),
        timestamp=START,
        topology_before=backend.topology,
        topology=backend.topology,
    )


def test_balances_that_others_moved_are_no_replays(tmp_path):
    backend = Neighbours(FIVE, PaymentOptions(max_parts=1))
    path = record(tmp_path / "trace.jsonl", backend, episodes=1, steps=1)

    def moved(line):
        line["rebalance"] = None
        line["interventions"] = [{"balance_change": {"channel": 2, "initiator_msat": 10**8}}]

    with pytest.raises(RecordError, match="episode 0, step 0 changes balances between others, which no replay does"):
        replay(edited(path, 3, moved), backend)


def edited(path, line, change):
    """Read a trace after changing one of its lines, counted from 1."""
    lines = path.read_text().splitlines()
    data = json.loads(lines[line - 1])
    change(data)
    lines[line - 1] = json.dumps(data)
    path.write_text("\n".join(lines))
    return read_trace(path)


@given(seed=st.integers(0, 1000))
def test_a_trace_replayed_on_its_own_backend_shows_no_difference(tmp_path_factory, seed):
    path = record(tmp_path_factory.mktemp("traces") / "t", Neighbours(FIVE), seed=seed)
    assert replay(read_trace(path), Neighbours(FIVE)) == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [("succeeded", True), ("failure_reason", "TIMEOUT"), ("fee_msat", 77), ("attempts", 9)],
)
def test_a_field_of_a_payment_that_differs_is_told_with_its_place(tmp_path, field, expected):
    path = record(tmp_path / "t", Neighbours(FIVE))

    def change(data):
        failed = next(index for index, payment in enumerate(data["payments"]) if not payment["succeeded"])
        places.append(failed)
        got.append(data["payments"][failed][field])
        data["payments"][failed][field] = expected

    places = []
    got = []
    (difference,) = replay(edited(path, 8, change), Neighbours(FIVE))
    assert (difference.episode, difference.step, difference.payment) == (1, 1, places[0])
    assert (difference.field, difference.expected, difference.got) == (field, expected, got[0])
    assert str(difference) == (f"episode 1, step 1, payment {places[0]}: {field} expected {expected!r}, got {got[0]!r}")


def test_parts_that_differ_are_told_with_their_routes(tmp_path):
    path = record(tmp_path / "t", Neighbours(FIVE))

    def change(data):
        settled = next(payment for payment in data["payments"] if payment["succeeded"])
        settled["parts"][0]["route"] = [0, 2]

    (difference,) = replay(edited(path, 3, change), Neighbours(FIVE))
    assert (difference.field, difference.expected[0]["route"]) == ("parts", (0, 2))
    assert len(difference.got[0]["route"]) == 1


def test_a_rebalance_that_differs_is_told(tmp_path):
    path = record(tmp_path / "t", Neighbours(FIVE))
    trace = edited(path, 4, lambda data: data["rebalance"].update(fee_msat=5, failure_source_index=1))
    assert [(d.payment, d.field) for d in replay(trace, Neighbours(FIVE))] == [
        (None, "rebalance.fee_msat"),
        (None, "rebalance.failure_source_index"),
    ]


def test_balances_that_differ_are_told_by_channel_and_once_only(tmp_path):
    path = record(tmp_path / "t", Neighbours(FIVE))

    def change(data):
        data["balances_after_msat"][3][0] -= 1
        data["balances_after_msat"][3][1] += 1

    backend = Neighbours(FIVE)
    trace = edited(path, 3, change)
    first, *later = replay(trace, backend)
    assert (first.step, first.field) == (0, "balances_after_msat[3]")
    assert [one - two for one, two in zip(first.got, first.expected, strict=True)] == [1, -1]
    assert all(difference.field.endswith("[3]") for difference in later)
    assert backend.resets == 2 + 1 + len({difference.step for difference in later})


def test_start_balances_that_were_not_reached_are_told(tmp_path):
    class Stuck(Neighbours):
        def reset(self, balances_msat):
            report = super().reset(balances_msat)
            self._balances[2] += (1, -1)
            return report

    path = record(tmp_path / "t", Neighbours(FIVE), steps=0)
    one, two = replay(read_trace(path), Stuck(FIVE))
    assert (one.step, one.field, two.episode) == (-1, "start_balances_msat[2]", 1)


def test_time_and_chance_are_not_compared(tmp_path):
    path = record(tmp_path / "t", Neighbours(FIVE))

    def change(data):
        data["payments"][0].update(duration_s=9.0, payment_hash="cd")
        data["rebalance"].update(duration_s=7.0, payment_hash="cd", detail="no")

    assert replay(edited(path, 4, change), Neighbours(FIVE)) == []


def test_the_number_of_attempts_is_not_compared_when_payments_may_be_split(tmp_path):
    options = PaymentOptions(max_parts=4)
    path = record(tmp_path / "t", Neighbours(FIVE, options))
    trace = edited(path, 3, lambda data: data["payments"][0].update(attempts=9))
    assert replay(trace, Neighbours(FIVE, options)) == []


def test_a_rebalance_over_its_fee_limit_is_not_sent_again(tmp_path):
    path = record(tmp_path / "t", Neighbours(FIVE), episodes=1, steps=2, payments=0)

    def change(data):
        data["rebalance"].update(reason=RebalanceReason.FEE_LIMIT_EXCEEDED.name, applied_msat=0)
        data["balances_after_rebalance_msat"] = data["balances_after_msat"] = FIVE.start_balances_msat().tolist()

    assert replay(edited(path, 4, change), Neighbours(FIVE)) == []


def test_a_backend_with_other_payment_options_is_refused(tmp_path):
    trace = read_trace(record(tmp_path / "t", Neighbours(FIVE)))
    with pytest.raises(RecordError, match="payment option max_parts = 1, the backend has 4"):
        replay(trace, Neighbours(FIVE, PaymentOptions(max_parts=4)))
    assert replay(trace, Neighbours(FIVE, PaymentOptions(timeout_seconds=9))) == []


def test_a_backend_with_another_topology_is_refused(tmp_path):
    trace = read_trace(record(tmp_path / "t", Neighbours(FIVE)))
    with pytest.raises(RecordError, match="another topology"):
        replay(trace, Neighbours(ring(5)))
    plain = preset("default").to_dict()
    plain["channels"][1]["policies"]["peer"]["fee_rate_ppm"] = 7
    with pytest.raises(RecordError, match="fee_rate_ppm differs at 3"):
        replay(trace, Neighbours(FIVE.from_dict(plain)))
