"""Tables that other programs keep of a node's forwards: CSV with a line of headings, and databases of SQLite.

The databases of LNDg, ln-operator and circuitbreaker hold the failed forwards that LND itself forgets.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lnsim_gym.errors import ConfigError
from lnsim_gym.own_node.reading.history import SECOND_NS, as_chan_id

__all__ = ["csv_rows", "is_csv", "is_database", "stored_failures"]

_SQLITE: Final = b"SQLite format 3\x00"
_DATABASES: Final = {
    # LNDg keeps LND's numbers, 6 for a balance that was too small, and amounts in sat.
    "gui_failedhtlcs": "SELECT timestamp, chan_id_in, chan_id_out, 1000 * amount, failure_detail IS 6 FROM {}",
    # ln-operator keeps failures of payments of the node's own, too.
    "forward_fail_log": "SELECT coalesce(nullif(ts_ns, ''), 1000000000 * ts), chan_in, chan_out, amount_msat, "
    "failure_detail IS 'INSUFFICIENT_BALANCE' FROM {} WHERE coalesce(event_type, '') IN ('', 'FORWARD')",
    # circuitbreaker keeps no cause.
    "forwarding_history": "SELECT resolved_time, incoming_channel, outgoing_channel, outgoing_amt_msat, 0 FROM {} "
    "WHERE NOT settled",
}
"""By table, how failed forwards are read: time, both channels, msat, and whether the own balance was too small."""
_CSV_COLUMNS: Final = (
    ("timestamp_ns", "resolve_time_ns", "resolved_time"),
    ("chan_id_in", "incoming_channel"),
    ("chan_id_out", "outgoing_channel"),
    ("amt_in_msat", "incoming_amt_msat"),
    ("amt_out_msat", "outgoing_amt_msat"),
)
"""Names of the columns of ``Forwards`` in CSV: of an export of LND's history, and of circuitbreaker's table."""


def is_csv(text: bytes) -> bool:
    """Whether a text is a table with a line of headings, rather than JSON."""
    return b"," in text.partition(b"\n")[0] and not text.lstrip().startswith((b"{", b"["))


def csv_rows(text: bytes, path: Path, odd: Callable[[str], object]) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """Yield whether each forward was settled, and its row of ``Forwards``.

    Raises:
        ConfigError: Columns are missing, or it is not told which forwards were settled.
    """
    lines = csv.reader(text.decode(errors="replace").splitlines(), skipinitialspace=True)
    headings = [heading.strip() for heading in next(lines)]
    names = [next((name for name in known if name in headings), "") for known in _CSV_COLUMNS]
    if not all(names):
        lacking = " or ".join(_CSV_COLUMNS[names.index("")])
        raise ConfigError(f"{path}: expected CSV of forwards with a column {lacking}, got {', '.join(headings)[:200]}")
    if names[0] != "timestamp_ns" and "settled" not in headings:
        raise ConfigError(
            f"{path}: expected a column settled in CSV of circuitbreaker, without it nobody knows which forwards "
            "failed: give its database with --htlcs, and lncli fwdinghistory as the history"
        )
    places = [headings.index(name) for name in names]
    outcome = headings.index("settled") if "settled" in headings else None
    try:
        for line in lines:
            if not line:
                continue
            try:
                time_ns, chan_in, chan_out, in_msat, out_msat = (line[place].strip() for place in places)
                is_settled = outcome is None or line[outcome].strip().lower() in ("1", "true")
                row = (int(time_ns), as_chan_id(chan_in), as_chan_id(chan_out), int(in_msat), int(out_msat))
            except (ValueError, IndexError):
                odd("")
                continue
            yield is_settled, row
    except csv.Error as problem:
        raise ConfigError(f"{path} is no whole CSV ({problem}): export it again") from None


def is_database(path: Path) -> bool:
    """Whether a file is a database of SQLite.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.expanduser().open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {problem.strerror}") from None


def stored_failures(path: Path, odd: Callable[[str], object]) -> Iterator[tuple[int, ...]]:
    """Yield the failed forwards of a database, as rows of ``Failures``.

    Args:
        path: A database of LNDg, ln-operator or circuitbreaker.
        odd: Called for each entry that cannot be read.

    Raises:
        ConfigError: It is none of them.
    """
    for when, chan_in, chan_out, amount_msat, is_dry in _stored(path.expanduser()):
        try:
            ends = as_chan_id(str(chan_in)), as_chan_id(str(chan_out))
            yield (_time_ns(when), *ends, int(amount_msat), int(is_dry))
        except (ValueError, TypeError, OverflowError):
            odd("")


def _stored(path: Path) -> list[tuple[Any, ...]]:
    """Return the failed forwards that a database holds; see ``_DATABASES``."""
    expected = "LNDg's database, ln-operator's or circuitbreaker's"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table, query in _DATABASES.items():
                if table in tables:
                    return database.execute(query.format(table)).fetchall()
    except sqlite3.Error as problem:
        raise ConfigError(f"{path}: expected {expected}, whole: {problem}") from None
    raise ConfigError(f"{path}: expected {expected}, with a table {', '.join(_DATABASES)}; it has none of them")


def _time_ns(when: object) -> int:
    """Return a time that a database holds, in nanoseconds, or as text of ISO 8601 in UTC.

    Raises:
        ValueError: It is neither.
    """
    text = str(when)
    if text.isdecimal():
        return int(text)
    return round(SECOND_NS * datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
