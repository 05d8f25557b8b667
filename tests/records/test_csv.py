"""The CSV file: true values in all 17 columns, of payments and of rebalances."""

import csv
import dataclasses
import json
from datetime import datetime

import pytest

from lnsim_gym.payments import RebalanceReason
from lnsim_gym.records.csv import COLUMNS, CsvRecorder
from tests.records.ledger import FIVE, START, a_step, fee_of, rebalanced


@pytest.fixture
def recorded(tmp_path):
    """Record steps and read the rows back."""

    def record(*steps):
        recorder = CsvRecorder(tmp_path, FIVE, public_keys={"bob": "03ab" * 16 + "cd"})
        for step in steps:
            recorder.stepped(step)
        recorder.close()
        with recorder.path.open(newline="") as file:
            return list(csv.reader(file))

    return record


def rows(lines):
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_the_file_is_named_by_the_time_and_no_file_is_overwritten(tmp_path):
    started = datetime(2026, 3, 1, 12, 0, 5)
    first, second = (CsvRecorder(tmp_path, FIVE, started=started) for _ in range(2))
    assert first.path.name == "lightning_simulation_2026-03-01_12-00-05.csv"
    assert second.path.name == "lightning_simulation_2026-03-01_12-00-06.csv"
    first.close()
    second.close()


def test_the_file_is_complete_after_every_step(tmp_path):
    recorder = CsvRecorder(tmp_path, FIVE)
    recorder.stepped(a_step())
    assert len(recorder.path.read_text().splitlines()) == 5
    recorder.close()
    recorder.close()


def test_every_row_has_all_seventeen_columns_rebalances_too(recorded):
    lines = recorded(a_step(0), a_step(1))
    assert len(COLUMNS) == 17
    assert lines[0] == list(COLUMNS)
    assert {len(line) for line in lines} == {17}
    kinds = [row["type"] for row in rows(lines)]
    assert kinds == 2 * ["rebalance", "payment", "payment", "payment"]
    assert all(value for row in rows(lines) for key, value in row.items() if key != "payment_hash")


def test_rows_come_in_the_order_in_which_things_happened(recorded):
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows(recorded(a_step(0), a_step(1)))]
    assert times == sorted(times)
    assert times[0] == START


def test_a_payment_that_failed_is_written_as_failed(recorded):
    _, settled, failed, _ = rows(recorded(a_step()))
    assert (settled["success"], failed["success"]) == ("True", "False")
    assert (failed["fee"], failed["route_length"]) == ("0", "0")
    assert failed["sender_balance_before"] == failed["sender_balance_after"]


def test_fee_route_length_and_payment_hash_are_those_of_the_payment(recorded):
    _, forwarded, _, direct = rows(recorded(a_step()))
    route = (FIVE.direction("alice", "bob"), FIVE.direction("bob", "carol"))
    fee_msat = fee_of(FIVE, route, 7_000_123)
    assert float(forwarded["fee"]) == fee_msat / 1000
    assert fee_msat > 0
    assert (forwarded["route_length"], direct["route_length"]) == ("2", "1")
    assert (forwarded["payment_hash"], direct["payment_hash"]) == (f"{0:064x}", f"{2:064x}")
    assert (forwarded["amount"], direct["amount"]) == ("7000.123", "1500")
    assert (forwarded["description"], forwarded["duration_ms"]) == ("Coffee purchase", "250.0")


def test_channels_are_encoded_as_json_once(recorded):
    for row in rows(recorded(a_step())):
        for column in ("channel_before", "channel_after"):
            channels = json.loads(row[column])
            assert set(channels) == {row["sender"], row["receiver"]}
            for view in channels.values():
                for short, channel in view.items():
                    assert channel["remote_pubkey"].startswith(short)
                    assert {type(channel[key]) for key in ("capacity", "local_balance", "remote_balance")} == {int}


def test_channels_are_named_by_the_public_keys_of_their_peers(recorded):
    first = rows(recorded(a_step()))[0]
    assert json.loads(first["channel_before"])["alice"]["03ab03ab"]["remote_pubkey"] == "03ab" * 16 + "cd"


def test_the_balance_columns_are_the_sums_of_the_channels(recorded):
    for row in rows(recorded(a_step())):
        for moment in ("before", "after"):
            channels = json.loads(row[f"channel_{moment}"])
            for end in ("sender", "receiver"):
                total = sum(channel["local_balance"] for channel in channels[row[end]].values())
                assert int(row[f"{end}_balance_{moment}"]) == total


def test_balances_are_those_around_the_payment_itself(recorded):
    rebalance, first, _, last = rows(recorded(a_step()))
    assert int(rebalance["sender_balance_before"]) - int(rebalance["sender_balance_after"]) == 50_000
    assert int(rebalance["receiver_balance_after"]) - int(rebalance["receiver_balance_before"]) == 50_000
    assert first["sender_balance_before"] == rebalance["sender_balance_after"]
    paid = int(first["sender_balance_before"]) - int(first["sender_balance_after"])
    assert paid == pytest.approx(7000.123 + float(first["fee"]), abs=1)
    assert int(last["receiver_balance_after"]) - int(last["receiver_balance_before"]) == 1500
    assert last["receiver_balance_before"] == first["receiver_balance_after"]


def test_a_refused_rebalance_says_why(recorded):
    refused = dataclasses.replace(
        a_step(),
        interventions=(rebalanced(reason=RebalanceReason.INSUFFICIENT_LOCAL_BALANCE),),
        balances_served_from_msat=a_step().balances_before_msat,
    )
    row = rows(recorded(refused))[0]
    assert (row["success"], row["amount"], row["route_length"]) == ("False", "50000", "0")
    assert row["description"] == "push alice->bob: INSUFFICIENT_LOCAL_BALANCE"


def test_a_circular_rebalance_names_its_cycle(recorded):
    cycle = tuple(FIVE.direction(*pair) for pair in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")))
    row = rows(recorded(dataclasses.replace(a_step(), interventions=(rebalanced(cycle, applied_msat=50_000_000),))))[0]
    assert row["description"] == "circular alice->bob->carol->alice"
    assert (row["sender"], row["receiver"], row["route_length"]) == ("alice", "alice", "3")


def test_a_step_without_a_rebalance_has_no_rebalance_row(recorded):
    idle = dataclasses.replace(a_step(), interventions=())
    assert [row["type"] for row in rows(recorded(idle))] == ["payment"] * 3
