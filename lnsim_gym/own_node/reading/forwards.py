"""Forwards of a node, settled and failed, as programs tell them: what fits is taken, what does not is counted by cause.

LND's ``lncli fwdinghistory``, Core Lightning's ``listforwards``, CSV, and the databases of ``tables``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from lnsim_gym.network.importers.documents import decode_entries
from lnsim_gym.own_node.reading.files import ALL_MSAT, counting, documents_in, lists_in, texts_in
from lnsim_gym.own_node.reading.history import SECOND_NS, Failures, Forwards, as_chan_id
from lnsim_gym.own_node.reading.tables import csv_rows, is_csv, is_database, stored_failures

__all__ = ["read_failures", "read_history"]

_TEMPORARY_CHANNEL_FAILURE: Final = 0x1007
"""BOLT 4's code of the same, as Core Lightning tells it."""


class _Forward(msgspec.Struct):
    """``lnrpc.ForwardingEvent``."""

    chan_id_in: str | int
    chan_id_out: str | int
    timestamp_ns: int = 0
    timestamp: int = 0
    amt_in_msat: int = 0
    amt_out_msat: int = 0
    amt_in: int = 0
    amt_out: int = 0

    def row(self) -> tuple[int, ...]:
        """Return it as a row of ``Forwards``; before lnd 0.10 amounts were in sat only."""
        return (
            self.timestamp_ns or SECOND_NS * self.timestamp,
            as_chan_id(self.chan_id_in),
            as_chan_id(self.chan_id_out),
            self.amt_in_msat or 1000 * self.amt_in,
            self.amt_out_msat or 1000 * self.amt_out,
        )


class _CoreForward(msgspec.Struct):
    """An entry of Core Lightning's ``listforwards``."""

    in_channel: str
    status: str
    received_time: float
    in_msat: int | str = 0
    out_msat: int | str = 0
    out_channel: str = ""
    resolved_time: float = 0.0
    failcode: int = 0

    def row(self) -> tuple[int, ...]:
        """Return time, both channels, and both amounts.

        Raises:
            ValueError: An amount is no number.
            OverflowError: The time is beyond all.
        """
        amounts = (int(str(amount).removesuffix("msat") or 0) for amount in (self.in_msat, self.out_msat))
        time_ns = round(SECOND_NS * (self.resolved_time or self.received_time))
        return (time_ns, as_chan_id(self.in_channel), as_chan_id(self.out_channel), *amounts)


def read_history(paths: Iterable[Path], now_ns: int, left_out: Counter[str]) -> tuple[Forwards, Failures]:
    """Read what was forwarded: ``lncli fwdinghistory``, Core Lightning's ``listforwards``, or CSV; in several files.

    Args:
        paths: The files; what several of them hold counts once.
        now_ns: Time beyond which no event is believed.
        left_out: Counts what is not taken, by cause.

    Raises:
        ConfigError: A file is no such file.
    """
    settled: dict[tuple[int, ...], None] = {}
    failed: dict[tuple[int, ...], None] = {}
    odd = counting(left_out, "forwards that cannot be read")
    odd_failed = counting(left_out, "failed forwards that cannot be read")
    for path in paths:
        texts = texts_in(path)
        for text in filter(is_csv, texts):
            for is_settled, row in csv_rows(text, path, odd):
                if is_settled:
                    _take(settled, [row], now_ns, left_out)
                else:
                    _take_failed(failed, (*row[:3], row[4], 0), now_ns, odd_failed)
        documents = [text for text in texts if not is_csv(text)]
        for document in documents_in(documents, path) if documents else ():
            for key, entries in lists_in(document, path, ["forwarding_events", "forwards"], "lncli fwdinghistory"):
                if key == "forwarding_events":
                    rows = (one.row() for one in decode_entries(entries, _Forward, key, odd))
                    _take(settled, rows, now_ns, left_out)
                else:
                    entered = decode_entries(entries, _CoreForward, key, odd)
                    _take_core(entered, (settled, failed), now_ns, left_out)
    return Forwards.of(list(settled)), Failures.of(list(failed))


def _take_core(
    entries: Iterable[_CoreForward],
    taken: tuple[dict[tuple[int, ...], None], dict[tuple[int, ...], None]],
    now_ns: int,
    left_out: Counter[str],
) -> None:
    """Take what Core Lightning tells, settled forwards and failed ones."""
    settled, failed = taken
    odd = counting(left_out, "forwards that cannot be read")
    odd_failed = counting(left_out, "failed forwards that cannot be read")
    for one in entries:
        if one.status not in ("settled", "failed", "local_failed"):
            continue
        try:
            time_ns, chan_in, chan_out, in_msat, out_msat = row = one.row()
        except (ValueError, OverflowError):
            odd("")
            continue
        if one.status == "settled":
            _take(settled, [row], now_ns, left_out)
            continue
        is_dry = one.status == "local_failed" and one.failcode == _TEMPORARY_CHANNEL_FAILURE
        _take_failed(failed, (time_ns, chan_in, chan_out, out_msat or in_msat, int(is_dry)), now_ns, odd_failed)


def _take(
    taken: dict[tuple[int, ...], None], rows: Iterable[tuple[int, ...]], now_ns: int, left_out: Counter[str]
) -> None:
    """Take the forwards that can be true, each once."""
    for row in rows:
        time_ns, chan_in, chan_out, in_msat, out_msat = row
        if not (chan_in and chan_out and 0 < out_msat <= in_msat <= ALL_MSAT):
            left_out["forwards without channels or amounts"] += 1
        elif not 0 < time_ns <= now_ns:
            left_out["forwards of a time that has not come"] += 1
        elif row in taken:
            left_out["forwards told twice"] += 1
        else:
            taken[row] = None


def _take_failed(
    taken: dict[tuple[int, ...], None], row: tuple[int, ...], now_ns: int, odd: Callable[[str], object]
) -> None:
    """Take a failed forward when it can be true."""
    time_ns, _, _, amount_msat, _ = row
    if 0 < time_ns <= now_ns and 0 <= amount_msat <= ALL_MSAT:
        taken[row] = None
    else:
        odd("")


def read_failures(path: Path, now_ns: int, left_out: Counter[str]) -> Failures:
    """Read failed forwards: out of the database of LNDg, ln-operator or circuitbreaker, or as ``read_history`` does.

    Raises:
        ConfigError: It is none of them.
    """
    if not is_database(path):
        return read_history([path], now_ns, left_out)[1]
    rows: dict[tuple[int, ...], None] = {}
    odd = counting(left_out, "failed forwards that cannot be read")
    for row in stored_failures(path, odd):
        _take_failed(rows, row, now_ns, odd)
    return Failures.of(list(rows))
