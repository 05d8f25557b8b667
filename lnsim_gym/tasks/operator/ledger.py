"""What the operator's task notes of a step: its money, its changes of policy, its rebalances and its swaps."""

from __future__ import annotations

from typing import Final

from lnsim_gym.payments import MAX_ROUTE_HOPS

__all__ = [
    "ANNOUNCED",
    "CHAIN_FEE",
    "CHANNEL_CODES",
    "CHANNEL_MONEY",
    "FEE_CHANGES",
    "FEE_CHANGES_REFUSED",
    "FUNDS",
    "INCOME",
    "MONEY",
    "PER_POLICY",
    "POLICY_NUMBERS",
    "REBALANCE_FEE",
    "REBALANCE_HOPS",
    "REBALANCE_NAMES",
    "REBALANCE_ROUTE",
    "SWAP_FEE",
    "SWAP_NAMES",
    "WALLET",
    "channels_at",
    "names",
    "rebalances_at",
    "swaps_at",
]

MONEY: Final = (
    "funds_msat",  # own ends of all channels and the wallet, after the step
    "wallet_msat",  # money on the chain, after the step
    "income_msat",  # fees earned by forwarding
    "rebalance_fee_msat",  # paid for circular rebalances
    "swap_fee_msat",  # paid to swap services, and for the off-chain way to them
    "chain_fee_msat",  # paid for transactions
    "fee_changes",  # policies announced
    "fee_changes_refused",  # policies that came too soon after others
)
"""Meaning of the first entries."""
FUNDS: Final = MONEY.index("funds_msat")
WALLET: Final = MONEY.index("wallet_msat")
INCOME: Final = MONEY.index("income_msat")
REBALANCE_FEE: Final = MONEY.index("rebalance_fee_msat")
SWAP_FEE: Final = MONEY.index("swap_fee_msat")
CHAIN_FEE: Final = MONEY.index("chain_fee_msat")
FEE_CHANGES: Final = MONEY.index("fee_changes")
FEE_CHANGES_REFUSED: Final = MONEY.index("fee_changes_refused")

POLICY_NUMBERS: Final = ("fee_rate_ppm", "fee_base_msat", "inbound_fee_rate_ppm", "max_htlc_msat")
"""What an agent sets of a channel's policy, in the order of decisions and of the ledger."""
ANNOUNCED: Final = len(POLICY_NUMBERS)
"""Behind the numbers of a channel's policy: 1 where it was announced in this step, 2 for a channel that is disabled."""
PER_POLICY: Final = ANNOUNCED + 1
"""Entries of each channel's policy."""
REBALANCE_NAMES: Final = (
    "asked_msat",
    "applied_msat",
    "fee_msat",
    "reason",  # RebalanceReason
    "failure_index",  # position on the route of the node that failed it, or -1
    *(f"direction_{hop}" for hop in range(MAX_ROUTE_HOPS)),  # of the last route tried, -1 beyond its end
    *(f"hop_{hop}_msat" for hop in range(MAX_ROUTE_HOPS)),  # what went over each of them
)
"""Meaning of the entries of each rebalance."""
REBALANCE_ROUTE: Final = REBALANCE_NAMES.index("direction_0")
"""Where the route begins among them."""
REBALANCE_HOPS: Final = REBALANCE_NAMES.index("hop_0_msat")
"""Where the amounts over it begin."""
SWAP_NAMES: Final = (
    "direction",  # out of the own node for a swap out, into it for a swap in, -1 for none
    "asked_msat",
    "sent_msat",  # moved over the channel; 0 where it was refused
    "reason",  # RebalanceReason
)
"""Meaning of the entries of each swap."""
CHANNEL_MONEY: Final = (
    "pending_msat",  # on its way to the wallet or into a channel, after the step
    "commitment_msat",  # fees of commitment transactions and anchors of channels that the own node opened, likewise
    "replacement_msat",  # what it would cost to move back what went out of channels, likewise
    "channels_closed",
    "channels_opened",
    "channel_changes_refused",  # closes and opens that could not be done
)
"""Meaning of entries behind all others, where channels come and go or liquidity counts at what it costs to replace."""
CHANNEL_CODES: Final = ("there", "gone", "went", "came")
"""What the entry of each channel behind them says: whether it is there, or went or came in this step.

The last one is more by 1 where the own end is disabled, and by 2 where the peer's is.
"""


def names(channels: int, rebalances: int, swaps: int, *, books: bool = False) -> tuple[str, ...]:
    """Return the meaning of every entry.

    Args:
        channels: Own channels.
        rebalances: Rebalances of a step.
        swaps: Swaps of a step.
        books: Whether there are entries of ``CHANNEL_MONEY``.
    """
    of_channels = (*CHANNEL_MONEY, *(f"channel_{place}_code" for place in range(channels)))
    return (
        *MONEY,
        *(f"channel_{place}_{name}" for place in range(channels) for name in (*POLICY_NUMBERS, "announced")),
        *(f"rebalance_{place}_{name}" for place in range(rebalances) for name in REBALANCE_NAMES),
        *(f"swap_{place}_{name}" for place in range(swaps) for name in SWAP_NAMES),
        *(of_channels if books else ()),
    )


def rebalances_at(channels: int) -> int:
    """Return where the entries of rebalances begin."""
    return len(MONEY) + PER_POLICY * channels


def swaps_at(channels: int, rebalances: int) -> int:
    """Return where the entries of swaps begin."""
    return rebalances_at(channels) + len(REBALANCE_NAMES) * rebalances


def channels_at(channels: int, rebalances: int, swaps: int) -> int:
    """Return where the entries of ``CHANNEL_MONEY`` begin, where there are some."""
    return swaps_at(channels, rebalances) + len(SWAP_NAMES) * swaps
