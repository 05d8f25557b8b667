"""Own channels that come and go, compiled: closing, opening, what is under way, and what liquidity costs to replace."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lnsim_gym.backends.simulator.gossip import tell_all
from lnsim_gym.compiled import inlined, outlined
from lnsim_gym.network.limits import DUST_LIMIT_SAT
from lnsim_gym.tasks.loop import linked_network_of, read
from lnsim_gym.tasks.operator.features import (
    KEPT,
    KEPT_OF_CHANNEL,
    KEPT_ON_CHAIN,
    PER_CHANNEL,
    PER_REBALANCE,
    PER_SWAP,
)
from lnsim_gym.tasks.operator.ledger import (
    CHAIN_FEE,
    CHANNEL_CODES,
    CHANNEL_MONEY,
    MONEY,
    PER_POLICY,
    REBALANCE_NAMES,
    SWAP_NAMES,
)
from lnsim_gym.tasks.operator.others import is_offline
from lnsim_gym.tasks.operator.state import (
    CHANGED,
    CREDIT,
    KEPT_WALLET,
    kept_of,
    ledger_of,
    mine,
    others_at,
    sat_per_vbyte,
    variant_of,
)

__all__ = [
    "BEGAN",
    "CLOSED",
    "MONEY_REPLACED",
    "PENDING",
    "STAGE",
    "can_close",
    "can_open",
    "change_channels",
    "channels_noted",
    "commitment_msat",
    "confirm_all",
    "is_there",
    "note_books",
    "on_chain_of",
    "take_off",
]

STAGE: Final = KEPT_ON_CHAIN.index("stage")
DUE: Final = KEPT_ON_CHAIN.index("due_ms")
PENDING: Final = KEPT_ON_CHAIN.index("pending_msat")
BEGAN: Final = KEPT_ON_CHAIN.index("began_msat")

# Stages of a channel.
THERE: Final = 0
CLOSING: Final = 1
CLOSED: Final = 2
OPENING: Final = 3
CAME: Final = 4
"""Its funding was confirmed at the begin of this step."""

IS_GONE: Final = CHANNEL_CODES.index("gone")
WENT: Final = CHANNEL_CODES.index("went")
HAS_COME: Final = CHANNEL_CODES.index("came")

MONEY_PENDING: Final = CHANNEL_MONEY.index("pending_msat")
MONEY_COMMITTED: Final = CHANNEL_MONEY.index("commitment_msat")
MONEY_REPLACED: Final = CHANNEL_MONEY.index("replacement_msat")
COUNT_CLOSED: Final = CHANNEL_MONEY.index("channels_closed")
COUNT_OPENED: Final = CHANNEL_MONEY.index("channels_opened")
COUNT_REFUSED: Final = CHANNEL_MONEY.index("channel_changes_refused")
DUST_MSAT: Final = 1000 * DUST_LIMIT_SAT
"""Output below which a closing transaction leaves it to the miners."""
ANCHOR_RESERVE_MSAT: Final = 10_000_000
MOST_ANCHOR_RESERVE_MSAT: Final = 100_000_000
"""What LND's wallet keeps back for each channel with anchors, and for all of them (lnwallet/wallet.go)."""


