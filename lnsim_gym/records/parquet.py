"""Parquet files of a run, for analysis: one row per payment and rebalance, and one per channel balance.

Rows are written in files of a bounded number, each of which appears whole or not at all: a run that is cut off leaves
files that can be read, and loses at most the rows not yet written. Needs pyarrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from lnsim_gym.arrays import Int64
from lnsim_gym.errors import MissingDependency, RecordError
from lnsim_gym.network import Topology
from lnsim_gym.payments import DESCRIPTIONS
from lnsim_gym.records.ends import EndsOfNodes
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart, StepEvents, balances_per_payment
from lnsim_gym.records.lines import payment_record, rebalance_record
from lnsim_gym.records.naming import make_new
from lnsim_gym.version import __version__

if TYPE_CHECKING:
    import pyarrow

__all__ = ["SCHEMA", "ParquetRecorder"]

SCHEMA: Final = "lnsim-records/1"
"""Name and version of both tables, in the metadata of each file under ``lnsim_schema``."""
MANY_CHANNELS: Final = 1_000
"""Channels beyond which ``balances`` holds, after a step, only those whose balance changed."""


class ParquetRecorder:
    """Writes ``events-NNNNN.parquet`` and ``balances-NNNNN.parquet`` into a new folder of the run.

    ``events`` has one row per rebalance asked for (``type`` rebalance) and per payment (``type`` payment), with the
    balances of its two nodes around it; ``balances`` has one row per channel at the start of each episode (``step``
    -1) and after each step. In networks of more than ``MANY_CHANNELS`` channels it has, after a step, only the rows of
    channels whose balance changed: a channel without a row has what it had in the row before.

    Args:
        folder: Where the folder of the run goes, named ``lightning_simulation_YYYY-MM-DD_HH-MM-SS``.
        topology: Whose channels and nodes the events speak of.
        rows_per_file: Rows of a table after which a file is written.
        started: Time in the folder's name; now by default. While that name is taken, a second is added.

    Raises:
        MissingDependency: pyarrow is not installed.
    """

    def __init__(
        self, folder: Path, topology: Topology, rows_per_file: int = 10_000, started: datetime | None = None
    ) -> None:
        self._arrow = _pyarrow()
        self._topology = topology
        self.path = make_new(folder, started, "", _make_folder)
        self._events = _Table(self.path, "events", rows_per_file)
        self._balances = _Table(self.path, "balances", rows_per_file)
        self._ends = EndsOfNodes(topology)
        self._written_msat: Int64 | None = None
        """Balances in the last rows of all channels, where rows are left out."""

    def episode_started(self, event: EpisodeStart) -> None:
        """Write the start balances."""
        self._written_msat = None
        self._add_balances(event.episode, -1, event.timestamp, event.start_balances_msat)

    def stepped(self, event: StepEvents) -> None:
        """Write a step."""
        rows = [*self._rebalance_rows(event), *self._payment_rows(event)]
        self._events.add(self._arrow.Table.from_pylist(rows, _schemas()["events"]))
        self._add_balances(event.episode, event.step, event.timestamp, event.balances_after_msat)

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Write nothing: an episode ends where its rows do."""

    def close(self) -> None:
        """Write what is left; harmless when closed already."""
        self._events.write()
        self._balances.write()

    def _rebalance_rows(self, event: StepEvents) -> Iterator[dict[str, Any]]:
        """Yield the row of each rebalance of a step."""
        moment = event.timestamp
        for rebalance, before_msat, after_msat in event.rebalances_with_balances():
            record = rebalance_record(rebalance)
            path = self._topology.nodes_of(rebalance.route)
            sent = bool(record.applied_msat)
            yield {
                **_place(event, -1, moment),
                "type": "rebalance",
                "amount_msat": record.amount_msat,
                "succeeded": sent,
                "reason": record.reason,
                "attempts": 1 if sent or record.failure_source_index >= 0 else 0,
                "fee_msat": record.fee_msat,
                "hops": len(record.route) if sent else 0,
                "parts": [{"amount_msat": record.applied_msat, "route": list(record.route)}] if sent else [],
                "payment_hash": record.payment_hash,
                "description": record.detail,
                "duration_s": record.duration_s,
                **self._end_columns((path[0], path[-1]), before_msat, after_msat),
            }
            moment += timedelta(seconds=record.duration_s)

    def _payment_rows(self, event: StepEvents) -> Iterator[dict[str, Any]]:
        """Yield the row of each payment."""
        moment = event.timestamp + timedelta(seconds=event.intervening_s)
        around = balances_per_payment(event.topology, event.balances_served_from_msat, event.outcomes)
        for index, (before, after) in enumerate(around):
            record = payment_record(self._topology, event.batch, event.outcomes, index)
            ends = (int(event.batch.source[index]), int(event.batch.destination[index]))
            yield {
                **_place(event, index, moment),
                "type": "payment",
                "amount_msat": record.amount_msat,
                "succeeded": record.succeeded,
                "reason": record.failure_reason,
                "attempts": record.attempts,
                "fee_msat": record.fee_msat,
                "hops": max((len(part.route) for part in record.parts), default=0),
                "parts": msgspec.to_builtins(record.parts),
                "payment_hash": record.payment_hash,
                "description": DESCRIPTIONS[record.description],
                "duration_s": record.duration_s,
                **self._end_columns(ends, before, after),
            }
            moment += timedelta(seconds=record.duration_s)

    def _end_columns(self, ends: tuple[int, int], before_msat: Int64, after_msat: Int64) -> dict[str, Any]:
        """Return the columns that name two nodes and tell what they own."""
        columns: dict[str, Any] = {}
        for end, node in zip(("source", "destination"), ends, strict=True):
            columns[end] = self._topology.nodes[node]
            own = self._ends.of(node)
            columns[f"{end}_balance_before_msat"] = int(before_msat.reshape(-1)[own].sum())
            columns[f"{end}_balance_after_msat"] = int(after_msat.reshape(-1)[own].sum())
        return columns

    def _add_balances(self, episode: int, step: int, timestamp: datetime, balances_msat: Int64) -> None:
        """Add one row per channel, or per channel that changed."""
        rows = np.arange(len(balances_msat))
        if len(rows) > MANY_CHANNELS:
            if self._written_msat is not None:
                rows = np.flatnonzero((balances_msat != self._written_msat).any(axis=1))
            self._written_msat = balances_msat.copy()
        channels = [self._topology.channels[row] for row in rows.tolist()]
        columns = {
            "episode": np.full(len(rows), episode),
            "step": np.full(len(rows), step),
            "timestamp": [timestamp] * len(rows),
            "channel": rows,
            "initiator": [channel.initiator for channel in channels],
            "peer": [channel.peer for channel in channels],
            "capacity_sat": self._topology.arrays.capacity_sat[rows],
            "initiator_balance_msat": balances_msat[rows, 0],
            "peer_balance_msat": balances_msat[rows, 1],
        }
        self._balances.add(self._arrow.table(columns, _schemas()["balances"]))


