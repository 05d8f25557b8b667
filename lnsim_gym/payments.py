"""The vocabulary of payments: what is asked of a network, and what became of it.

Everything that makes payments, counts them, writes them down or shows them speaks these words. Here is no behaviour.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from lnsim_gym.arrays import Int32, Int64
from lnsim_gym.fields import Range, check_ranges, described

__all__ = [
    "DESCRIPTIONS",
    "FAILED_AFTERWARDS",
    "FAILED_FEE",
    "FAILED_LIQUIDITY",
    "FAILED_OTHERWISE",
    "FEE_EARNED_MSAT",
    "FEE_SOURCED_MSAT",
    "FORWARDED_IN",
    "FORWARDED_IN_MSAT",
    "FORWARDED_OUT",
    "FORWARDED_OUT_MSAT",
    "FORWARD_COUNTS",
    "FAILURE_NAMES",
    "MAX_PARTS",
    "MAX_ROUTE_HOPS",
    "REASON_NAMES",
    "FailureReason",
    "PaymentBatch",
    "PaymentOptions",
    "PaymentOutcomes",
    "RebalanceReason",
    "RebalanceResult",
    "SURE_ROUTE_HOPS",
]

MAX_ROUTE_HOPS: Final = 25
"""Longest route, in hops: LND's onion holds as many of 255 msat, and 23 or 24 of what is usually paid."""
SURE_ROUTE_HOPS: Final = 22
"""Hops that the onion holds whatever goes over them."""
MAX_PARTS: Final = 16
"""Most parts of a payment in flight at once (LND's default ``max_parts``)."""

FORWARD_COUNTS: Final = (
    "forwarded_in",  # HTLCs that came in over the channel and settled
    "forwarded_in_msat",
    "forwarded_out",  # HTLCs that went out over the channel and settled
    "forwarded_out_msat",
    "fee_earned_msat",  # fees of those that went out
    "fee_sourced_msat",  # fees of those that came in: the same money, seen from the other leg
    "failed_liquidity",  # refused here, as the channel that was to carry them on could not
    "failed_fee",  # refused here, as the sender did not know the channel's policy
    "failed_otherwise",  # refused here for any other reason
    "failed_afterwards",  # sent on over the channel, and refused by another node
)
"""What a node sees of the HTLCs that come through it, counted by channel: ForwardingHistory, SubscribeHtlcEvents."""
FORWARDED_IN: Final = FORWARD_COUNTS.index("forwarded_in")
FORWARDED_IN_MSAT: Final = FORWARD_COUNTS.index("forwarded_in_msat")
FORWARDED_OUT: Final = FORWARD_COUNTS.index("forwarded_out")
FORWARDED_OUT_MSAT: Final = FORWARD_COUNTS.index("forwarded_out_msat")
FEE_EARNED_MSAT: Final = FORWARD_COUNTS.index("fee_earned_msat")
FEE_SOURCED_MSAT: Final = FORWARD_COUNTS.index("fee_sourced_msat")
FAILED_LIQUIDITY: Final = FORWARD_COUNTS.index("failed_liquidity")
FAILED_FEE: Final = FORWARD_COUNTS.index("failed_fee")
FAILED_OTHERWISE: Final = FORWARD_COUNTS.index("failed_otherwise")
FAILED_AFTERWARDS: Final = FORWARD_COUNTS.index("failed_afterwards")


class FailureReason(enum.IntEnum):
    """Why LND gave a payment up (``lnrpc.PaymentFailureReason``)."""

    NONE = 0
    TIMEOUT = 1
    NO_ROUTE = 2
    ERROR = 3
    INCORRECT_PAYMENT_DETAILS = 4
    INSUFFICIENT_BALANCE = 5
    CANCELED = 6


