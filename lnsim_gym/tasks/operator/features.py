"""What the numbers of an operator's decisions, of what is kept between steps, and of its observations mean."""

from __future__ import annotations

from typing import Final

from lnsim_gym.tasks.operator.ledger import POLICY_NUMBERS

__all__ = [
    "CHANNEL_FEATURES",
    "KEEP",
    "KEPT",
    "KEPT_ON_CHAIN",
    "KEPT_OF_CHANNEL",
    "NODE_FEATURES",
    "PER_CHANNEL",
    "PER_REBALANCE",
    "PER_SWAP",
]

KEEP: Final = -(2**62)
"""Stands in decisions for what stays as it is."""
KEPT: Final = ("funds_msat", "wallet_msat")
"""What is kept from step to step of the node."""
KEPT_OF_CHANNEL: Final = ("credit_ms", "changed_ms")
"""What is kept of each channel: time saved up for changes of its policy, and when it was last changed."""
KEPT_ON_CHAIN: Final = ("stage", "due_ms", "pending_msat", "began_msat")
"""What is kept of each behind that, where channels come and go or liquidity counts at what it costs to replace: its
stage (``kernels``), when its transaction confirms, what that pays out, and its balance when the episode began."""
PER_CHANNEL: Final = len(POLICY_NUMBERS)
PER_REBALANCE: Final = 4
"""Numbers of a decision about a rebalance: channels to leave and to come back by, amount in msat, fee limit in ppm."""
PER_SWAP: Final = 2
"""Numbers of a decision about a swap: channel, and amount in msat, negative for a swap in."""

CHANNEL_FEATURES: Final = (
    "capacity",  # M sat
    "local_balance",  # M sat
    "remote_balance",  # M sat
    "active",  # 1, or 0 where the peer is offline
    "fee_rate",  # thousand ppm
    "fee_base",  # sat
    "inbound_fee_rate",  # thousand ppm
    "max_htlc",  # share of the capacity
    "peer_fee_rate",  # thousand ppm
    "peer_fee_base",  # sat
    "peer_inbound_fee_rate",  # thousand ppm
    "peer_max_htlc",  # share of the capacity
    "forwarded_in",  # tens of HTLCs since the last step
    "forwarded_in_amount",  # M sat
    "forwarded_out",  # tens of HTLCs
    "forwarded_out_amount",  # M sat
    "fee_earned",  # thousand sat, by what went out
    "fee_sourced",  # thousand sat, by what came in
    "failed_liquidity",  # tens of HTLCs that the channel could not carry on
    "failed_fee",  # tens of HTLCs that paid too little, as the sender did not know the policy
    "failed_otherwise",  # tens of HTLCs
    "failed_afterwards",  # tens of HTLCs that another node refused
    "days_since_change",  # of its policy, at most 30
    "changes_left",  # changes of its policy that others take now
)
"""Meaning and unit of what is observed of each own channel."""
NODE_FEATURES: Final = (
    "wallet",  # M sat
    "sat_per_vbyte",  # tens
    "day_fraction",  # time of day in [0, 1)
    "day",  # tens of days since the clock began
)
"""Meaning and unit of what is observed of the node."""
