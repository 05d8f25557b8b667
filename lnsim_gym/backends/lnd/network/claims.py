"""What nodes say, held to what can be: an answer that no honest node gives is an error, and never booked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2
from lnsim_gym.errors import BackendError, BringUpError
from lnsim_gym.payments import MAX_ROUTE_HOPS, FailureReason

__all__ = ["check_attempt", "check_channels", "check_payment", "check_pubkeys", "settled_attempts"]

_PUBKEY: Final = re.compile(r"0[23][0-9a-f]{64}")
"""A compressed public key in hex (BOLT 1, ``point``)."""
_CHANNEL_POINT: Final = re.compile(r"[0-9a-f]{64}:\d{1,5}")
"""Transaction id and index of an output."""


def settled_attempts(payment: lightning_pb2.Payment) -> list[lightning_pb2.HTLCAttempt]:
    """Return the settled parts of a payment."""
    if payment.status != lightning_pb2.Payment.SUCCEEDED:
        return []
    return [attempt for attempt in payment.htlcs if attempt.status == lightning_pb2.HTLCAttempt.SUCCEEDED]


def check_payment(node: str, payment: lightning_pb2.Payment, amount_msat: int, max_parts: int) -> None:
    """Refuse a payment that has ended as none can.

    Args:
        node: Who says so.
        payment: How it ended.
        amount_msat: What was to arrive.
        max_parts: Most parts that it was allowed.

    Raises:
        BackendError: Its parts are too many or do not add up, a route is none, or the reason of its failure is unknown.
    """
    for attempt in payment.htlcs:
        check_attempt(node, attempt)
    if payment.failure_reason not in set(FailureReason):
        raise _nonsense(node, "a reason for a failed payment that LND has", f"{payment.failure_reason}")
    if payment.status != lightning_pb2.Payment.SUCCEEDED:
        return
    arrived_msat = [attempt.route.hops[-1].amt_to_forward_msat for attempt in settled_attempts(payment)]
    if len(arrived_msat) > max_parts or min(arrived_msat, default=0) <= 0 or sum(arrived_msat) != amount_msat:
        wanted = f"a payment of {amount_msat:,} msat in at most {max_parts} parts that add up"
        raise _nonsense(node, wanted, f"{len(arrived_msat)} of {sum(arrived_msat):,} msat together")


def check_attempt(node: str, attempt: lightning_pb2.HTLCAttempt) -> None:
    """Refuse an attempt whose route is none, or that failed beyond its route.

    Raises:
        BackendError: It is so.
    """
    hops = len(attempt.route.hops)
    if attempt.status == lightning_pb2.HTLCAttempt.SUCCEEDED and not 0 < hops <= MAX_ROUTE_HOPS:
        raise _nonsense(node, f"a route of 1 to {MAX_ROUTE_HOPS} hops", f"{hops}")
    if hops > MAX_ROUTE_HOPS or attempt.failure.failure_source_index > MAX_ROUTE_HOPS:
        found = f"{hops} hops, failed at node {attempt.failure.failure_source_index}"
        raise _nonsense(node, f"an attempt within {MAX_ROUTE_HOPS} hops", found)


def check_pubkeys(pubkeys: Mapping[str, str]) -> None:
    """Refuse public keys that are none, or that two nodes share.

    Args:
        pubkeys: What each node says is its own, in hex, by its name.

    Raises:
        BringUpError: One is.
    """
    counts = Counter(pubkeys.values())
    for name, pubkey in pubkeys.items():
        if not _PUBKEY.fullmatch(pubkey):
            raise BringUpError(f"expected node {name!r} to have a public key, it says {pubkey[:80]!r}: it is no lnd")
        if counts[pubkey] > 1:
            raise BringUpError(
                f"expected nodes with public keys of their own, {name!r} shares {pubkey} with another: "
                "name each lnd once, under one name"
            )


def check_channels(channels: Iterable[lightning_pb2.Channel]) -> None:
    """Refuse channels that are named as none can be, or twice.

    Args:
        channels: Those of the topology, as their initiators list them.

    Raises:
        BringUpError: One is.
    """
    seen = set()
    for channel in channels:
        if not _CHANNEL_POINT.fullmatch(channel.channel_point):
            raise BringUpError(
                f"expected channels with funding outputs (txid:index), a node says {channel.channel_point[:80]!r}: "
                "it is no lnd"
            )
        if channel.chan_id in seen:
            raise BringUpError(
                f"expected channels with ids of their own, a node lists {channel.chan_id} twice: it is no lnd"
            )
        seen.add(channel.chan_id)


def _nonsense(node: str, wanted: str, got: str) -> BackendError:
    return BackendError(f"expected {node} to tell of {wanted}, it tells of {got}: it is no lnd, or a damaged one")
