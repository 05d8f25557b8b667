"""What a node spent, read from LND's ``lncli listpayments`` and ``listchaintxns``: on refills, and on transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lnsim_gym.network.importers.documents import decode_entries
from lnsim_gym.own_node.reading.files import ALL_MSAT, counting, entries_in
from lnsim_gym.own_node.reading.history import SECOND_NS, Refills, as_chan_id

__all__ = ["read_chain_fees", "read_refills"]


class _Hop(msgspec.Struct):
    """``lnrpc.Hop``."""

    chan_id: str | int
    pub_key: str = ""


class _Route(msgspec.Struct):
    """``lnrpc.Route``."""

    hops: list[_Hop]
    total_amt_msat: int = 0
    total_fees_msat: int = 0


class _Attempt(msgspec.Struct):
    """``lnrpc.HTLCAttempt``."""

    status: str
    route: _Route
    resolve_time_ns: int = 0
    attempt_time_ns: int = 0


class _Payment(msgspec.Struct):
    """``lnrpc.Payment``."""

    status: str = ""
    htlcs: list[_Attempt] = []


class _Transaction(msgspec.Struct):
    """``lnrpc.Transaction``."""

    tx_hash: str
    total_fees: int = 0
    time_stamp: int = 0


def read_refills(paths: Iterable[Path], own_key: str, now_ns: int, left_out: Counter[str]) -> Refills:
    """Read the payments of a node to itself out of ``lncli listpayments``; each part of a payment counts on its own.

    Args:
        paths: The files.
        own_key: Public key of the node.
        now_ns: Time beyond which no event is believed.
        left_out: Counts what is not taken, by cause.

    Raises:
        ConfigError: A file is no such file.
    """
    rows: dict[tuple[int, ...], None] = {}
    odd = counting(left_out, "payments that cannot be read")
    for path in paths:
        for key, entries in entries_in(path, ["payments"], "lncli listpayments"):
            for payment in decode_entries(entries, _Payment, key, odd):
                for attempt in payment.htlcs:
                    hops = attempt.route.hops
                    if attempt.status != "SUCCEEDED" or len(hops) < 2 or hops[-1].pub_key != own_key:
                        continue
                    route = attempt.route
                    ends = (as_chan_id(hops[0].chan_id), as_chan_id(hops[-1].chan_id))
                    time_ns = attempt.resolve_time_ns or attempt.attempt_time_ns
                    if not (all(ends) and 0 <= route.total_fees_msat < route.total_amt_msat <= ALL_MSAT):
                        left_out["refills without channels or amounts"] += 1
                    elif not 0 < time_ns <= now_ns:
                        left_out["refills of a time that has not come"] += 1
                    else:
                        amount_msat = route.total_amt_msat - route.total_fees_msat
                        rows[time_ns, *ends, amount_msat, route.total_fees_msat] = None
    return Refills.of(list(rows))


def read_chain_fees(paths: Iterable[Path], left_out: Counter[str]) -> dict[str, tuple[int, int]]:
    """Read what the wallet paid for transactions out of ``lncli listchaintxns``.

    Returns:
        By transaction id, its time in ns and its fee in sat.

    Raises:
        ConfigError: A file is no such file.
    """
    odd = counting(left_out, "transactions that cannot be read")
    fees: dict[str, tuple[int, int]] = {}
    for path in paths:
        for key, entries in entries_in(path, ["transactions"], "lncli listchaintxns"):
            for one in decode_entries(entries, _Transaction, key, odd):
                if one.total_fees > ALL_MSAT // 1000:
                    left_out["transactions whose fees cannot be true"] += 1
                elif one.total_fees > 0:
                    fees[one.tx_hash] = (SECOND_NS * one.time_stamp, one.total_fees)
    return fees