class RebalanceReason(enum.IntEnum):
    """Why a rebalance was not applied."""

    NONE = 0
    """It was applied, or none was asked for."""
    INSUFFICIENT_LOCAL_BALANCE = 1
    """The first node's own channel cannot carry the amount (``BuildRoute`` finds no outgoing channel)."""
    AMOUNT_OUT_OF_RANGE = 2
    """The amount lies outside the min_htlc..max_htlc of a direction on the route."""
    FEE_LIMIT_EXCEEDED = 3
    """The route's fees exceed the fee limit; nothing was sent."""
    TEMPORARY_CHANNEL_FAILURE = 4
    """A forwarding node lacks the balance (BOLT 4 failure code)."""
    OTHER = 5
    """LND refused for a reason outside this list; see ``RebalanceResult.detail``."""
    NO_ROUTE = 6
    """Pathfinding found no route, or no further one, within the fee limit."""


@described
class PaymentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How every payment of a batch is sent (fields of LND's ``SendPaymentRequest`` and of mission control)."""

    fee_limit_base_sat: Annotated[int, Range(0, 21_000_000 * 100_000_000)] = 1000
    """Fee limit in sat for amounts up to this many sat: all of the amount, as lncli does."""
    fee_limit_ppm: Annotated[int, Range(0, 1_000_000)] = 50_000
    """Fee limit above that, in millionths of the amount (lncli: 5 %)."""
    timeout_seconds: Annotated[int, Range(1, 86_400)] = 30
    """Time after which LND starts no new attempt; in the simulator an attempt takes 80 ms for each hop to the node that
    refuses it and back, as it does on idle nodes."""
    max_parts: Annotated[int, Range(1, MAX_PARTS)] = 1
    """Most parts a payment may be split into."""
    attempt_cost_sat: Annotated[int, Range(1, 1_000_000)] = 100
    """What a failed attempt counts as much as, in sat of fees: the more it is, the more do senders pay to pass fewer
    nodes, and nodes that they know to forward (``routerrpc.attemptcost``). Attached nodes have LND's own."""
    attempt_cost_ppm: Annotated[int, Range(0, 100_000)] = 1_000
    """The same in millionths of the amount, on top (``routerrpc.attemptcostppm``)."""
    mission_control: Literal["per_payment", "per_episode"] = "per_payment"
    """Whether senders forget what they learned before each payment, or only at reset; meanwhile failures fade with
    time, in both worlds by the clock of ``traffic.seconds_per_payment``."""
    concurrency: Annotated[int, Range(1, 1_000)] = 1
    """Payments in flight at once; above 1 outcomes depend on timing (real nodes only)."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, which would reach compiled code otherwise."""
        check_ranges(self, "payment.")

    def fee_limit_msat(self, amount_msat: Int64, own_ppm: Int64 | None = None) -> Int64:
        """Fee limit in msat for each amount in msat: 100 % up to ``fee_limit_base_sat``, ``fee_limit_ppm`` above.

        Args:
            amount_msat: Amounts in msat.
            own_ppm: Limits of the payments themselves, of the same shape; the lower one holds.
        """
        ppm = self.fee_limit_ppm if own_ppm is None else np.minimum(self.fee_limit_ppm, own_ppm)
        limit: Int64 = np.where(
            amount_msat <= 1000 * self.fee_limit_base_sat, amount_msat, amount_msat * ppm // 1_000_000
        )
        return limit


class PaymentBatch(NamedTuple):
    """Payments to make, in order."""

    source: Int64  # (payments,) node index of the sender
    destination: Int64  # (payments,) node index of the receiver
    amount_msat: Int64  # (payments,)
    description: Int64  # (payments,) index into ``traffic.DESCRIPTIONS``


@dataclass(frozen=True, slots=True)
class PaymentOutcomes:
    """What became of a batch, one entry or row per payment, in the order of the batch.

    A settled payment has one or more parts; part ``p`` of payment ``i`` went over the directions
    ``part_route[i, p]`` (padded with -1) and delivered ``part_amount_msat[i, p]``.
    """

    succeeded: npt.NDArray[np.bool_]  # (payments,)
    failure_reason: Int32  # (payments,) FailureReason
    attempts: Int32  # (payments,) HTLCs sent out
    fee_msat: Int64  # (payments,) paid by the sender, 0 when it failed
    parts: Int32  # (payments,) settled parts, 0 when it failed
    part_amount_msat: Int64  # (payments, max_parts) delivered, without fees
    part_route: Int32  # (payments, max_parts, MAX_ROUTE_HOPS) direction indices, -1 beyond the end
    duration_s: npt.NDArray[np.float64]  # (payments,) wall time; 0 in the simulator
    payment_hash: tuple[str, ...] = ()
    """Hex payment hashes, one per payment; empty in the simulator."""
    part_hop_msat: Int64 | None = None
    """What went over each hop of each part, shape (payments, max_parts, MAX_ROUTE_HOPS), 0 beyond the end.

    None in networks without parallel channels and inbound fees, where it follows from route and amount. Elsewhere a
    sender pays for the dearest of parallel channels, while the forwarder takes any of them: ``part_route`` has those.
    """
    time_ms: Int64 | None = None
    """When each payment was made, in ms of simulated time since the reset, shape (payments,); None where senders
    forget, as nothing depends on it there."""
    fee_limit_msat: Int64 | None = None
    """Most that each might pay in fees, shape (payments,), where payments have limits of their own; else the options
    say it."""

    @property
    def hops(self) -> Int32:
        """Hops of the longest settled part, shape (payments,), 0 when the payment failed."""
        used = (self.part_route >= 0).sum(axis=2, dtype=np.int32)
        longest: Int32 = used.max(axis=1, initial=0)
        return longest

    def settled_routes(self) -> list[tuple[tuple[int, ...], int]]:
        """Return the route of each settled part, as direction indices in order, and what it delivered in msat."""
        settled: list[tuple[tuple[int, ...], int]] = []
        for payment, parts in enumerate(self.parts.tolist()):
            for route, amount_msat in zip(
                self.part_route[payment, :parts], self.part_amount_msat[payment, :parts].tolist(), strict=True
            ):
                settled.append((tuple(route[route >= 0].tolist()), amount_msat))
        return settled


@dataclass(frozen=True, slots=True)
class RebalanceResult:
    """What became of a rebalance."""

    applied_msat: int = 0
    """Amount that arrived at the end of the route, 0 when refused."""
    fee_msat: int = 0
    """Routing fees paid by the first node."""
    reason: RebalanceReason = RebalanceReason.NONE
    failure_source_index: int = -1
    """Position on the route of the node that failed the HTLC, -1 when none did."""
    detail: str = ""
    """LND's own words when it refused; empty in the simulator."""
    duration_s: float = 0.0
    """Wall time; 0 in the simulator."""
    payment_hash: str = ""
    """Hex payment hash; empty when nothing was sent, and in the simulator."""
    carried_by: tuple[int, ...] = ()
    """Directions that carried it, where forwarders chose channels beside those asked for; else empty."""
    hop_msat: tuple[int, ...] = ()
    """What went over each hop in msat, where that is not sure to follow from the policies: where these spread by gossip
    and the sender may have paid by old ones, and where it found a route by itself, as senders pay for the dearest of
    parallel channels. Else empty."""


DESCRIPTIONS: Final = (
    "Coffee purchase",
    "Online subscription",
    "Digital content",
    "Gaming credits",
    "Donation",
    "Freelance work",
    "Book purchase",
    "Music download",
    "Software license",
    "Consulting fee",
    "Art commission",
    "Podcast support",
    "Video streaming",
    "Cloud storage",
    "E-book purchase",
)
"""What payments are for: invoice memos, in the order of ``PaymentBatch.description``."""

FAILURE_NAMES: Final = tuple(reason.name for reason in FailureReason if reason)
"""LND's failure reasons by name, without ``NONE``: the keys of ``info["failures"]``."""
REASON_NAMES: Final = tuple(reason.name for reason in RebalanceReason)
"""Names of ``RebalanceReason``, in its order: the values of ``info["rebalance"]["reason"]``."""