class _Table:
    """Rows of one table on their way to files."""

    def __init__(self, folder: Path, name: str, rows_per_file: int) -> None:
        self._folder = folder
        self._name = name
        self._rows_per_file = rows_per_file
        self._waiting: list[pyarrow.Table] = []
        self._numbers = itertools.count()

    def add(self, rows: pyarrow.Table) -> None:
        """Add rows, and write a file when there are enough."""
        self._waiting.append(rows)
        if sum(table.num_rows for table in self._waiting) >= self._rows_per_file:
            self.write()

    def write(self) -> None:
        """Write the waiting rows, if any, to a file that appears when it is complete."""
        rows = _pyarrow().concat_tables(self._waiting) if self._waiting else []
        self._waiting = []
        if not len(rows):
            return
        from pyarrow import parquet  # noqa: PLC0415 - an extra

        path = self._folder / f"{self._name}-{next(self._numbers):05d}.parquet"
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            parquet.write_table(rows, unfinished, compression="zstd")
            unfinished.replace(path)
        except OSError as problem:
            unfinished.unlink(missing_ok=True)
            raise RecordError(f"cannot write {path}: {problem}; make room, what was recorded before is whole") from None


def _make_folder(path: Path) -> Path:
    """Make a folder that must not exist yet."""
    path.mkdir()
    return path


def _place(event: StepEvents, index: int, moment: datetime) -> dict[str, Any]:
    """Return the columns that say where in a run something happened."""
    return {
        "episode": event.episode,
        "seed": event.seed % 2**64,
        "step": event.step,
        "index": index,
        "timestamp": moment,
    }


def _pyarrow() -> Any:
    """Import pyarrow."""
    try:
        import pyarrow  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingDependency(
            'Parquet files need pyarrow, which is not installed: pip install "lnsim_gym[records]"'
        ) from None
    return pyarrow


@cache
def _schemas() -> dict[str, pyarrow.Schema]:
    """Return the columns of both tables."""
    pa = _pyarrow()
    metadata = {"lnsim_schema": SCHEMA, "lnsim_version": __version__}
    moment = pa.timestamp("us", tz="UTC")
    name = pa.dictionary(pa.int32(), pa.string())
    route = pa.list_(pa.int32())
    columns = {
        "events": [
            ("episode", pa.int64()),
            ("seed", pa.uint64()),
            ("step", pa.int64()),
            ("index", pa.int32()),
            ("timestamp", moment),
            ("type", name),
            ("source", name),
            ("destination", name),
            ("amount_msat", pa.int64()),
            ("succeeded", pa.bool_()),
            ("reason", name),
            ("attempts", pa.int32()),
            ("fee_msat", pa.int64()),
            ("hops", pa.int32()),
            ("parts", pa.list_(pa.struct([("amount_msat", pa.int64()), ("route", route)]))),
            ("payment_hash", pa.string()),
            ("description", name),
            ("duration_s", pa.float64()),
            ("source_balance_before_msat", pa.int64()),
            ("source_balance_after_msat", pa.int64()),
            ("destination_balance_before_msat", pa.int64()),
            ("destination_balance_after_msat", pa.int64()),
        ],
        "balances": [
            ("episode", pa.int64()),
            ("step", pa.int64()),
            ("timestamp", moment),
            ("channel", pa.int32()),
            ("initiator", name),
            ("peer", name),
            ("capacity_sat", pa.int64()),
            ("initiator_balance_msat", pa.int64()),
            ("peer_balance_msat", pa.int64()),
        ],
    }
    return {table: pa.schema(fields, metadata=metadata) for table, fields in columns.items()}
