"""One CSV file per run with one row per payment and rebalance: 17 columns that spreadsheets and old scripts know.

Amounts, fees and balances are in sat, with decimals only where there are msat. Balances are those around each single
payment, worked out from the routes of the step; with several payments in flight at once they follow the order of the
batch. Parquet files keep more, and in msat.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from lnsim_gym.arrays import Int64
from lnsim_gym.network import Topology
from lnsim_gym.network.keys import public_keys_of
from lnsim_gym.payments import DESCRIPTIONS, RebalanceReason
from lnsim_gym.records.ends import EndsOfNodes
from lnsim_gym.records.events import EpisodeEnd, EpisodeStart, StepEvents, balances_per_payment
from lnsim_gym.records.naming import make_new
from lnsim_gym.records.whole import WholeFile

__all__ = ["COLUMNS", "CsvRecorder"]

COLUMNS: Final = (
    "timestamp",
    "type",
    "sender",
    "receiver",
    "amount",
    "fee",
    "route_length",
    "success",
    "payment_hash",
    "description",
    "duration_ms",
    "channel_before",
    "channel_after",
    "sender_balance_before",
    "sender_balance_after",
    "receiver_balance_before",
    "receiver_balance_after",
)
"""The header of the file."""
MANY_CHANNELS: Final = 250
"""Channels of a node beyond which ``channel_before`` and ``channel_after`` hold only those whose balance changed."""


class CsvRecorder:
    """Writes ``lightning_simulation_YYYY-MM-DD_HH-MM-SS.csv``, complete after every step.

    Args:
        folder: Where the file goes; made when missing.
        topology: Whose channels and nodes the events speak of.
        public_keys: Public key of each node by name; made up where missing.
        started: Time in the file's name; now by default. While that name is taken, a second is added.
    """

    def __init__(
        self,
        folder: Path,
        topology: Topology,
        public_keys: Mapping[str, str] | None = None,
        started: datetime | None = None,
    ) -> None:
        self._topology = topology
        self._keys = public_keys_of(topology) | dict(public_keys or {})
        self._own_ends = EndsOfNodes(topology)
        self._file = make_new(folder, started, ".csv", lambda path: WholeFile(path, "x"))
        self.path = self._file.path
        self._rows = io.StringIO()
        self._writer = csv.DictWriter(self._rows, COLUMNS)
        self._writer.writeheader()
        self._append()

    def episode_started(self, event: EpisodeStart) -> None:
        """Write nothing: the file has no rows for episodes."""

    def stepped(self, event: StepEvents) -> None:
        """Write the rows of a step."""
        self._writer.writerows(self._rebalance_rows(event))
        self._writer.writerows(self._payment_rows(event))
        self._append()

    def episode_ended(self, event: EpisodeEnd) -> None:
        """Write nothing: the file has no rows for episodes."""

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        self._file.close()

    def _append(self) -> None:
        """Write the rows that wait, all of them or none."""
        rows = self._rows.getvalue()
        self._rows.seek(0)
        self._rows.truncate()
        self._file.append(rows.encode())

    def _payment_rows(self, event: StepEvents) -> Iterator[dict[str, Any]]:
        """Yield the row of each payment."""
        batch = event.batch
        outcomes = event.outcomes
        hops = outcomes.hops
        moment = event.timestamp + timedelta(seconds=event.intervening_s)
        around = balances_per_payment(event.topology, event.balances_served_from_msat, outcomes)
        for index, (before, after) in enumerate(around):
            duration_s = float(outcomes.duration_s[index])
            yield {
                "timestamp": moment.isoformat(),
                "type": "payment",
                "amount": _sat(int(batch.amount_msat[index])),
                "fee": _sat(int(outcomes.fee_msat[index])),
                "route_length": int(hops[index]),
                "success": bool(outcomes.succeeded[index]),
                "payment_hash": outcomes.payment_hash[index] if outcomes.payment_hash else "",
                "description": DESCRIPTIONS[int(batch.description[index])],
                "duration_ms": round(1000 * duration_s, 3),
                **self._ends(int(batch.source[index]), int(batch.destination[index]), before, after),
            }
            moment += timedelta(seconds=duration_s)

    def _rebalance_rows(self, event: StepEvents) -> Iterator[dict[str, Any]]:
        """Yield the row of each rebalance of a step."""
        nodes = self._topology.nodes
        moment = event.timestamp
        for rebalance, before_msat, after_msat in event.rebalances_with_balances():
            route = rebalance.route
            result = rebalance.result
            path = self._topology.nodes_of(route)
            kind = "push" if len(route) == 1 else "circular"
            description = f"{kind} {'->'.join(nodes[node] for node in path)}"
            yield {
                "timestamp": moment.isoformat(),
                "type": "rebalance",
                "amount": _sat(rebalance.amount_msat),
                "fee": _sat(result.fee_msat),
                "route_length": 0 if result.reason else len(route),
                "success": not result.reason,
                "payment_hash": result.payment_hash,
                "description": f"{description}: {RebalanceReason(result.reason).name}"
                if result.reason
                else description,
                "duration_ms": round(1000 * result.duration_s, 3),
                **self._ends(path[0], path[-1], before_msat, after_msat),
            }
            moment += timedelta(seconds=result.duration_s)

    def _ends(self, sender: int, receiver: int, before_msat: Int64, after_msat: Int64) -> dict[str, Any]:
        """Return the columns that name two nodes and tell their balances."""
        nodes = self._topology.nodes
        columns: dict[str, Any] = {"sender": nodes[sender], "receiver": nodes[receiver]}
        both = (sender, receiver)
        shown = [self._shown(node, before_msat, after_msat) for node in both]
        for moment, balances_msat in (("before", before_msat), ("after", after_msat)):
            sat = balances_msat.reshape(-1) // 1000
            views = [self._channels(ends, sat) for ends in shown]
            columns[f"channel_{moment}"] = json.dumps({nodes[sender]: views[0], nodes[receiver]: views[1]})
            for end, node in zip(("sender", "receiver"), both, strict=True):
                columns[f"{end}_balance_{moment}"] = int(sat[self._own_ends.of(node)].sum())
        return columns

    def _shown(self, node: int, before_msat: Int64, after_msat: Int64) -> list[int]:
        """Return the channel ends of a node to tell of: all of them, or of very many those whose balance changed."""
        ends = self._own_ends.of(node)
        if len(ends) > MANY_CHANNELS:
            ends = ends[before_msat.reshape(-1)[ends] != after_msat.reshape(-1)[ends]]
        shown: list[int] = ends.tolist()
        return shown

    def _channels(self, ends: list[int], sat: Int64) -> dict[str, dict[str, Any]]:
        """Return channels as a node sees them, by the first 8 digits of the peer's key, whole sat as LND tells.

        Of several channels with one peer, the second and all further ones have their number in the network behind.
        """
        view: dict[str, dict[str, Any]] = {}
        for end in ends:
            channel = self._topology.channels[end >> 1]
            key = self._keys[channel.initiator if end & 1 else channel.peer]
            name = key[:8] if key[:8] not in view else f"{key[:8]}_{end >> 1}"
            view[name] = {
                "remote_pubkey": key,
                "capacity": channel.capacity_sat,
                "local_balance": sat.item(end),
                "remote_balance": sat.item(end ^ 1),
            }
        return view


def _sat(msat: int) -> int | str:
    """Write an amount in sat without losing the msat."""
    sat, rest = divmod(msat, 1000)
    return f"{sat}.{rest:03d}" if rest else sat
