"""Parquet files: the same events in msat, whole at every moment."""

import sys

import pyarrow.dataset
import pyarrow.parquet
import pytest

from lnsim_gym.errors import MissingDependency, RecordError
from lnsim_gym.records.events import EpisodeStart
from lnsim_gym.records.parquet import SCHEMA, ParquetRecorder
from tests.records.ledger import FIVE, START, a_step, fee_of

CHANNELS = len(FIVE.channels)


def begin(recorder):
    recorder.episode_started(
        EpisodeStart(episode=0, seed=11, start_balances_msat=FIVE.start_balances_msat(), timestamp=START)
    )


def read(recorder, table):
    files = sorted(recorder.path.glob(f"{table}-*.parquet"))
    return pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files]).to_pylist()


@pytest.fixture
def recorder(tmp_path):
    return ParquetRecorder(tmp_path, FIVE, started=START)


def test_there_is_one_row_for_each_rebalance_and_payment(recorder):
    recorder.stepped(a_step())
    recorder.close()
    rebalance, forwarded, failed, direct = read(recorder, "events")
    route = [FIVE.direction("alice", "bob"), FIVE.direction("bob", "carol")]
    assert [row["type"] for row in (rebalance, forwarded, failed, direct)] == ["rebalance", *["payment"] * 3]
    assert (rebalance["amount_msat"], rebalance["succeeded"], rebalance["index"]) == (50_000_000, True, -1)
    assert forwarded["parts"] == [{"amount_msat": 7_000_123, "route": route}]
    assert forwarded["fee_msat"] == fee_of(FIVE, route, 7_000_123)
    assert (forwarded["hops"], forwarded["source"], forwarded["destination"]) == (2, "alice", "carol")
    assert (failed["succeeded"], failed["reason"], failed["parts"]) == (False, "NO_ROUTE", [])
    assert (direct["payment_hash"], direct["description"]) == (f"{2:064x}", "Digital content")


def test_node_balances_are_those_around_each_payment_to_the_msat(recorder):
    recorder.stepped(a_step())
    recorder.close()
    rebalance, forwarded, failed, direct = read(recorder, "events")
    assert forwarded["source_balance_before_msat"] == rebalance["source_balance_after_msat"]
    paid = forwarded["source_balance_before_msat"] - forwarded["source_balance_after_msat"]
    assert paid == forwarded["amount_msat"] + forwarded["fee_msat"]
    got = direct["destination_balance_after_msat"] - direct["destination_balance_before_msat"]
    assert got == direct["amount_msat"]
    assert failed["source_balance_before_msat"] == failed["source_balance_after_msat"]


def test_there_is_one_row_for_each_channel_at_the_start_and_after_each_step(recorder):
    begin(recorder)
    step = a_step()
    recorder.stepped(step)
    recorder.close()
    rows = read(recorder, "balances")
    assert [(row["step"], row["channel"]) for row in rows] == [(s, c) for s in (-1, 0) for c in range(CHANNELS)]
    found = [[row["initiator_balance_msat"], row["peer_balance_msat"]] for row in rows]
    assert found == [*FIVE.start_balances_msat().tolist(), *step.balances_after_msat.tolist()]
    assert (rows[0]["initiator"], rows[0]["peer"], rows[0]["capacity_sat"]) == ("alice", "bob", 1_000_000)


def test_every_file_tells_the_version_of_its_schema(recorder):
    begin(recorder)
    recorder.stepped(a_step())
    recorder.close()
    files = list(recorder.path.glob("*.parquet"))
    assert len(files) == 2
    for file in files:
        assert pyarrow.parquet.read_schema(file).metadata[b"lnsim_schema"] == SCHEMA.encode()


def test_a_run_that_is_cut_off_leaves_files_that_can_be_read(tmp_path):
    recorder = ParquetRecorder(tmp_path, FIVE, rows_per_file=8)
    for step in range(5):
        recorder.stepped(a_step(step))
    assert len(read(recorder, "events")) == 16
    assert pyarrow.dataset.dataset(sorted(recorder.path.glob("events-*.parquet"))).count_rows() == 16


def test_no_half_written_file_stays_behind_under_the_name_of_a_whole_one(recorder, monkeypatch):
    def die(rows, where, **_):
        where.write_bytes(b"PAR1")
        raise OSError("no space left")

    recorder.stepped(a_step())
    monkeypatch.setattr(pyarrow.parquet, "write_table", die)
    with pytest.raises(RecordError, match="no space left"):
        recorder.close()
    assert list(recorder.path.glob("*.parquet")) == []


def test_closing_twice_writes_once(recorder):
    recorder.stepped(a_step())
    recorder.close()
    recorder.close()
    assert len(list(recorder.path.glob("events-*.parquet"))) == 1


def test_every_run_has_a_folder_of_its_own(tmp_path):
    paths = {ParquetRecorder(tmp_path, FIVE, started=START).path.name for _ in range(2)}
    assert paths == {"lightning_simulation_2026-03-01_12-00-00", "lightning_simulation_2026-03-01_12-00-01"}


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"pip install \"lnsim_gym\[records\]\""):
        ParquetRecorder(tmp_path, FIVE)
