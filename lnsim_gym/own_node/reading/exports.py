"""The files that programs of a node write, read: what fits is taken, what does not is counted by its cause.

LND's ``lncli listchannels`` and ``fwdinghistory``; Core Lightning's ``listpeerchannels`` and ``listforwards``. What a
node spent is read in ``spending``, what is no JSON of a node in ``tables``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lnsim_gym.errors import ConfigError, TopologyError
from lnsim_gym.network.importers.core_lightning import PeerChannel, is_peer_channels
from lnsim_gym.network.importers.documents import Document, decode_entries, entries_of, parse_json
from lnsim_gym.network.importers.reading import as_utf8, unpacked
from lnsim_gym.own_node.reading.history import SECOND_NS, Failures, Forwards, as_chan_id
from lnsim_gym.own_node.reading.tables import csv_rows, is_csv, is_database, stored_failures

__all__ = [
    "ALL_MSAT",
    "Channel",
    "counting",
    "entries_in",
    "implementation_of",
    "read_channels",
    "read_documents",
    "read_failures",
    "read_history",
]

ALL_MSAT: Final = 21_000_000 * 10**8 * 1000
"""All bitcoin that will ever be."""
_OWN_CHANNELS: Final = "lncli listchannels or lightning-cli listpeerchannels"
_TEMPORARY_CHANNEL_FAILURE: Final = 0x1007
"""BOLT 4's code of the same, as Core Lightning tells it."""


class Channel(msgspec.Struct):
    """``lnrpc.Channel``, as far as it is used; numbers may be written as text."""

    remote_pubkey: str
    capacity: int
    local_balance: int
    remote_balance: int
    chan_id: str | int = ""
    scid: str | int = ""
    """Since lnd 0.19 lncli tells the short channel id here, and a hash as ``chan_id``."""
    channel_point: str = ""
    peer_alias: str = ""
    active: bool = True
    private: bool = False
    initiator: bool = False
    commit_fee: int = 0
    lifetime: int = 0
    """Seconds that the channel has been known to the node since this started."""
    alias_scids: list[str | int] = []

    @classmethod
    def of_core_lightning(cls, channel: PeerChannel) -> Channel:
        """Return a channel of Core Lightning as LND would tell it."""
        return cls(
            remote_pubkey=channel.peer_id,
            capacity=channel.capacity_sat,
            local_balance=channel.local_sat,
            remote_balance=channel.remote_sat,
            chan_id=channel.number or 0,
            channel_point=channel.funding,
            active=channel.peer_connected,
            private=bool(channel.private),
            initiator=channel.opener == "local",
            commit_fee=channel.commit_fee_sat,
        )

    @property
    def number(self) -> int:
        """Short channel id; 0 when it has none yet."""
        return as_chan_id(self.scid) or as_chan_id(self.chan_id)

    @property
    def is_possible(self) -> bool:
        """Whether its amounts can be true."""
        return all(0 <= sat <= ALL_MSAT // 1000 for sat in (self.capacity, self.local_balance, self.remote_balance))


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


def _texts(path: Path) -> list[bytes]:
    """Return the texts in a file in UTF-8, whatever compressed it and whatever encoding it had.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return [as_utf8(text) for text in unpacked(path.expanduser().read_bytes(), path.name).values()]
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {problem.strerror}") from None
    except TopologyError as problem:
        raise ConfigError(f"{path}: {problem}") from None


def read_documents(path: Path) -> list[Document]:
    """Return the tables of JSON in a file, whatever compressed it and whatever encoding it has.

    Raises:
        ConfigError: It cannot be read, or is no whole JSON.
    """
    return _documents(_texts(path), path)


def _documents(texts: Iterable[bytes], path: Path) -> list[Document]:
    """Return the tables of JSON in some texts of a file."""
    try:
        found = [one for text in texts for one in parse_json(text)]
    except TopologyError as problem:
        raise ConfigError(f"{path}: {problem}") from None
    except ValueError as problem:
        raise ConfigError(f"{path} is no whole JSON ({problem}): if it was cut off, export it again") from None
    tables: list[Document] = [one for one in found if isinstance(one, dict)]
    if not tables:
        raise ConfigError(f"{path}: expected what lncli prints, a JSON object, got {'a list' if found else 'nothing'}")
    return tables


def entries_in(path: Path, keys: Sequence[str], command: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a file under those of the keys that it has, one of which it must have."""
    for document in read_documents(path):
        yield from _lists(document, path, keys, command)


def _lists(document: Document, path: Path, keys: Sequence[str], command: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a table under those of the keys that it has, one of which it must have."""
    present = [key for key in keys if key in document]
    if not present:
        held = ", ".join(list(document)[:5]) or "nothing"
        raise ConfigError(f"{path}: expected the output of {command}, with {' or '.join(keys)}; it holds {held}")
    for key in present:
        try:
            yield key, entries_of(document, key, command)
        except TopologyError as problem:
            raise ConfigError(f"{path}: {problem}") from None


def read_channels(documents: Iterable[Document], path: Path, left_out: Counter[str]) -> list[Channel]:
    """Read ``lncli listchannels``, or Core Lightning's ``listpeerchannels``.

    Args:
        documents: What ``read_documents`` returned of it.
        path: The file, for messages.
        left_out: Counts what is not taken, by cause.

    Raises:
        ConfigError: It is no such file, or holds no channel.
    """
    channels: dict[int, Channel] = {}
    for document in documents:
        for channel in _listed(document, path, left_out):
            number = channel.number
            if not number:
                left_out["channels without an id"] += 1
            elif number in channels:
                left_out["channels listed twice"] += 1
            elif not channel.is_possible:
                left_out["channels whose amounts cannot be true"] += 1
            else:
                channels[number] = channel
    if not channels:
        raise ConfigError(f"{path}: expected the output of {_OWN_CHANNELS} with at least one open channel, got none")
    return list(channels.values())


def _listed(document: Document, path: Path, left_out: Counter[str]) -> Iterator[Channel]:
    """Yield the open channels that a document lists."""
    odd = counting(left_out, "channels that cannot be read")
    ((key, entries),) = _lists(document, path, ["channels"], _OWN_CHANNELS)
    if not is_peer_channels(entries):
        yield from decode_entries(entries, Channel, key, odd)
        return
    for channel in decode_entries(entries, PeerChannel, key, odd):
        if channel.is_open:
            yield Channel.of_core_lightning(channel)
        else:
            left_out["channels that are not open"] += 1


def implementation_of(documents: Iterable[Document]) -> str:
    """Return which node listed its channels: ``"lnd"`` or ``"core_lightning"``."""
    listed = (entries_of(document, "channels", _OWN_CHANNELS) for document in documents)
    return "core_lightning" if any(map(is_peer_channels, listed)) else "lnd"


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
        texts = _texts(path)
        for text in filter(is_csv, texts):
            for is_settled, row in csv_rows(text, path, odd):
                if is_settled:
                    _take(settled, [row], now_ns, left_out)
                else:
                    _take_failed(failed, (*row[:3], row[4], 0), now_ns, odd_failed)
        documents = [text for text in texts if not is_csv(text)]
        for document in _documents(documents, path) if documents else ():
            for key, entries in _lists(document, path, ["forwarding_events", "forwards"], "lncli fwdinghistory"):
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


def counting(left_out: Counter[str], cause: str) -> Any:
    """Return what counts entries that cannot be read."""

    def count(_: str) -> None:
        left_out[cause] += 1

    return count
