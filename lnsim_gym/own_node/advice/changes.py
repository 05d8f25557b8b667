"""What may be changed of a node, one thing at a time: prices of a peer's channels, a refill, the end of a channel.

A change says what is so before it and what after it, so that it can be checked, and which commands make it. Channels
are named in commands by their ids and funding outputs, whose forms are checked; what peers call themselves never is in
a command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from lnsim_gym.network import Policy
from lnsim_gym.own_node.naming import short_channel_id

__all__ = [
    "LEVERS",
    "Change",
    "Closing",
    "Priced",
    "Refill",
    "Repricing",
    "commands",
    "numbers",
    "what",
]

LEVERS: Final = ("fee_rate_ppm", "fee_base_msat", "inbound_fee_rate_ppm", "max_htlc_msat")
"""Numbers of a policy that are advised upon."""
_SHORT: Final = ("ppm", "base", "inbound ppm", "max HTLC")
"""How ``LEVERS`` are called where there is little room."""
_POINT: Final = re.compile("[0-9a-f]{64}:[0-9]{1,9}")
_KEY: Final = re.compile("0[23][0-9a-f]{64}")


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """A channel with the policy that its node announces."""

    chan_id: int
    """Short channel id."""
    point: str
    """Funding transaction and output."""
    policy: Policy


class Repricing(msgspec.Struct, frozen=True, kw_only=True, tag="repricing"):
    """New numbers in the policies of all channels to a peer, which senders see as one."""

    peer: str
    """What the peer calls itself, else its public key."""
    channels: tuple[Priced, ...]
    """The channels, as they are before."""
    to: dict[str, int]
    """Numbers that change, out of ``LEVERS``; after it they are the same on all of the channels."""
    why: str = ""
    """The reason, in words."""

    @property
    def chan_ids(self) -> tuple[int, ...]:
        """Channels that it touches."""
        return tuple(one.chan_id for one in self.channels)

    def after(self, channel: Priced) -> Policy:
        """Return the policy of one of the channels after it."""
        return msgspec.structs.replace(channel.policy, **self.to)


class Refill(msgspec.Struct, frozen=True, kw_only=True, tag="refill"):
    """A payment of the node to itself, out over one channel and back over another."""

    peer: str
    """What the peer of the channel to be filled calls itself, else its public key."""
    peer_key: str
    """Public key of that peer."""
    chan_id: int
    """Short channel id of the channel to be filled."""
    leave_chan_id: int
    """The same of the channel that it leaves by."""
    leave_key: str
    """Public key of that channel's peer."""
    local_sat: int
    """What the node holds in the channel to be filled, before."""
    leave_local_sat: int
    """The same of the channel that it leaves by."""
    amount_sat: int
    """What is to arrive."""
    limit_sat: int
    """Most that may be paid for it."""
    why: str = ""
    """The reason, in words."""

    @property
    def chan_ids(self) -> tuple[int, ...]:
        """Channels that it touches."""
        return (self.leave_chan_id, self.chan_id)

    @property
    def limit_ppm(self) -> float:
        """Most that may be paid, in millionths of the amount."""
        return 1e6 * self.limit_sat / max(self.amount_sat, 1)


class Closing(msgspec.Struct, frozen=True, kw_only=True, tag="closing"):
    """The end of a channel over which nothing goes; never made by this package, its command is shown alone."""

    peer: str
    """What the peer calls itself, else its public key."""
    chan_id: int
    """Short channel id."""
    point: str
    """Funding transaction and output."""
    local_sat: int
    """What the node holds in it."""
    why: str = ""
    """The reason, in words."""

    @property
    def chan_ids(self) -> tuple[int, ...]:
        """Channels that it touches."""
        return (self.chan_id,)


Change = Repricing | Refill | Closing


def what(change: Change) -> str:
    """Say what a change is, in few words."""
    match change:
        case Repricing():
            return ", ".join(f"{name} {value:,}" for name, value in numbers(change.to).items())
        case Refill():
            return f"refill {change.amount_sat:,} sat for {change.limit_sat:,} at most"
        case Closing():
            return "close"


def numbers(of_policy: Mapping[str, int]) -> dict[str, int]:
    """Return numbers of a policy under short names, amounts in sat where they are large."""
    short = dict(zip(LEVERS, _SHORT, strict=True))
    return {short[name]: value // 1000 if name == "max_htlc_msat" else value for name, value in of_policy.items()}


def commands(change: Change, implementation: str = "lnd") -> tuple[str, ...]:
    """Return the command lines that make a change; none where an export did not tell what they need.

    Args:
        change: The change.
        implementation: ``"lnd"``, or ``"core_lightning"``, which has no command of its own for refills.
    """
    return _of_lnd(change) if implementation == "lnd" else _of_core_lightning(change)


def _of_lnd(change: Change) -> tuple[str, ...]:
    """Return the commands for lnd."""
    match change:
        case Repricing():
            return tuple(_update(change, one) for one in change.channels if _POINT.fullmatch(one.point))
        case Refill() if _KEY.fullmatch(change.peer_key):
            invoice = f"$(lncli addinvoice --amt {change.amount_sat} | jq -r .payment_request)"
            return (
                f"lncli payinvoice --allow_self_payment --outgoing_chan_id {change.leave_chan_id} "
                f'--last_hop {change.peer_key} --max_parts 1 --fee_limit {change.limit_sat} "{invoice}"',
            )
        case Closing() if _POINT.fullmatch(change.point):
            txid, _, output = change.point.partition(":")
            return (f"lncli closechannel --funding_txid {txid} --output_index {output}",)
        case _:
            return ()


def _update(change: Repricing, channel: Priced) -> str:
    """Return the command that sets a policy; what it does not name stays, save base, rate and time lock."""
    policy = change.after(channel)
    named: Mapping[str, int] = {
        "base_fee_msat": policy.fee_base_msat,
        "fee_rate_ppm": policy.fee_rate_ppm,
        "time_lock_delta": policy.time_lock_delta,
    }
    if "inbound_fee_rate_ppm" in change.to:
        inbound = {"inbound_base_fee_msat": policy.inbound_fee_base_msat}
        named = {**named, **inbound, "inbound_fee_rate_ppm": policy.inbound_fee_rate_ppm}
    if "max_htlc_msat" in change.to and policy.max_htlc_msat is not None:
        named = {**named, "max_htlc_msat": policy.max_htlc_msat}
    told = " ".join(f"--{name}={number}" for name, number in named.items())
    return f"lncli updatechanpolicy {told} --chan_point={channel.point}"


def _of_core_lightning(change: Change) -> tuple[str, ...]:
    """Return the commands for Core Lightning."""
    match change:
        case Repricing():
            return tuple(_set_channel(change, one) for one in change.channels)
        case Closing():
            return (f"lightning-cli close {short_channel_id(change.chan_id)}",)
        case _:
            return ()


def _set_channel(change: Repricing, channel: Priced) -> str:
    """Return the command that sets a policy."""
    policy = change.after(channel)
    numbers = f"feebase={policy.fee_base_msat} feeppm={policy.fee_rate_ppm}"
    if "max_htlc_msat" in change.to and policy.max_htlc_msat is not None:
        numbers += f" htlcmax={policy.max_htlc_msat}"
    return f"lightning-cli -k setchannel id={short_channel_id(channel.chan_id)} {numbers}"