@inlined
def on_chain_of(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return what is kept of an own channel where there are books: ``STAGE``, ``DUE``, ``PENDING``, ``BEGAN``."""
    channels = mine(task, "out").shape[1]
    first = len(KEPT) + len(KEPT_OF_CHANNEL) * channels + len(KEPT_ON_CHAIN) * channel
    return read(address, "columns.kept")[index, first : first + len(KEPT_ON_CHAIN)]


@outlined
def is_there(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether an own channel exists and is confirmed."""
    if mine(task, "books") == 0:
        return True
    stage = on_chain_of(address, task, index, channel)[STAGE]
    return stage in (THERE, CAME)


@inlined
def channels_noted(address: Any, task: Any, index: Any) -> Any:
    """Return the entries of ``CHANNEL_MONEY``, and the codes of channels behind them."""
    channels = mine(task, "out").shape[1]
    at = len(MONEY) + PER_POLICY * channels + len(REBALANCE_NAMES) * mine(task, "rebalances")
    return ledger_of(address, index)[at + len(SWAP_NAMES) * mine(task, "swaps") :]


@inlined
def _chain_fee_msat(address: Any, task: Any, index: Any, vbytes: Any) -> Any:
    """Return what a transaction of a size costs today, whole sat in msat."""
    return 1000 * np.int64(vbytes * sat_per_vbyte(address, task, index))


@outlined
def take_off(address: Any, index: Any, out: Any) -> None:
    """Take a channel from the network: nobody can send over what is disabled and holds nothing."""
    balances, links = read(address, "columns.balances_msat")[index], linked_network_of(address, index).links
    for end in range(2):
        balances[out ^ end], links.disabled[out ^ end] = 0, 1
        tell_all(links, out ^ end)


@outlined
def confirm_all(address: Any, task: Any, index: Any) -> None:
    """Pay out what channels held whose closing is confirmed by now, and bring those whose funding is."""
    now, variant = read(address, "columns.now_ms")[index], variant_of(address, index)
    kept, balances = read(address, "columns.kept")[index], read(address, "columns.balances_msat")[index]
    disabled, usual = linked_network_of(address, index).links.disabled, read(address, "starts.disabled")[variant]
    for channel in range(mine(task, "out").shape[1]):
        own, out = on_chain_of(address, task, index, channel), mine(task, "out")[variant, channel]
        if own[DUE] > now:
            continue
        if own[STAGE] == CLOSING:
            kept[KEPT_WALLET] += own[PENDING]
            own[STAGE], own[PENDING] = CLOSED, 0
        elif own[STAGE] == OPENING:
            balances[out] = mine(task, "owned_msat")[variant, channel]
            disabled[out], disabled[out ^ 1] = usual[out], usual[out ^ 1]
            own[STAGE], own[PENDING], own[BEGAN] = CAME, 0, balances[out]
            policy = kept_of(address, index, channel)
            policy[CREDIT], policy[CHANGED] = mine(task, "burst_ms"), -1


@outlined
def change_channels(address: Any, task: Any, index: Any) -> None:
    """Note which channels are there, keep the others out of use whatever their peers do, then close and open some."""
    variant, decision = variant_of(address, index), read(address, "columns.decision")[index]
    channels, noted = mine(task, "out").shape[1], channels_noted(address, task, index)
    disabled = linked_network_of(address, index).links.disabled
    for channel in range(channels):
        own, out = on_chain_of(address, task, index, channel), mine(task, "out")[variant, channel]
        if own[STAGE] == CAME:
            own[STAGE] = THERE
            noted[len(CHANNEL_MONEY) + channel] = HAS_COME + disabled[out] + 2 * disabled[out ^ 1]
        elif own[STAGE] != THERE:
            take_off(address, index, out)
            noted[len(CHANNEL_MONEY) + channel] = IS_GONE
    at = PER_CHANNEL * channels + PER_REBALANCE * mine(task, "rebalances") + PER_SWAP * mine(task, "swaps")
    for place in range(mine(task, "closes") + mine(task, "opens")):
        channel = decision[at + place]
        if channel < 0:
            continue
        if place < mine(task, "closes"):
            done = _close(address, task, index, channel)
            noted[COUNT_CLOSED] += done
        else:
            done = _open(address, task, index, channel)
            noted[COUNT_OPENED] += done
        noted[COUNT_REFUSED] += 1 - done


@outlined
def can_close(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether a channel can be closed by agreement: it is there, and its peer online."""
    disabled = linked_network_of(address, index).links.disabled
    out = mine(task, "out")[variant_of(address, index), channel]
    return is_there(address, task, index, channel) and disabled[out] == 0 and disabled[out ^ 1] == 0


@outlined
def _close(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Close a channel by agreement; return 1, or 0 where it cannot be.

    Whoever opened it has the fee of the commitment transaction and the anchors back, and pays for the closing
    transaction (BOLT 2, closing negotiation). What is left over a whole number of sat goes to the miners, as does what
    is dust.
    """
    if not can_close(address, task, index, channel):
        return np.int64(0)
    variant, noted = variant_of(address, index), ledger_of(address, index)
    out, own = mine(task, "out")[variant, channel], on_chain_of(address, task, index, channel)
    held_msat = read(address, "columns.balances_msat")[index, out]
    paid_msat = np.int64(0)
    if mine(task, "funded")[variant, channel] != 0:
        held_msat += commitment_msat(address, task, index, channel)
        paid_msat = _chain_fee_msat(address, task, index, mine(task, "close_vbytes"))
    payout_msat = (held_msat - paid_msat) // 1000 * 1000
    if payout_msat < DUST_MSAT:
        payout_msat = np.int64(0)
    own[STAGE], own[PENDING] = CLOSING, payout_msat
    own[DUE] = read(address, "columns.now_ms")[index] + mine(task, "confirmation_ms")
    noted[CHAIN_FEE] += held_msat - payout_msat
    take_off(address, index, out)
    channels_noted(address, task, index)[len(CHANNEL_MONEY) + channel] = WENT
    return np.int64(1)


@outlined
def can_open(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return whether a channel can be opened: it is closed, its peer online, and the wallet holds enough.

    The wallet keeps back what LND reserves for the anchors of all channels.
    """
    variant = variant_of(address, index)
    own = on_chain_of(address, task, index, channel)
    if own[STAGE] != CLOSED or mine(task, "funded")[variant, channel] == 0:
        return False
    out = mine(task, "out")[variant, channel]
    if _is_away(address, task, index, linked_network_of(address, index).destination[out]):
        return False
    anchors_msat = np.int64(ANCHOR_RESERVE_MSAT)
    for other in range(mine(task, "out").shape[1]):
        stage = on_chain_of(address, task, index, other)[STAGE]
        if stage not in (CLOSED, CLOSING):
            anchors_msat += ANCHOR_RESERVE_MSAT
    wallet_msat = read(address, "columns.kept")[index, KEPT_WALLET]
    return wallet_msat >= _opening_msat(address, task, index, channel) + min(anchors_msat, MOST_ANCHOR_RESERVE_MSAT)


@inlined
def _opening_msat(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return what it takes to open a channel: its capacity, and the fee of the transaction that funds it."""
    out = mine(task, "out")[variant_of(address, index), channel]
    fee_msat = _chain_fee_msat(address, task, index, mine(task, "open_vbytes"))
    return linked_network_of(address, index).policy[out].capacity_msat + fee_msat


@outlined
def _open(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Fund a channel from the wallet; return 1, or 0 where it cannot be."""
    if not can_open(address, task, index, channel):
        return np.int64(0)
    own, kept, noted = (
        on_chain_of(address, task, index, channel),
        read(address, "columns.kept"),
        ledger_of(address, index),
    )
    out = mine(task, "out")[variant_of(address, index), channel]
    spent_msat = _opening_msat(address, task, index, channel)
    own[STAGE], own[PENDING] = OPENING, linked_network_of(address, index).policy[out].capacity_msat
    own[DUE] = read(address, "columns.now_ms")[index] + mine(task, "confirmation_ms")
    kept[index, KEPT_WALLET] -= spent_msat
    noted[CHAIN_FEE] += spent_msat - own[PENDING]
    return np.int64(1)


@outlined
def _is_away(address: Any, task: Any, index: Any, node: Any) -> Any:
    """Return whether a node is a competitor that is offline now."""
    others = others_at(task, variant_of(address, index))
    seed, episode = read(address, "columns.seeds")[index], read(address, "columns.episodes")[index]
    now = read(address, "columns.now_ms")[index]
    for place in range(others.competitor.shape[0]):
        if others.competitor[place] == node:
            return is_offline(others, seed, episode, np.int64(node), now)
    return False


@inlined
def commitment_msat(address: Any, task: Any, index: Any, channel: Any) -> Any:
    """Return the fee of the commitment transaction of a channel and its anchors, where it is there."""
    variant = variant_of(address, index)
    out = mine(task, "out")[variant, channel]
    capacity_msat = linked_network_of(address, index).policy[out].capacity_msat
    return capacity_msat - mine(task, "owned_msat")[variant, channel]


@outlined
def note_books(address: Any, task: Any, index: Any) -> None:
    """Note what own money lies in no balance, and what it would cost to move back what went out of channels."""
    noted, balances = channels_noted(address, task, index), read(address, "columns.balances_msat")[index]
    variant, gone_msat = variant_of(address, index), np.int64(0)
    changes = mine(task, "closes") + mine(task, "opens") > 0
    for channel in range(mine(task, "out").shape[1]):
        own, out = on_chain_of(address, task, index, channel), mine(task, "out")[variant, channel]
        noted[MONEY_PENDING] += own[PENDING]
        if own[STAGE] == THERE:
            gone_msat += max(own[BEGAN] - balances[out], 0)
            if changes and mine(task, "funded")[variant, channel] != 0:
                noted[MONEY_COMMITTED] += commitment_msat(address, task, index, channel)
    noted[MONEY_REPLACED] = gone_msat * mine(task, "replacement_ppm") // 1_000_000
