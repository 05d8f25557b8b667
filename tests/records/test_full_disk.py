"""What was recorded before the disk was full can be read, and the error says so."""

import contextlib
import csv
import resource

import gymnasium as gym

import lnsim_gym  # noqa: F401  registers the environments
from lnsim_gym.environment.recording import RecordEpisodes
from lnsim_gym.errors import RecordError
from lnsim_gym.payments import PaymentOptions
from lnsim_gym.records.csv import COLUMNS, CsvRecorder
from lnsim_gym.records.events import EpisodeStart
from lnsim_gym.records.parquet import ParquetRecorder
from lnsim_gym.records.parquet_reader import read_episode
from lnsim_gym.records.trace import TraceWriter, read_trace
from tests.records.ledger import FIVE, START, a_step


@contextlib.contextmanager
def little_room(most_bytes=20_000):
    """Let files grow to so much at most, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def begin(recorder):
    recorder.episode_started(
        EpisodeStart(episode=0, seed=11, start_balances_msat=FIVE.start_balances_msat(), timestamp=START)
    )


def until_refused(step):
    """Make steps until there is no more room; return how many there were, and what was said."""
    for count in range(10**6):
        try:
            step()
        except RecordError as problem:
            return count, str(problem)
    raise AssertionError("there was room for a million")


def test_a_csv_file_ends_with_a_whole_step(tmp_path):
    recorder = CsvRecorder(tmp_path, FIVE)
    with little_room():
        steps, said = until_refused(lambda: recorder.stepped(a_step()))
    assert "File too large; make room, what was recorded before is whole" in said
    recorder.close()
    rows = list(csv.DictReader(recorder.path.open(newline="")))
    assert len(rows) == 4 * steps > 0
    assert all(set(row) == set(COLUMNS) and None not in row.values() for row in rows)


def test_parquet_files_that_are_there_are_whole(tmp_path):
    recorder = ParquetRecorder(tmp_path, FIVE, rows_per_file=40)
    begin(recorder)
    for _ in range(10):
        recorder.stepped(a_step())
    before = sorted(recorder.path.iterdir())
    with little_room(2_000):
        _, said = until_refused(lambda: recorder.stepped(a_step()))
    assert "what was recorded before is whole" in said
    assert set(before) <= set(recorder.path.iterdir())
    assert not list(recorder.path.glob(".*.unfinished"))
    assert read_episode(recorder.path, 0).steps


def test_a_trace_ends_with_a_whole_step_and_the_environment_is_closed(tmp_path):
    path = tmp_path / "trace.jsonl"
    env = gym.make("LightningNet-v0", payments_per_step=5)
    network = env.unwrapped
    writer = TraceWriter(path, network.topology, PaymentOptions(), backend="simulator")
    recorded = RecordEpisodes(env, [writer])
    recorded.reset(seed=1)
    with little_room():
        steps, said = until_refused(lambda: recorded.step(0))
        with contextlib.suppress(RecordError):  # there may be no room for the end either
            recorded.close()
    assert f"cannot write {path}: File too large" in said
    assert writer._file._file.closed
    (episode,) = read_trace(path).episodes
    assert len(episode.steps) == steps > 0
