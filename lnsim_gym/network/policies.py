"""Routing policies: what the sending node of each channel direction announces, and what LND accepts of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.errors import TopologyError
from lnsim_gym.network.limits import max_value_in_flight_msat

__all__ = ["ChannelPolicies", "Policy", "check_policy", "default_fee_bases_msat", "policy_limits"]

MIN_TIME_LOCK_DELTA: Final = 24
MAX_TIME_LOCK_DELTA: Final = 2016
MAX_FEE: Final = 2**32 - 1
"""Largest base fee in msat and fee rate in ppm that an announcement can hold."""
MAX_INBOUND_FEE: Final = 2**31 - 1
"""The same of inbound fees, which are signed."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Routing policy of one channel direction, announced by the node that forwards into it."""

    fee_base_msat: int = 1000
    """Fee for any forwarded HTLC, in msat."""
    fee_rate_ppm: int = 1
    """Fee in millionths of the forwarded amount."""
    time_lock_delta: int = 80
    """Blocks added to the HTLC's expiry."""
    min_htlc_msat: int = 1000
    """Smallest HTLC forwarded, in msat."""
    max_htlc_msat: int | None = None
    """Largest HTLC forwarded, in msat; by default LND's max value in flight, 99 % of the capacity."""
    inbound_fee_base_msat: int = 0
    """Added to the fee of what the announcing node receives over this channel and forwards, in msat; often negative."""
    inbound_fee_rate_ppm: int = 0
    """The same in millionths of what it forwards, its outbound fee included."""
    disabled: bool = False
    """Whether senders are told not to use the direction. Its own node still does, and still forwards over it."""

    @property
    def is_plain(self) -> bool:
        """Whether the direction is enabled and without an inbound fee."""
        return not (self.disabled or self.inbound_fee_base_msat or self.inbound_fee_rate_ppm)


class ChannelPolicies(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Policies of both directions of a channel, named by the sending end."""

    initiator: Policy
    """Policy for HTLCs from the initiator to the peer."""
    peer: Policy
    """Policy for HTLCs from the peer to the initiator."""


def policy_limits(min_htlc_msat: Any, ceiling_msat: Any) -> dict[str, tuple[Any, Any]]:
    """Return the smallest and the largest value of each number of a policy that LND accepts.

    Args:
        min_htlc_msat: Smallest HTLC of the policy in msat, or a column of them.
        ceiling_msat: Largest HTLC that the channel can carry in msat, or a column of them.
    """
    return {
        "fee_base_msat": (0, MAX_FEE),
        "fee_rate_ppm": (0, MAX_FEE),
        "time_lock_delta": (MIN_TIME_LOCK_DELTA, MAX_TIME_LOCK_DELTA),
        "min_htlc_msat": (1, ceiling_msat),
        "max_htlc_msat": (min_htlc_msat, ceiling_msat),
        "inbound_fee_base_msat": (-MAX_INBOUND_FEE - 1, MAX_INBOUND_FEE),
        "inbound_fee_rate_ppm": (-MAX_INBOUND_FEE - 1, MAX_INBOUND_FEE),
    }


def check_policy(where: str, policy: Policy, capacity_sat: int) -> None:
    """Refuse a policy that LND does not accept for a channel.

    Args:
        where: Whose policy it is, for the text of the error.
        policy: The policy.
        capacity_sat: Capacity of the channel in sat.

    Raises:
        TopologyError: A field is no integer, or out of LND's limits.
    """
    limits = policy_limits(policy.min_htlc_msat, int(max_value_in_flight_msat(capacity_sat)))
    for field, (low, high) in limits.items():
        value = getattr(policy, field)
        if value is None and field == "max_htlc_msat":
            continue
        if not isinstance(value, int | np.integer):
            raise TopologyError(f"{where}.{field} must be an integer in {low:,}..{high:,}, got {value!r}")
        if not low <= value <= high:
            raise TopologyError(f"{where}.{field} must lie in {low:,}..{high:,}, got {value:,}")


def default_fee_bases_msat(directions: int) -> list[int]:
    """Base fees in msat, one for each direction, so that no two routes of equal length cost the same.

    Up to 16 directions any two different sums of three fees differ by at least 2 msat, up to 64 directions any two
    sums of two; beyond that the fees are spread pseudo-randomly over 65 sat, where exact ties are merely unlikely.
    """
    if directions <= 64:
        marks = _marks_with_distinct_sums(directions, terms=3 if directions <= 16 else 2)
    else:
        marks = tuple((index * 2654435761 % 2**32) >> 17 for index in range(directions))
    return [1000 + 2 * mark for mark in marks]


@lru_cache
def _marks_with_distinct_sums(count: int, terms: int) -> tuple[int, ...]:
    """Return the greedy sequence of integers whose sums of up to ``terms`` of them are all different."""
    marks: list[int] = []
    sums: list[set[int]] = [{0}] + [set() for _ in range(terms)]
    for candidate in itertools.count(1):
        if len(marks) == count:
            break
        if any(known in sums[terms] for known in _sums_with(candidate, sums, terms)):
            continue
        fresh = [list(_sums_with(candidate, sums, k)) for k in range(terms + 1)]
        if all(len(set(added)) == len(added) and sums[k].isdisjoint(added) for k, added in enumerate(fresh)):
            marks.append(candidate)
            for known_sums, added in zip(sums, fresh, strict=True):
                known_sums.update(added)
    return tuple(marks)


def _sums_with(candidate: int, sums: list[set[int]], terms: int) -> Iterator[int]:
    """Yield every sum of ``terms`` marks that uses ``candidate`` at least once."""
    for repeats in range(1, terms + 1):
        for partial in sums[terms - repeats]:
            yield partial + repeats * candidate
